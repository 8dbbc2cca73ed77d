with sessions as (
    select
        source_sha,
        row_no,
        party_code,
        team,
        staff_group,
        pay_type,
        started_at,
        ended_at,
        cast(started_at_local as date) as started_on,
        cast(ended_at_local as date) as ended_on
    from {{ ref('stg_workforce__reporting_sessions') }}
    where started_at < ended_at
)

-- a session over midnight lies on two local days
select
    sessions.source_sha,
    sessions.row_no,
    sessions.party_code,
    sessions.team,
    sessions.staff_group,
    sessions.pay_type,
    sessions.started_at,
    sessions.ended_at,
    sessions.started_on as day_on
from sessions
union all
select
    sessions.source_sha,
    sessions.row_no,
    sessions.party_code,
    sessions.team,
    sessions.staff_group,
    sessions.pay_type,
    sessions.started_at,
    sessions.ended_at,
    sessions.ended_on as day_on
from sessions
where sessions.started_on < sessions.ended_on
