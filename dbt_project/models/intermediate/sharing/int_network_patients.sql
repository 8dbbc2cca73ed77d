with events as (
    select
        patient_key,
        nhs_key
    from {{ ref('stg_ris__events') }}
    where patient_key is not null and nhs_key is not null and nhs_number_valid
)

-- a number of a hospital that two NHS numbers claim belongs to nobody for sure
select
    patient_key,
    min(nhs_key) as person_key
from events
group by patient_key
having min(nhs_key) = max(nhs_key)
