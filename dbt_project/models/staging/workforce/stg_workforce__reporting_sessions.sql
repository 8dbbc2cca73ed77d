with reporting_rota as (
    select * from {{ source('landing', 'reporting_rota') }}
)

select
    party_code,
    month_on,
    team,
    staff_group,
    session_start_local as started_at_local,
    session_end_local as ended_at_local,
    session_start_utc as started_at,
    session_end_utc as ended_at,
    pay_type,
    place,
    source_sha,
    row_no,
    feed_id,
    received_at as arrived_at
from reporting_rota
-- two readers of a team can have sessions that are alike: of a month the latest file counts whole
qualify dense_rank() over (
    partition by party_code, month_on
    order by received_at desc nulls last, source_sha
) = 1
