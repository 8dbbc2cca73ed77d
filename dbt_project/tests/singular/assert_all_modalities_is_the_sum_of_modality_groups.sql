-- Failure: a modality filter set to All shows another figure than its parts together.
with totals as (
    select
        org_level,
        org_code,
        day_on,
        sum(case when modality_group = 'All' then exam_count else 0 end) as all_count,
        sum(case when modality_group <> 'All' then exam_count else 0 end) as part_count
    from {{ ref('rpt_throughput_daily') }}
    group by org_level, org_code, day_on
)

select
    org_level,
    org_code,
    day_on,
    all_count,
    part_count
from totals
where all_count <> part_count
