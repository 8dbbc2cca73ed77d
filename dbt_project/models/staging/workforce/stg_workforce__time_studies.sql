with time_studies as (
    select * from {{ source('landing', 'time_studies') }}
)

select
    party_code,
    month_on,
    studied_on,
    task,
    staff_group,
    sample_count,
    mean_minutes,
    sd_minutes,
    feed_id,
    received_at as arrived_at
from time_studies
qualify row_number() over (
    partition by party_code, studied_on, task, staff_group
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
