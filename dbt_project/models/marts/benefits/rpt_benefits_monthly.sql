with benefits as (
    select
        benefit_id,
        title,
        benefit_class,
        measure_metric_id,
        unit,
        improvement,
        baseline_from,
        baseline_to,
        assumption_id
    from {{ ref('stg_finance__benefits') }}
),

beneficiaries as (
    select
        benefit_id,
        party_code,
        live_on,
        -- the register writes 0 where it plans no money
        nullif(planned_value_gbp_per_month, 0) as planned_value_gbp_per_month
    from {{ ref('int_benefit_beneficiaries') }}
),

unit_costs as (
    select
        assumption_id,
        source_status
    from {{ ref('stg_finance__unit_costs') }}
),

metrics as (
    select
        metric_id,
        org_level,
        org_code,
        period_start_on,
        numerator,
        denominator,
        value
    from {{ ref('rpt_metrics_monthly') }}
    where modality_group = 'All'
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

-- the plan counts a party from the first full month after its last go-live
party_plans as (
    select
        beneficiaries.benefit_id,
        beneficiaries.party_code,
        months.month_on,
        case
            when beneficiaries.planned_value_gbp_per_month is null then null
            when beneficiaries.live_on <= months.month_on
                -- decimal: money adds up the same in whatever order the engine adds it
                then cast(beneficiaries.planned_value_gbp_per_month as decimal(18, 6))
            else 0
        end as planned_value_gbp
    from beneficiaries
    cross join months
),

planned as (
    select
        benefit_id,
        case when grouping(party_code) = 0 then 'party' else 'network' end as org_level,
        case when grouping(party_code) = 0 then party_code else 'NETWORK' end as org_code,
        month_on,
        sum(planned_value_gbp) as planned_value_gbp
    from party_plans
    {{ roll_up(['benefit_id', 'month_on'], organisations=['party_code']) }}
),

-- rates over the whole baseline from summed parts; counts as the mean month. Decimals: they add up
-- the same in whatever order the engine adds them.
baselines as (
    select
        benefits.benefit_id,
        metrics.org_level,
        metrics.org_code,
        case
            when count(metrics.denominator) > 0
                then {{ ratio(
                    'sum(cast(metrics.numerator as decimal(28, 9)))',
                    'sum(cast(metrics.denominator as decimal(28, 9)))'
                ) }}
            else avg(cast(metrics.value as decimal(28, 9)))
        end as metric_baseline_value
    from benefits
    inner join metrics
        on
            benefits.measure_metric_id = metrics.metric_id
            and benefits.baseline_from <= metrics.period_start_on
            and benefits.baseline_to >= metrics.period_start_on
    group by benefits.benefit_id, metrics.org_level, metrics.org_code
)

select
    planned.benefit_id,
    planned.month_on as period_start_on,
    planned.org_level,
    planned.org_code,
    benefits.title,
    benefits.benefit_class,
    benefits.measure_metric_id,
    benefits.unit,
    benefits.improvement,
    cast(planned.planned_value_gbp as double) as planned_value_gbp,
    cast(
        sum(planned.planned_value_gbp) over (
            partition by planned.benefit_id, planned.org_level, planned.org_code
            order by planned.month_on
            rows between unbounded preceding and current row
        ) as double
    ) as planned_value_to_date_gbp,
    baselines.metric_baseline_value,
    metrics.value as metric_value,
    metrics.value - baselines.metric_baseline_value as metric_change,
    metrics.value is not null and baselines.metric_baseline_value is not null as is_measured,
    unit_costs.source_status as unit_cost_source_status
from planned
inner join benefits on planned.benefit_id = benefits.benefit_id
left join unit_costs on benefits.assumption_id = unit_costs.assumption_id
left join metrics
    on
        benefits.measure_metric_id = metrics.metric_id
        and planned.org_level = metrics.org_level
        and planned.org_code = metrics.org_code
        and planned.month_on = metrics.period_start_on
left join baselines
    on
        planned.benefit_id = baselines.benefit_id
        and planned.org_level = baselines.org_level
        and planned.org_code = baselines.org_code
