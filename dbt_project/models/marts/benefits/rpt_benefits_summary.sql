with benefits as (
    select
        benefit_id,
        title,
        description,
        benefit_class,
        category,
        promise,
        owner_role,
        beneficiary_code,
        measure_metric_id,
        unit,
        improvement,
        target_value,
        target_on,
        baseline_from,
        baseline_to,
        -- the register writes 0 where it plans no money
        nullif(planned_value_gbp_per_year, 0) as planned_value_gbp_per_year,
        assumption_id,
        double_count_group,
        source_status,
        status
    from {{ ref('stg_finance__benefits') }}
),

unit_costs as (
    select
        assumption_id,
        source_status
    from {{ ref('stg_finance__unit_costs') }}
),

optimism as (
    select
        benefit_id,
        optimism_rate,
        optimism_source,
        optimism_source_status
    from {{ ref('int_benefit_optimism') }}
),

needs as (
    select
        benefit_id,
        is_metric_defined,
        needed_feeds,
        missing_feeds
    from {{ ref('int_benefit_needs') }}
),

months as (
    select
        benefit_id,
        org_level,
        org_code,
        period_start_on,
        metric_baseline_value,
        metric_value
    from {{ ref('rpt_benefits_monthly') }}
),

-- a register line is read at its beneficiary: the network, or the one party
beneficiary_months as (
    select
        benefits.benefit_id,
        months.period_start_on,
        months.metric_baseline_value,
        months.metric_value
    from benefits
    inner join months
        on
            benefits.benefit_id = months.benefit_id
            and benefits.beneficiary_code = months.org_code
),

latest as (
    select
        benefit_id,
        max(metric_baseline_value) as metric_baseline_value,
        max_by(metric_value, period_start_on) filter (where metric_value is not null)
            as metric_latest_value,
        max(period_start_on) filter (where metric_value is not null) as metric_latest_on
    from beneficiary_months
    group by benefit_id
),

measured as (
    select
        benefit_id,
        metric_latest_value - metric_baseline_value as metric_change,
        metric_latest_value is not null and metric_baseline_value is not null as is_measured
    from latest
),

evidence as (
    select
        needs.benefit_id,
        case
            when latest.metric_latest_value is not null then 'measured'
            when needs.is_metric_defined then 'no evidence'
            else 'no metric yet'
        end as evidence_status,
        needs.needed_feeds,
        case when latest.metric_latest_value is null then needs.missing_feeds end as missing_feeds
    from needs
    left join latest on needs.benefit_id = latest.benefit_id
)

select
    benefits.benefit_id,
    benefits.title,
    benefits.description,
    benefits.benefit_class,
    benefits.category,
    benefits.promise,
    benefits.owner_role,
    benefits.measure_metric_id,
    benefits.unit,
    benefits.improvement,
    benefits.target_value,
    benefits.target_on,
    benefits.baseline_from,
    benefits.baseline_to,
    latest.metric_baseline_value,
    latest.metric_latest_value,
    latest.metric_latest_on,
    measured.metric_change,
    coalesce(measured.is_measured, false) as is_measured,
    evidence.evidence_status,
    case
        when evidence.evidence_status <> 'no evidence' then evidence.evidence_status
        when evidence.missing_feeds is not null
            then 'no evidence: ' || evidence.missing_feeds || ' missing'
        else
            'no evidence: no month of ' || benefits.measure_metric_id || ' from '
            || evidence.needed_feeds
    end as evidence,
    evidence.needed_feeds,
    evidence.missing_feeds,
    case
        when latest.metric_latest_value is null then 'not measured'
        when measured.metric_change is null then 'no baseline'
        when measured.metric_change = 0 then 'no change'
        when measured.metric_change > 0 and benefits.improvement = 'increase' then 'as promised'
        when measured.metric_change < 0 and benefits.improvement = 'decrease' then 'as promised'
        else 'against the promise'
    end as movement,
    case
        when benefits.target_value is null or latest.metric_latest_value is null then null
        when benefits.improvement = 'increase'
            then latest.metric_latest_value >= benefits.target_value
        else latest.metric_latest_value <= benefits.target_value
    end as is_target_met,
    benefits.planned_value_gbp_per_year,
    optimism.optimism_rate,
    optimism.optimism_source,
    optimism.optimism_source_status,
    benefits.planned_value_gbp_per_year * (1 - optimism.optimism_rate)
        as planned_adjusted_gbp_per_year,
    benefits.double_count_group,
    benefits.source_status,
    unit_costs.source_status as unit_cost_source_status,
    benefits.status
from benefits
left join latest on benefits.benefit_id = latest.benefit_id
left join measured on benefits.benefit_id = measured.benefit_id
left join evidence on benefits.benefit_id = evidence.benefit_id
left join unit_costs on benefits.assumption_id = unit_costs.assumption_id
left join optimism on benefits.benefit_id = optimism.benefit_id
