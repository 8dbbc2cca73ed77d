with outsourcing_invoices as (
    select * from {{ source('landing', 'outsourcing_invoices') }}
)

select
    invoice_no,
    line_no,
    supplier_code,
    party_code,
    month_on,
    service,
    modality_group,
    urgency,
    unit,
    quantity,
    cast(unit_price_gbp as decimal(14, 2)) as unit_price_gbp,
    cast(amount_gbp as decimal(14, 2)) as amount_gbp,
    amount_gbp < 0 as is_credit,
    -- the same charge under a later number; a credit note may take it back
    amount_gbp > 0 and dense_rank() over (
        partition by
            supplier_code, party_code, month_on, service, modality_group, urgency, quantity,
            amount_gbp
        order by invoice_no
    ) > 1 as is_charged_again,
    -- an invoice charges one month: where its lines name several, one of them is wrong, and nothing
    -- says which; a credit may be about any month
    amount_gbp > 0
    and min(case when amount_gbp > 0 then month_on end) over (
        partition by supplier_code, party_code, invoice_no
    ) <> max(case when amount_gbp > 0 then month_on end) over (
        partition by supplier_code, party_code, invoice_no
    ) as is_month_in_doubt,
    service = 'outsourced_report' and modality_group is null as is_without_modality,
    feed_id,
    received_at as arrived_at
from outsourcing_invoices
-- a line that came twice is one line; suppliers number their invoices each by itself
qualify row_number() over (
    partition by supplier_code, party_code, invoice_no, line_no
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
