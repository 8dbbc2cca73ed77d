with opening_hours as (
    select * from {{ source('landing', 'opening_hours') }}
)

select
    station_name,
    site_code,
    cast(weekday as integer) as iso_weekday,
    opens as opens_local,
    closes as closes_local,
    valid_from,
    valid_to,
    feed_id,
    received_at as arrived_at
from opening_hours
qualify row_number() over (
    partition by station_name, weekday, valid_from
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
