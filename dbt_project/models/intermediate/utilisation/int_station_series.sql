with series as (
    select
        series_instance_uid,
        station_name,
        study_uid,
        accession,
        patient_key,
        started_at,
        ended_at,
        has_usable_end,
        end_method,
        is_quality_assurance
    from {{ ref('int_dicom_series') }}
    where is_timed and station_name is not null
)

select
    series_instance_uid,
    station_name,
    study_uid,
    accession,
    patient_key,
    started_at,
    ended_at,
    has_usable_end,
    coalesce(end_method, 'none') as end_method,
    is_quality_assurance
from series
