with admissions as (
    select * from {{ source('landing', 'admissions') }}
)

select
    party_code,
    month_on,
    admission_id,
    patient_id as patient_key,
    site_code,
    admitted_at_utc as admitted_at,
    ready_at_utc as ready_at,
    discharged_at_utc as discharged_at,
    {{ days_between('cast(admitted_at_local as date)', 'cast(discharged_at_local as date)') }}
        as bed_days,
    feed_id,
    received_at as arrived_at
from admissions
qualify row_number() over (
    partition by party_code, admission_id
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
