with meeting_lists as (
    select * from {{ source('landing', 'meeting_lists') }}
)

select
    meeting_id,
    tumour_site,
    meeting_at_utc as meeting_at,
    meeting_at_local,
    listed_at_utc as listed_at,
    nhs_number as nhs_key,
    exam_party_code,
    exam_party_code || '|A|' || accession_number as exam_key,
    study_instance_uid as study_uid,
    is_image_available = 'Y' as is_image_available,
    preparation_minutes,
    feed_id,
    received_at as arrived_at
from meeting_lists
qualify row_number() over (
    partition by feed_id, meeting_id, exam_party_code, accession_number
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
