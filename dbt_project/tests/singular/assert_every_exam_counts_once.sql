-- Failure: exams performed were lost or counted twice between the exam table and the
-- throughput of the network.
{{ config(meta={'dagster': {'ref': {'name': 'fct_exam'}}}) }}
with exams as (
    select performed_on
    from {{ ref('fct_exam') }}
    where is_completed
),

data_as_at as (
    select as_at_on
    from {{ ref('int_data_as_at') }}
),

performed as (
    select count(*) as exam_count
    from exams
    inner join data_as_at on exams.performed_on <= data_as_at.as_at_on
),

throughput as (
    select coalesce(sum(exam_count), 0) as exam_count
    from {{ ref('rpt_throughput_daily') }}
    where org_level = 'network' and modality_group = 'All'
)

select
    performed.exam_count as exam_table_count,
    throughput.exam_count as throughput_count
from performed
cross join throughput
where performed.exam_count <> throughput.exam_count
