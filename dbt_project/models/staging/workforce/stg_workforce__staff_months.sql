with workforce as (
    select * from {{ source('landing', 'workforce') }}
)

select
    party_code,
    month_on,
    staff_group,
    establishment_wte,
    in_post_wte,
    establishment_wte - in_post_wte as vacancy_wte,
    leavers_wte,
    agency_hours,
    bank_hours,
    feed_id,
    received_at as arrived_at
from workforce
qualify row_number() over (
    partition by party_code, month_on, staff_group
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
