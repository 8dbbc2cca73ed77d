with register as (
    select * from {{ source('landing', 'benefit_register') }}
)

select
    benefit_id,
    title,
    description,
    benefit_class,
    category,
    promise,
    owner_role,
    beneficiary as beneficiary_code,
    measure_metric_id,
    unit,
    improvement,
    baseline_from,
    baseline_to,
    counterfactual_method,
    target_value,
    target_on,
    planned_value_gbp_per_year,
    assumption_id,
    attribution_rate,
    double_count_group,
    status,
    last_reviewed_on,
    source_status,
    go_live_type,
    ramp_months,
    confidence_rate,
    optimism_rate,
    units_per_effect,
    unit_value_low_gbp,
    unit_value_gbp,
    unit_value_high_gbp,
    price_base_year,
    value_source,
    value_source_status,
    ledger_line,
    register_version,
    signed_off_by_role,
    signed_off_on,
    feed_id,
    received_at as arrived_at
from register
qualify row_number() over (
    partition by benefit_id
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
