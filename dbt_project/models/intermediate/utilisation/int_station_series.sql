with series as (
    select
        series_instance_uid,
        station_name,
        study_uid,
        accession,
        patient_key,
        started_at,
        ended_at,
        has_usable_end
    from {{ ref('int_dicom_series') }}
    where is_timed and station_name is not null
),

requested_studies as (
    select distinct study_uid
    from {{ ref('int_exams_folded') }}
    where study_uid is not null
),

-- a study without an accession number that no exam names is a phantom or a test
study_requests as (
    select
        series.study_uid,
        count(series.accession) > 0 or count(requested_studies.study_uid) > 0 as is_requested
    from series
    left join requested_studies on series.study_uid = requested_studies.study_uid
    group by series.study_uid
)

select
    series.series_instance_uid,
    series.station_name,
    series.study_uid,
    series.accession,
    series.patient_key,
    series.started_at,
    series.ended_at,
    series.has_usable_end,
    case when series.has_usable_end then 'acquisition' else 'none' end as end_method,
    not study_requests.is_requested as is_quality_assurance
from series
inner join study_requests on series.study_uid = study_requests.study_uid
