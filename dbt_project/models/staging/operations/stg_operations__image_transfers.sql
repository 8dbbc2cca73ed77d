with image_transfers as (
    select * from {{ source('landing', 'image_transfers') }}
)

select
    from_party_code,
    to_party_code,
    nhs_number as nhs_key,
    from_party_code || '|A|' || accession_number as exam_key,
    study_instance_uid as study_uid,
    purpose,
    method,
    requested_at_utc as requested_at,
    requested_at_local,
    sent_at_utc as sent_at,
    arrived_at_utc as images_arrived_at,
    staff_minutes,
    feed_id,
    received_at as arrived_at
from image_transfers
qualify row_number() over (
    partition by
        from_party_code, to_party_code, accession_number, purpose, method, requested_at_local
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
