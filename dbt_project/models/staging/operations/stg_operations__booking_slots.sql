with booking_diary as (
    select * from {{ source('landing', 'booking_diary') }}
)

select
    party_code,
    diary_on,
    site_code,
    resource,
    modality_group,
    slot_start_utc as slot_started_at,
    slot_start_local as slot_started_at_local,
    slot_minutes,
    slot_status,
    feed_id,
    received_at as arrived_at
from booking_diary
qualify row_number() over (
    partition by party_code, diary_on, resource, slot_start_local
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
