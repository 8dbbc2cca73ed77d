{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_audited_months': 'month_on',
        'int_image_views': 'month_on',
        'int_exams_classified': month_of('performed_on'),
    },
}}) }}

with audited_months as (
    select
        party_code,
        month_on
    from {{ ref('int_audited_months') }}
),

views as (
    select
        acquired_party_code as party_code,
        acquired_trust_code as trust_code,
        modality_group,
        month_on,
        0 as exam_count,
        1 as view_count
    from {{ ref('int_image_views') }}
    where
        not is_failed
        and acquirer_source = 'exam'
        -- opened in the archive's own client, or shown at a meeting, is not opened from a record
        and access_context in ('own_record', 'shared_record', 'gp')
),

exams as (
    select
        party_code,
        trust_code,
        modality_group,
        {{ month_of('performed_on') }} as month_on,
        1 as exam_count,
        0 as view_count
    from {{ ref('int_exams_classified') }}
    where performed_on is not null
),

both_sides as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        exam_count,
        view_count
    from views
    union all
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        exam_count,
        view_count
    from exams
)

select
    both_sides.party_code,
    both_sides.trust_code,
    both_sides.modality_group,
    both_sides.month_on,
    sum(both_sides.exam_count) as exam_count,
    sum(both_sides.view_count) as view_count
from both_sides
inner join audited_months
    on
        both_sides.party_code = audited_months.party_code
        and both_sides.month_on = audited_months.month_on
group by
    both_sides.party_code,
    both_sides.trust_code,
    both_sides.modality_group,
    both_sides.month_on
