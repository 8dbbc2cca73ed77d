-- Failure: exams fall out of turnaround: those acquired are not all either reported, open or
-- set aside for impossible dates.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_report_turnaround_monthly'}}}) }}
with turnaround as (
    select
        org_level,
        org_code,
        modality_group,
        acquired_month_on,
        acquired_count,
        reported_count,
        open_count,
        reported_within_28_days_count,
        quarantined_count
    from {{ ref('rpt_report_turnaround_monthly') }}
    where priority_group = 'All'
),

performed as (
    select
        org_level,
        org_code,
        modality_group,
        period_start_on,
        value
    from {{ ref('rpt_metrics_monthly') }}
    where metric_id = 'T01'
)

select
    turnaround.org_level,
    turnaround.org_code,
    turnaround.modality_group,
    turnaround.acquired_month_on,
    turnaround.acquired_count,
    performed.value
from turnaround
left join performed
    on
        turnaround.org_level = performed.org_level
        and turnaround.org_code = performed.org_code
        and turnaround.modality_group = performed.modality_group
        and turnaround.acquired_month_on = performed.period_start_on
where
    turnaround.acquired_count <> turnaround.reported_count + turnaround.open_count
    or turnaround.open_count < 0
    or turnaround.reported_within_28_days_count > turnaround.reported_count
    or turnaround.acquired_count + turnaround.quarantined_count <> coalesce(performed.value, 0)
