-- Failure: a patient counts in no group of a kind, or in two, and a comparison of groups leaves
-- somebody out.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_equity_monthly'}}}) }}
with kinds as (
    select distinct patient_group_kind
    from {{ ref('rpt_equity_monthly') }}
),

expected as (
    select
        metrics.metric_id,
        metrics.org_level,
        metrics.org_code,
        metrics.modality_group,
        metrics.period_start_on,
        kinds.patient_group_kind,
        metrics.numerator,
        metrics.denominator
    from {{ ref('rpt_metrics_monthly') }} as metrics
    cross join kinds
    where
        metrics.metric_id in ('W02', 'W05', 'W05P90')
        and metrics.org_level in ('network', 'trust')
),

grouped as (
    select
        metric_id,
        org_level,
        org_code,
        modality_group,
        period_start_on,
        patient_group_kind,
        sum(numerator) as numerator,
        sum(denominator) as denominator
    from {{ ref('rpt_equity_monthly') }}
    group by all
)

select
    expected.metric_id,
    expected.org_level,
    expected.org_code,
    expected.modality_group,
    expected.period_start_on,
    expected.patient_group_kind,
    expected.denominator,
    grouped.denominator as grouped_denominator
from expected
left join grouped
    on
        expected.metric_id = grouped.metric_id
        and expected.org_level = grouped.org_level
        and expected.org_code = grouped.org_code
        and expected.modality_group = grouped.modality_group
        and expected.period_start_on = grouped.period_start_on
        and expected.patient_group_kind = grouped.patient_group_kind
where
    expected.denominator is distinct from grouped.denominator
    or expected.numerator is distinct from grouped.numerator
