with rota as (
    select * from {{ source('landing', 'rota_sessions') }}
)

select
    station_name,
    site_code,
    session_start_local as started_at_local,
    session_end_local as ended_at_local,
    session_start_utc as started_at,
    session_end_utc as ended_at,
    staff_group,
    staff_count,
    pay_type,
    feed_id,
    received_at as arrived_at
from rota
qualify row_number() over (
    partition by station_name, session_start_local, staff_group
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
