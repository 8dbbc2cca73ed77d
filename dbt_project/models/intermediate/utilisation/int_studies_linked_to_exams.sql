{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exam_study_links': 'exam_key',
    },
}}) }}

with links as (
    select
        exam_key,
        study_uid,
        link_method,
        started_at,
        ended_at,
        is_against_number
    from {{ ref('int_exam_study_links') }}
)

select
    exam_key,
    min(link_method) as link_method,
    count(distinct study_uid) as study_count,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    bool_or(is_against_number) as is_link_against_number
from links
group by exam_key
