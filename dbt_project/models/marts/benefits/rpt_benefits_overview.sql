with benefits as (
    select
        benefit_id,
        is_measured,
        evidence_status,
        movement,
        is_target_met
    from {{ ref('rpt_benefits_summary') }}
)

select
    'NETWORK' as scope_code,
    count(*) as line_count,
    count(*) filter (where is_measured) as measured_count,
    count(*) filter (where movement = 'as promised') as as_promised_count,
    count(*) filter (where movement = 'against the promise') as against_promise_count,
    count(*) filter (where movement = 'no change') as no_change_count,
    count(*) filter (where movement = 'no baseline') as no_baseline_count,
    count(*) filter (where evidence_status = 'no evidence') as no_evidence_count,
    count(*) filter (where evidence_status = 'no metric yet') as no_metric_count,
    count(*) filter (where is_target_met is not null) as target_judged_count,
    count(*) filter (where is_target_met) as target_met_count
from benefits
