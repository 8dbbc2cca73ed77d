with sessions as (
    select
        source_sha,
        row_no,
        party_code,
        month_on,
        team,
        staff_group,
        place,
        pay_type,
        started_at,
        ended_at,
        started_at_local
    from {{ ref('stg_workforce__reporting_sessions') }}
    where started_at < ended_at
),

session_days as (
    select
        party_code,
        team,
        staff_group,
        started_at,
        ended_at,
        day_on
    from {{ ref('int_reporting_session_days') }}
),

-- The rota names nobody. Sessions of an employer and a staff group that are under way at once are
-- of different people, and every most of them is under way at the start of one.
at_once as (
    select
        sessions.source_sha,
        sessions.row_no,
        count(*) as party_sessions_at_once,
        count(*) filter (where sessions.team = session_days.team) as team_sessions_at_once
    from sessions
    inner join session_days
        on
            sessions.party_code = session_days.party_code
            and sessions.staff_group = session_days.staff_group
            and cast(sessions.started_at_local as date) = session_days.day_on
            and sessions.started_at >= session_days.started_at
            and sessions.started_at < session_days.ended_at
    group by sessions.source_sha, sessions.row_no
)

select
    sessions.source_sha,
    sessions.row_no,
    sessions.party_code,
    sessions.month_on,
    cast(date_trunc('week', sessions.started_at_local) as date) as week_start_on,
    sessions.team,
    sessions.staff_group,
    sessions.place,
    sessions.pay_type,
    {{ seconds_between('sessions.started_at', 'sessions.ended_at') }} / 3600 as hours,
    at_once.party_sessions_at_once,
    at_once.team_sessions_at_once
from sessions
inner join at_once
    on
        sessions.source_sha = at_once.source_sha
        and sessions.row_no = at_once.row_no
