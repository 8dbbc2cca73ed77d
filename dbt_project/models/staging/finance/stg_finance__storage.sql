with storage as (
    select * from {{ source('landing', 'storage') }}
)

select
    party_code,
    month_on,
    archive,
    added_tb,
    held_tb,
    price_gbp_per_tb_year,
    cast(amount_gbp as decimal(14, 2)) as amount_gbp,
    feed_id,
    received_at as arrived_at
from storage
qualify row_number() over (
    partition by party_code, month_on, archive
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
