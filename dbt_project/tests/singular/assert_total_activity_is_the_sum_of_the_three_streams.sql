-- Failure: the activity metric is not the sum of waiting list, planned and unscheduled
-- tests, or tests were performed that no stream counts.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_waiting_times_monthly'}}}) }}
with streams as (
    select
        cast(date_trunc('month', census_on) as date) as period_start_on,
        activity_waiting_list_count + activity_planned_count + activity_unscheduled_count
            as activity_count
    from {{ ref('rpt_waiting_times_monthly') }}
    where org_level = 'network' and dm01_test = 'All'
),

metrics as (
    select
        period_start_on,
        value
    from {{ ref('rpt_metrics_monthly') }}
    where metric_id = 'W04' and org_level = 'network' and modality_group = 'All'
),

tests_performed as (
    select
        cast(date_trunc('month', performed_on) as date) as period_start_on,
        count(*) as test_count
    from {{ ref('fct_exam') }}
    where is_completed and dm01_test is not null
    group by cast(date_trunc('month', performed_on) as date)
)

select
    streams.period_start_on,
    streams.activity_count,
    metrics.value,
    tests_performed.test_count
from streams
left join metrics on streams.period_start_on = metrics.period_start_on
left join tests_performed on streams.period_start_on = tests_performed.period_start_on
where
    streams.activity_count <> coalesce(metrics.value, -1)
    or streams.activity_count <> coalesce(tests_performed.test_count, 0)
