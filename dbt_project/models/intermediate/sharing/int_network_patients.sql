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
