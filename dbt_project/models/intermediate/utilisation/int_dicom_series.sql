with series as (
    select
        series_instance_uid,
        study_uid,
        issuer_ods,
        party_code,
        accession,
        patient_key,
        dicom_modality,
        modality_group,
        station_name,
        device_key,
        device_rung,
        started_at,
        ended_at,
        end_method,
        tz_source,
        is_repeated_hour,
        is_timed,
        has_usable_end,
        first_arrived_at,
        archive_received_at,
        instance_count,
        listed_instance_count,
        timed_instance_count,
        is_migrated
    from {{ ref('int_dicom_series_raw') }}
),

clock_levels as (
    select
        device_key,
        valid_from,
        valid_to,
        offset_seconds
    from {{ ref('int_device_clock_levels') }}
    where is_corrected
),

requested_studies as (
    select distinct study_uid
    from {{ ref('int_exams_folded') }}
    where study_uid is not null
),

-- a study that carries no accession number and that no exam names was asked for by nobody
requests as (
    select
        series.study_uid,
        count(series.accession) > 0 or count(requested_studies.study_uid) > 0 as is_requested
    from series
    left join requested_studies on series.study_uid = requested_studies.study_uid
    group by series.study_uid
),

clocked as (
    select
        series.series_instance_uid,
        series.study_uid,
        series.issuer_ods,
        series.party_code,
        series.accession,
        series.patient_key,
        series.dicom_modality,
        series.modality_group,
        series.station_name,
        series.device_key,
        series.device_rung,
        series.started_at as started_at_raw,
        coalesce(series.ended_at, series.started_at) as ended_at_raw,
        case when series.is_migrated then 0 else coalesce(clock_levels.offset_seconds, 0) end
            as clock_offset_seconds,
        series.end_method,
        series.tz_source,
        series.is_repeated_hour,
        series.is_timed,
        series.has_usable_end,
        series.first_arrived_at,
        series.archive_received_at,
        series.instance_count,
        series.listed_instance_count,
        series.timed_instance_count,
        series.is_migrated,
        not requests.is_requested and not series.is_migrated as is_quality_assurance
    from series
    left join requests on series.study_uid = requests.study_uid
    left join clock_levels
        on
            series.device_key = clock_levels.device_key
            and series.started_at >= clock_levels.valid_from
            and (clock_levels.valid_to is null or series.started_at < clock_levels.valid_to)
)

select
    series_instance_uid,
    study_uid,
    issuer_ods,
    party_code,
    accession,
    patient_key,
    dicom_modality,
    modality_group,
    station_name,
    device_key,
    device_rung,
    {{ add_seconds('started_at_raw', 'clock_offset_seconds') }} as started_at,
    {{ add_seconds('ended_at_raw', 'clock_offset_seconds') }} as ended_at,
    started_at_raw,
    ended_at_raw,
    clock_offset_seconds,
    clock_offset_seconds <> 0 as is_clock_corrected,
    end_method,
    tz_source,
    is_repeated_hour,
    is_timed,
    has_usable_end,
    first_arrived_at,
    archive_received_at,
    instance_count,
    listed_instance_count,
    timed_instance_count,
    is_migrated,
    is_quality_assurance
from clocked
