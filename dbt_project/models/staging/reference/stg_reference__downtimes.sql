with downtime as (
    select * from {{ source('landing', 'downtime') }}
)

select
    party_code,
    site_code,
    asset as asset_code,
    asset_type,
    cast(is_planned as boolean) as is_planned,
    reason_code,
    down_from_local as started_at_local,
    down_to_local as ended_at_local,
    down_from_utc as started_at,
    -- still down when the record was sent: down at least until then
    coalesce(down_to_utc, greatest(received_at, down_from_utc)) as ended_at,
    down_to_utc is null as is_open,
    month_on,
    feed_id,
    received_at as arrived_at
from downtime
qualify row_number() over (
    partition by party_code, asset, down_from_local
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
