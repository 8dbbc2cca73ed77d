with contract_lines as (
    select * from {{ source('landing', 'contract_lines') }}
)

select
    party_code,
    month_on,
    line_type,
    quantity,
    unit,
    unit_price_gbp,
    cast(amount_gbp as decimal(14, 2)) as amount_gbp,
    feed_id,
    received_at as arrived_at
from contract_lines
qualify row_number() over (
    partition by party_code, month_on, line_type
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
