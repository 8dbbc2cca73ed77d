with series as (
    select
        series_instance_uid,
        station_name,
        patient_key,
        study_uid,
        started_at,
        ended_at,
        is_quality_assurance
    from {{ ref('int_station_series') }}
),

ordered as (
    select
        series_instance_uid,
        station_name,
        patient_key,
        study_uid,
        started_at,
        ended_at,
        is_quality_assurance,
        lag(patient_key) over (
            partition by station_name
            order by started_at, ended_at, series_instance_uid
        ) as previous_patient_key,
        max(ended_at) over (
            partition by station_name, patient_key
            order by started_at, ended_at, series_instance_uid
            rows between unbounded preceding and 1 preceding
        ) as patient_ended_at
    from series
),

-- A visit goes on while the same patient comes back within the gap and nobody else was
-- scanned in between.
numbered as (
    select
        station_name,
        patient_key,
        study_uid,
        started_at,
        ended_at,
        is_quality_assurance,
        sum(
            case
                when
                    previous_patient_key = patient_key
                    and started_at
                    <= patient_ended_at
                    + interval '{{ var("changeover_gap_minutes") }} minutes'
                    then 0
                else 1
            end
        ) over (
            partition by station_name
            order by started_at, ended_at, series_instance_uid
            rows between unbounded preceding and current row
        ) as visit_no
    from ordered
)

select
    station_name,
    visit_no,
    min(patient_key) as patient_key,
    bool_and(is_quality_assurance) as is_quality_assurance,
    count(distinct study_uid) as study_count,
    count(*) as series_count,
    min(started_at) as started_at,
    max(ended_at) as ended_at,
    min(started_at) - interval '{{ var("lead_minutes") }} minutes' as occupied_from_at,
    max(ended_at) + interval '{{ var("tail_minutes") }} minutes' as occupied_to_at
from numbered
group by station_name, visit_no
