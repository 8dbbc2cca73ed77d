with instances as (
    select
        series_instance_uid,
        sop_instance_uid,
        study_uid,
        accession,
        patient_key,
        sop_class_uid,
        dicom_modality,
        image_type,
        station_name,
        device_serial_number,
        ae_title,
        manufacturer,
        manufacturer_model_name,
        software_versions,
        institution_name,
        series_number,
        acquisition_number,
        instance_number,
        started_at,
        start_rung,
        ts_precision,
        tz_source,
        ts_flag,
        ended_at,
        end_method,
        feed_id,
        arrived_at
    from {{ ref('stg_dicom__instances') }}
),

series_lists as (
    select
        series_instance_uid,
        study_uid,
        accession,
        patient_key,
        dicom_modality,
        station_name,
        device_serial_number,
        ae_title,
        manufacturer,
        manufacturer_model_name,
        software_versions,
        institution_name,
        started_at,
        ended_at,
        is_repeated_hour,
        archive_received_at,
        instance_count,
        feed_id,
        arrived_at
    from {{ ref('stg_dicom__series') }}
),

modalities as (
    select
        dicom_modality,
        modality_group,
        makes_activity,
        uses_x_rays
    from {{ ref('modalities') }}
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

scanner_register as (
    select
        station_name,
        device_serial_number,
        ae_title
    from {{ ref('scanner_register') }}
),

device_overrides as (
    select
        override_no,
        seen_serial_number,
        seen_station_name,
        seen_ae_title,
        seen_institution_name,
        valid_from,
        valid_to,
        device_key,
        station_name
    from {{ ref('device_overrides') }}
),

-- a serial number or AE title shared by two stations identifies neither
serial_numbers as (
    select
        device_serial_number,
        min(station_name) as station_name,
        count(*) as station_count
    from scanner_register
    where device_serial_number is not null
    group by device_serial_number
),

ae_titles as (
    select
        ae_title,
        min(station_name) as station_name
    from scanner_register
    group by ae_title
    having count(*) = 1
),

-- The October hour that the wall clock shows twice was read as the earlier one. Where the clock
-- goes back in the order of the images of a study, the rest of the hour is the second one.
repeated_hour as (
    select
        sop_instance_uid,
        study_uid,
        series_number,
        acquisition_number,
        instance_number,
        started_at,
        max(started_at) over (
            partition by study_uid
            order by series_number, acquisition_number, instance_number, sop_instance_uid
            rows between unbounded preceding and 1 preceding
        ) as latest_before_at
    from instances
    where ts_flag = 'ambiguous'
),

second_hour as (
    select
        sop_instance_uid,
        max(case when started_at < latest_before_at then 1 else 0 end) over (
            partition by study_uid
            order by series_number, acquisition_number, instance_number, sop_instance_uid
            rows between unbounded preceding and current row
        ) as is_second
    from repeated_hour
),

-- Secondary captures, derived images and results carry later times: they are kept for
-- counts and left out of time. Projection X-ray and ultrasound are often derived, so
-- there only PRIMARY is asked for.
judged as (
    select
        instances.series_instance_uid,
        instances.sop_instance_uid,
        instances.study_uid,
        instances.accession,
        instances.patient_key,
        instances.dicom_modality,
        instances.station_name,
        instances.device_serial_number,
        instances.ae_title,
        instances.manufacturer,
        instances.manufacturer_model_name,
        instances.software_versions,
        instances.institution_name,
        {{ add_seconds('instances.started_at', '3600 * coalesce(second_hour.is_second, 0)') }}
            as started_at,
        instances.start_rung,
        instances.tz_source,
        second_hour.sop_instance_uid is not null as is_repeated_hour,
        case
            when instances.end_method in ('duration', 'frames', 'exposure')
                then
                    {{ add_seconds(
                        'instances.ended_at', '3600 * coalesce(second_hour.is_second, 0)'
                    ) }}
        end as ended_at,
        -- a wall clock of its own: of the second of two equal hours it is before the start, and none
        case when instances.end_method = 'step_end' then instances.ended_at end as step_ended_at,
        instances.end_method,
        instances.feed_id,
        instances.arrived_at,
        coalesce(
            instances.sop_class_uid <> '1.2.840.10008.5.1.4.1.1.7'
            and modalities.makes_activity
            and instances.started_at is not null
            and instances.ts_precision not in ('d', 'day')
            and coalesce(instances.ts_flag, '') not in ('nonexistent', 'implausible')
            and {{ image_type_value(2) }} = 'PRIMARY'
            and (
                {{ image_type_value(1) }} = 'ORIGINAL'
                or instances.dicom_modality not in ('CT', 'MR', 'PT', 'NM')
            ),
            false
        ) as is_time_usable
    from instances
    left join modalities on instances.dicom_modality = modalities.dicom_modality
    left join second_hour on instances.sop_instance_uid = second_hour.sop_instance_uid
),

ends as (
    select
        series_instance_uid,
        -- only an acquisition's own time (rungs 1 and 2) can say when the last one ended
        coalesce(ended_at, started_at) as ended_at,
        case
            when end_method in ('duration', 'frames') then end_method
            else 'last_acquisition'
        end as end_method
    from judged
    where is_time_usable and start_rung <= 2
),

-- of two acquisitions that end together a duration says more than the start of the other
read_ends as (
    select
        series_instance_uid,
        ended_at,
        end_method
    from ends
    qualify row_number() over (
        partition by series_instance_uid
        order by
            ended_at desc,
            case end_method when 'duration' then 1 when 'frames' then 2 else 3 end
    ) = 1
),

first_images as (
    select
        series_instance_uid,
        started_at,
        tz_source,
        is_repeated_hour
    from judged
    where is_time_usable
    qualify row_number() over (
        partition by series_instance_uid
        order by started_at, sop_instance_uid
    ) = 1
),

read_series as (
    select
        series_instance_uid,
        min(study_uid) as study_uid,
        min(accession) as accession,
        min(patient_key) as patient_key,
        min(dicom_modality) as dicom_modality,
        min(station_name) as station_name,
        min(device_serial_number) as device_serial_number,
        min(ae_title) as ae_title,
        min(manufacturer) as manufacturer,
        min(manufacturer_model_name) as manufacturer_model_name,
        min(software_versions) as software_versions,
        min(institution_name) as institution_name,
        min(feed_id) as feed_id,
        min(arrived_at) as first_arrived_at,
        count(*) as instance_count,
        max(step_ended_at) filter (where is_time_usable) as step_ended_at,
        count(*) filter (where is_time_usable) as timed_instance_count
    from judged
    group by series_instance_uid
),

-- Headers say more of times than a list; the list knows when the archive had the series, and
-- tells of series whose headers were not read.
series as (
    select
        coalesce(read_series.series_instance_uid, series_lists.series_instance_uid)
            as series_instance_uid,
        coalesce(read_series.study_uid, series_lists.study_uid) as study_uid,
        coalesce(read_series.accession, series_lists.accession) as accession,
        coalesce(read_series.patient_key, series_lists.patient_key) as patient_key,
        coalesce(read_series.dicom_modality, series_lists.dicom_modality) as dicom_modality,
        coalesce(read_series.station_name, series_lists.station_name) as station_name,
        coalesce(read_series.device_serial_number, series_lists.device_serial_number)
            as device_serial_number,
        coalesce(read_series.ae_title, series_lists.ae_title) as ae_title,
        coalesce(read_series.manufacturer, series_lists.manufacturer) as manufacturer,
        coalesce(read_series.manufacturer_model_name, series_lists.manufacturer_model_name)
            as manufacturer_model_name,
        coalesce(read_series.software_versions, series_lists.software_versions)
            as software_versions,
        coalesce(read_series.institution_name, series_lists.institution_name)
            as institution_name,
        coalesce(read_series.feed_id, series_lists.feed_id) as feed_id,
        least(
            coalesce(read_series.first_arrived_at, series_lists.arrived_at),
            coalesce(series_lists.arrived_at, read_series.first_arrived_at)
        ) as first_arrived_at,
        series_lists.archive_received_at,
        read_series.series_instance_uid is not null as is_read,
        first_images.started_at as read_started_at,
        read_ends.ended_at as read_ended_at,
        read_ends.end_method as read_end_method,
        read_series.step_ended_at as read_step_ended_at,
        first_images.tz_source as read_tz_source,
        first_images.is_repeated_hour as is_read_repeated_hour,
        read_series.instance_count as read_instance_count,
        read_series.timed_instance_count as read_timed_instance_count,
        series_lists.started_at as listed_started_at,
        series_lists.ended_at as listed_ended_at,
        series_lists.is_repeated_hour as is_listed_repeated_hour,
        series_lists.instance_count as listed_instance_count
    from read_series
    full outer join series_lists
        on read_series.series_instance_uid = series_lists.series_instance_uid
    left join read_ends on read_series.series_instance_uid = read_ends.series_instance_uid
    left join first_images
        on read_series.series_instance_uid = first_images.series_instance_uid
),

-- A single image without a length of its own, and an exposure of milliseconds, begin and end at
-- one reading of the clock: nobody can say how long they took, so that they have no end.
timed as (
    select
        series.series_instance_uid,
        series.study_uid,
        series.accession,
        coalesce(series.patient_key, series.study_uid) as patient_key,
        series.dicom_modality,
        modalities.modality_group,
        series.station_name,
        series.device_serial_number,
        series.ae_title,
        series.manufacturer,
        series.manufacturer_model_name,
        series.software_versions,
        series.institution_name,
        series.feed_id,
        series.first_arrived_at,
        series.archive_received_at,
        case
            when series.is_read then series.read_started_at
            when modalities.makes_activity then series.listed_started_at
        end as started_at,
        case
            when
                series.read_ended_at
                >= {{ add_seconds(
                    'series.read_started_at', var('shortest_acquisition_seconds')
                ) }}
                then series.read_ended_at
            -- an end before the start is no end
            when
                (series.is_read or modalities.makes_activity)
                and series.listed_ended_at
                >= {{ add_seconds(
                    'case when series.is_read then series.read_started_at '
                    ~ 'else series.listed_started_at end',
                    var('shortest_acquisition_seconds')
                ) }}
                then series.listed_ended_at
        end as ended_at,
        case
            when
                series.read_ended_at
                >= {{ add_seconds(
                    'series.read_started_at', var('shortest_acquisition_seconds')
                ) }}
                then series.read_end_method
            else 'list'
        end as end_method,
        series.read_step_ended_at as step_ended_at,
        coalesce(modalities.uses_x_rays, false) as uses_x_rays,
        case
            when series.is_read then series.read_tz_source
            when modalities.makes_activity and series.listed_started_at is not null
                then 'assumed'
        end as tz_source,
        coalesce(
            case
                when series.is_read then series.is_read_repeated_hour
                else modalities.makes_activity and series.is_listed_repeated_hour
            end,
            false
        ) as is_repeated_hour,
        coalesce(series.read_instance_count, series.listed_instance_count) as instance_count,
        series.listed_instance_count,
        case
            when series.is_read then series.read_timed_instance_count
            when modalities.makes_activity and series.listed_started_at is not null
                then series.listed_instance_count
            else 0
        end as timed_instance_count
    from series
    left join modalities on series.dicom_modality = modalities.dicom_modality
),

-- what somebody wrote down of a device wins over what the ladder would say
overridden as (
    select
        timed.series_instance_uid,
        device_overrides.device_key,
        device_overrides.station_name
    from timed
    inner join device_overrides
        on
            coalesce(
                device_overrides.seen_serial_number = timed.device_serial_number,
                device_overrides.seen_serial_number is null
            )
            and coalesce(
                device_overrides.seen_station_name = timed.station_name,
                device_overrides.seen_station_name is null
            )
            and coalesce(
                device_overrides.seen_ae_title = timed.ae_title,
                device_overrides.seen_ae_title is null
            )
            and coalesce(
                device_overrides.seen_institution_name = timed.institution_name,
                device_overrides.seen_institution_name is null
            )
            and {{ local_date('coalesce(timed.started_at, timed.first_arrived_at)') }}
            between coalesce(device_overrides.valid_from, date '1900-01-01')
            and coalesce(device_overrides.valid_to, date '9999-12-31')
    qualify row_number() over (
        partition by timed.series_instance_uid
        order by device_overrides.override_no
    ) = 1
),

placed as (
    select
        timed.series_instance_uid,
        timed.study_uid,
        timed.accession,
        timed.patient_key,
        timed.dicom_modality,
        timed.modality_group,
        timed.station_name as seen_station_name,
        timed.device_serial_number,
        timed.ae_title,
        timed.manufacturer,
        timed.manufacturer_model_name,
        timed.software_versions,
        timed.institution_name,
        timed.feed_id,
        timed.first_arrived_at,
        timed.archive_received_at,
        timed.started_at,
        timed.ended_at,
        timed.end_method,
        timed.step_ended_at,
        timed.uses_x_rays,
        timed.tz_source,
        timed.is_repeated_hour,
        timed.instance_count,
        timed.listed_instance_count,
        timed.timed_instance_count,
        coalesce(
            overridden.station_name,
            scanner_register.station_name,
            case when serial_numbers.station_count = 1 then serial_numbers.station_name end,
            ae_titles.station_name
        ) as station_name,
        overridden.device_key as override_device_key,
        case
            when overridden.device_key is not null then 'override'
            when
                timed.device_serial_number is not null
                and coalesce(serial_numbers.station_count, 1) = 1
                then 'serial'
            when timed.station_name is not null then 'station'
            when timed.ae_title is not null then 'ae'
            when timed.manufacturer is not null then 'model'
        end as device_rung
    from timed
    left join overridden on timed.series_instance_uid = overridden.series_instance_uid
    left join scanner_register on timed.station_name = scanner_register.station_name
    left join serial_numbers
        on timed.device_serial_number = serial_numbers.device_serial_number
    left join ae_titles on timed.ae_title = ae_titles.ae_title
),

keyed as (
    select
        placed.series_instance_uid,
        placed.study_uid,
        feeds.issuer_ods,
        feeds.party_code,
        placed.accession,
        placed.patient_key,
        placed.dicom_modality,
        placed.modality_group,
        placed.station_name,
        case placed.device_rung
            when 'override' then placed.override_device_key
            when 'serial' then 'serial:' || placed.device_serial_number
            when 'station' then 'station:' || placed.seen_station_name
            when 'ae' then 'ae:' || placed.ae_title
            when 'model'
                then
                    'model:'
                    || placed.manufacturer
                    || '|'
                    || coalesce(placed.manufacturer_model_name, '')
                    || '|'
                    || coalesce(placed.institution_name, '')
        end as device_key,
        placed.device_rung,
        placed.seen_station_name,
        placed.device_serial_number,
        placed.ae_title,
        placed.manufacturer,
        placed.manufacturer_model_name,
        placed.software_versions,
        placed.institution_name,
        placed.started_at,
        placed.ended_at,
        placed.end_method,
        placed.step_ended_at,
        placed.uses_x_rays,
        placed.tz_source,
        placed.is_repeated_hour,
        placed.first_arrived_at,
        placed.archive_received_at,
        placed.instance_count,
        placed.listed_instance_count,
        placed.timed_instance_count
    from placed
    left join feeds on placed.feed_id = feeds.feed_id
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
