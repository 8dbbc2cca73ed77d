{{ config(meta={'kept': {
    'by': 'patient_key',
    'inputs': {
        'stg_ris__events': {
            'touches':
                'select coalesce(merges.standing_key, changed.patient_key) '
                'from {changes} as changed '
                'left join {int_patient_merges} as merges on changed.patient_key = merges.loser_key '
                'where changed.nhs_key is not null',
            'only':
                '(patient_key in {keys} or patient_key in '
                '(select loser_key from {int_patient_merges} where standing_key in {keys}))',
        },
        'int_patient_merges': {
            'touches':
                'select loser_key from {changes} '
                'union all select standing_key from {changes}',
        },
    },
}}) }}

with events as (
    select
        patient_key,
        nhs_key
    from {{ ref('stg_ris__events') }}
    where patient_key is not null and nhs_key is not null and nhs_number_valid
),

patient_merges as (
    select
        loser_key,
        standing_key
    from {{ ref('int_patient_merges') }}
),

-- exams belong to the number that stands now, whichever number their messages name
standing as (
    select
        coalesce(patient_merges.standing_key, events.patient_key) as patient_key,
        events.nhs_key
    from events
    left join patient_merges on events.patient_key = patient_merges.loser_key
)

-- a number of a hospital that two NHS numbers claim belongs to nobody for sure
select
    patient_key,
    min(nhs_key) as person_key
from standing
group by patient_key
having min(nhs_key) = max(nhs_key)
