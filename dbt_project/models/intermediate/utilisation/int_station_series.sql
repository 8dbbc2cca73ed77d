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
),

-- without a number, and yet of an exam
linked_otherwise as (
    select study_uid
    from {{ ref('int_unnumbered_studies') }}
    where outcome = 'linked'
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
    coalesce(series.end_method, 'none') as end_method,
    series.is_quality_assurance and linked_otherwise.study_uid is null as is_quality_assurance
from series
left join linked_otherwise on series.study_uid = linked_otherwise.study_uid
