-- Failure: the percentiles of turnaround are made of other exams than the counts beside them.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_report_turnaround_monthly'}}}) }}
with exams as (
    select
        party_code,
        modality_group,
        acquired_month_on,
        count(*) as exam_count,
        count(*) filter (where not is_reported) as open_count
    from {{ ref('int_report_turnarounds') }}
    group by party_code, modality_group, acquired_month_on
),

counted as (
    select
        org_code as party_code,
        modality_group,
        acquired_month_on,
        acquired_count,
        open_count
    from {{ ref('rpt_report_turnaround_monthly') }}
    where org_level = 'party' and priority_group = 'All' and modality_group <> 'All'
)

select
    coalesce(counted.party_code, exams.party_code) as party_code,
    coalesce(counted.modality_group, exams.modality_group) as modality_group,
    coalesce(counted.acquired_month_on, exams.acquired_month_on) as acquired_month_on,
    counted.acquired_count,
    exams.exam_count
from counted
full outer join exams
    on
        counted.party_code = exams.party_code
        and counted.modality_group = exams.modality_group
        and counted.acquired_month_on = exams.acquired_month_on
where
    coalesce(counted.acquired_count, 0) <> coalesce(exams.exam_count, 0)
    or coalesce(counted.open_count, 0) <> coalesce(exams.open_count, 0)
