with studies as (
    select
        station_name,
        study_uid,
        min(patient_key) as patient_key,
        bool_and(is_quality_assurance) as is_quality_assurance,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        count(*) as series_count,
        count(*) filter (where has_usable_end) as series_with_end_count
    from {{ ref('int_station_series') }}
    group by station_name, study_uid
),

ordered as (
    select
        station_name,
        study_uid,
        patient_key,
        is_quality_assurance,
        started_at,
        ended_at,
        series_count,
        series_with_end_count,
        lag(started_at) over (
            partition by station_name, patient_key
            order by started_at, ended_at, study_uid
        ) as previous_started_at,
        max(ended_at) over (
            partition by station_name, patient_key
            order by started_at, ended_at, study_uid
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from studies
),

-- Nobody lies in one scanner twice at a time: studies of one patient whose acquisition times
-- overlap are one scan under several numbers.
numbered as (
    select
        station_name,
        study_uid,
        patient_key,
        is_quality_assurance,
        started_at,
        ended_at,
        series_count,
        series_with_end_count,
        sum(
            case
                when started_at < earlier_ended_at or started_at = previous_started_at then 0
                else 1
            end
        ) over (
            partition by station_name, patient_key
            order by started_at, ended_at, study_uid
            rows between unbounded preceding and current row
        ) as scan_no
    from ordered
)

select
    station_name,
    study_uid,
    patient_key,
    scan_no,
    is_quality_assurance,
    started_at,
    ended_at,
    series_count,
    series_with_end_count
from numbered
