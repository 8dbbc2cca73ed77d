with links_by_number as (
    select
        exam_key,
        study_uid,
        link_method,
        started_at,
        ended_at
    from {{ ref('int_exam_study_links_by_number') }}
),

unnumbered_studies as (
    select
        study_uid,
        exam_key,
        is_number_of_another_patient
    from {{ ref('int_unnumbered_studies') }}
    where outcome = 'linked'
),

studies as (
    select
        study_uid,
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from {{ ref('int_dicom_series') }}
    where is_timed
    group by study_uid
)

select
    exam_key,
    study_uid,
    link_method,
    started_at,
    ended_at,
    false as is_against_number
from links_by_number
union all
select
    unnumbered_studies.exam_key,
    unnumbered_studies.study_uid,
    'patient_device_time' as link_method,
    studies.started_at,
    studies.ended_at,
    unnumbered_studies.is_number_of_another_patient as is_against_number
from unnumbered_studies
inner join studies on unnumbered_studies.study_uid = studies.study_uid
