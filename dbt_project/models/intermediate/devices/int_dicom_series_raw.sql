with series as (
    select
        series_instance_uid,
        study_uid,
        accession,
        patient_key,
        dicom_modality,
        modality_group,
        station_name,
        device_serial_number,
        ae_title,
        manufacturer,
        manufacturer_model_name,
        software_versions,
        institution_name,
        feed_id,
        first_arrived_at,
        archive_received_at,
        started_at,
        ended_at,
        end_method,
        step_ended_at,
        uses_x_rays,
        tz_source,
        is_repeated_hour,
        instance_count,
        listed_instance_count,
        timed_instance_count
    from {{ ref('int_dicom_series_merged') }}
),

devices as (
    select
        series_instance_uid,
        station_name,
        device_key,
        device_rung
    from {{ ref('int_dicom_series_devices') }}
),

irradiation_events as (
    select
        study_uid,
        started_at,
        ended_at
    from {{ ref('int_irradiation_events') }}
    where ended_at is not null
),

study_doses as (
    select
        study_uid,
        ended_at
    from {{ ref('int_study_doses') }}
    where ended_at is not null
),

feeds as (
    select
        feed_id,
        issuer_ods,
        party_code
    from {{ ref('feeds') }}
),

keyed as (
    select
        series.series_instance_uid,
        series.study_uid,
        feeds.issuer_ods,
        feeds.party_code,
        series.accession,
        series.patient_key,
        series.dicom_modality,
        series.modality_group,
        devices.station_name,
        devices.device_key,
        devices.device_rung,
        series.station_name as seen_station_name,
        series.device_serial_number,
        series.ae_title,
        series.manufacturer,
        series.manufacturer_model_name,
        series.software_versions,
        series.institution_name,
        series.started_at,
        series.ended_at,
        series.end_method,
        series.step_ended_at,
        series.uses_x_rays,
        series.tz_source,
        series.is_repeated_hour,
        series.first_arrived_at,
        series.archive_received_at,
        series.instance_count,
        series.listed_instance_count,
        series.timed_instance_count
    from series
    inner join devices on series.series_instance_uid = devices.series_instance_uid
    left join feeds on series.feed_id = feeds.feed_id
),

-- What begins next: in the study by the same rays or without, and on the device at all.
followed as (
    select
        series_instance_uid,
        study_uid,
        uses_x_rays,
        started_at,
        ended_at,
        step_ended_at,
        lead(started_at) over (
            partition by study_uid, uses_x_rays
            order by started_at, series_instance_uid
        ) as next_alike_at,
        lead(started_at) over (
            partition by study_uid
            order by started_at, series_instance_uid
        ) as next_of_study_at,
        min(coalesce(device_key, '')) over (partition by study_uid, uses_x_rays)
        = max(coalesce(device_key, '')) over (partition by study_uid, uses_x_rays)
            as is_of_one_device,
        -- The image is taken for the last thing known where nothing says how long it took. After
        -- it the device tells no end beyond a limit, and none when it had begun another series.
        least(
            {{ add_seconds(
                'coalesce(ended_at, started_at)', 'cast(60 as bigint) * ' ~ var('longest_rest_minutes')
            ) }},
            min(started_at) over (
                partition by coalesce(device_key, study_uid)
                order by started_at
                range between interval '1 microsecond' following and unbounded following
            )
        ) as latest_end_at
    from keyed
    where started_at is not null
),

-- An event belongs to the series that was under way when it began; a report that tells only when
-- the exam was over belongs to the last one. Reports of a study with two devices name no series.
beams as (
    select
        followed.series_instance_uid,
        max(irradiation_events.ended_at) as ended_at
    from followed
    inner join irradiation_events
        on
            followed.study_uid = irradiation_events.study_uid
            and irradiation_events.started_at >= date_trunc('second', followed.started_at)
            and (
                followed.next_alike_at is null
                or irradiation_events.started_at < followed.next_alike_at
            )
    where followed.uses_x_rays and followed.is_of_one_device
    group by followed.series_instance_uid
),

told_otherwise as (
    select
        followed.series_instance_uid,
        followed.started_at,
        followed.ended_at,
        followed.latest_end_at,
        greatest(beams.ended_at, study_doses.ended_at) as beam_ended_at,
        case when followed.next_of_study_at is null then followed.step_ended_at end
            as step_ended_at
    from followed
    left join beams on followed.series_instance_uid = beams.series_instance_uid
    left join study_doses
        on
            followed.study_uid = study_doses.study_uid
            and followed.uses_x_rays
            and followed.is_of_one_device
            and followed.next_alike_at is null
),

-- A report whose end lies before that of the images lacks an event; then the images stand. The end
-- of the step is the last resort, and of its last series only: it holds the rests between them.
rungs as (
    select
        series_instance_uid,
        case
            when
                beam_ended_at
                >= coalesce(
                    ended_at,
                    {{ add_seconds('started_at', var('shortest_acquisition_seconds')) }}
                )
                and beam_ended_at <= latest_end_at
                then beam_ended_at
        end as beam_ended_at,
        case
            when
                step_ended_at
                >= {{ add_seconds('started_at', var('shortest_acquisition_seconds')) }}
                and step_ended_at <= latest_end_at
                then step_ended_at
        end as step_ended_at
    from told_otherwise
)

select
    keyed.series_instance_uid,
    keyed.study_uid,
    keyed.issuer_ods,
    keyed.party_code,
    keyed.accession,
    keyed.patient_key,
    keyed.dicom_modality,
    keyed.modality_group,
    keyed.station_name,
    keyed.device_key,
    keyed.device_rung,
    keyed.seen_station_name,
    keyed.device_serial_number,
    keyed.ae_title,
    keyed.manufacturer,
    keyed.manufacturer_model_name,
    keyed.software_versions,
    keyed.institution_name,
    keyed.started_at,
    coalesce(rungs.beam_ended_at, keyed.ended_at, rungs.step_ended_at) as ended_at,
    case
        when rungs.beam_ended_at is not null then 'rdsr'
        when keyed.ended_at is not null then keyed.end_method
        when rungs.step_ended_at is not null then 'step_end'
    end as end_method,
    keyed.tz_source,
    keyed.is_repeated_hour,
    keyed.started_at is not null as is_timed,
    coalesce(rungs.beam_ended_at, keyed.ended_at, rungs.step_ended_at) is not null
        as has_usable_end,
    keyed.first_arrived_at,
    keyed.archive_received_at,
    keyed.instance_count,
    keyed.listed_instance_count,
    keyed.timed_instance_count,
    -- An old study that a migration brings in: its scanner is not at work today. Only the archive
    -- knows; that we were told late says nothing, as of a history that is asked for.
    coalesce(
        {{ days_between('keyed.started_at', 'keyed.archive_received_at') }}
        > {{ var('migrated_after_days') }},
        false
    ) as is_migrated
from keyed
left join rungs on keyed.series_instance_uid = rungs.series_instance_uid
