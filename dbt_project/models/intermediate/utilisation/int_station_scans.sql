with studies as (
    select
        station_name,
        patient_key,
        scan_no,
        is_quality_assurance,
        started_at,
        ended_at,
        series_count,
        series_with_end_count
    from {{ ref('int_station_studies') }}
)

select
    station_name,
    patient_key,
    scan_no,
    bool_and(is_quality_assurance) as is_quality_assurance,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    count(*) as study_count,
    sum(series_count) as series_count,
    sum(series_with_end_count) as series_with_end_count
from studies
group by station_name, patient_key, scan_no
