{{ config(meta={'kept': {
    'by': 'alias_key',
    'inputs': {
        'int_exam_fillers': 'alias_key',
        'int_exam_number_ends': {
            'touches':
                'select old_key from {changes} union all select alias_key from {int_exam_fillers} '
                'where exam_key in (select old_key from {changes})',
        },
    },
}}) }}

with fillers as (
    select
        alias_key,
        exam_key
    from {{ ref('int_exam_fillers') }}
),

number_ends as (
    select
        old_key,
        end_key,
        is_of_another_patient,
        changed_at,
        is_in_circle
    from {{ ref('int_exam_number_ends') }}
)

select
    fillers.alias_key,
    coalesce(number_ends.end_key, fillers.exam_key) as exam_key,
    'filler_seen_with_accession' as why,
    null as changed_at,
    false as is_in_circle
from fillers
left join number_ends on fillers.exam_key = number_ends.old_key
union all
select
    old_key as alias_key,
    end_key as exam_key,
    case when is_of_another_patient then 'moved_patient' else 'accession_changed' end as why,
    changed_at,
    is_in_circle
from number_ends
-- one accession number of a circle stands for itself
where old_key <> end_key
