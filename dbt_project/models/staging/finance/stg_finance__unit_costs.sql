with unit_costs as (
    select * from {{ source('landing', 'unit_costs') }}
)

select
    assumption_id,
    item,
    low_gbp,
    high_gbp,
    unit,
    price_base_year,
    source,
    source_status,
    feed_id,
    received_at as arrived_at
from unit_costs
qualify row_number() over (
    partition by assumption_id
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
