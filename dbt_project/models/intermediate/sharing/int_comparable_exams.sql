{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_network_patients': {
            'touches':
                'select exam_key from {int_exams_classified} '
                'where patient_key in (select patient_key from {changes})',
        },
    },
}}) }}

with exams as (
    select
        exam_key,
        patient_key,
        party_code,
        trust_code,
        modality_group,
        exam_code,
        body_region,
        priority_group,
        performed_on,
        completed_at,
        first_verified_at,
        first_verified_at_local,
        is_reported_before_end
    from {{ ref('int_exams_classified') }}
    where performed_on is not null and body_region is not null and party_code <> 'Unknown'
),

people as (
    select
        patient_key,
        person_key
    from {{ ref('int_network_patients') }}
)

select
    exams.exam_key,
    people.person_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    exams.exam_code,
    exams.body_region,
    exams.priority_group,
    exams.performed_on,
    {{ month_of('exams.performed_on') }} as month_on,
    exams.completed_at,
    case when not exams.is_reported_before_end then exams.first_verified_at end as reported_at,
    case when not exams.is_reported_before_end then exams.first_verified_at_local end
        as reported_at_local
from exams
inner join people on exams.patient_key = people.patient_key
