with monthly_workbook as (
    select * from {{ source('landing', 'monthly_workbook') }}
)

select
    party_code,
    month_on,
    signed_off_by_role,
    signed_off_on,
    sheet,
    row_count,
    feed_id,
    received_at as arrived_at
from monthly_workbook
qualify row_number() over (
    partition by party_code, month_on, sheet
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
