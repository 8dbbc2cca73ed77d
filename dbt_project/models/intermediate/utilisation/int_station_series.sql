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
    -- a migrated study was made long before its archive had it, and says nothing of use
    where is_timed and station_name is not null and not is_migrated
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
