{{ config(materialized='view') }}

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

modalities as (
    select
        dicom_modality,
        makes_activity
    from {{ ref('modalities') }}
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
        -- A wall clock of its own: of the second of two equal hours it is before the start, and
        -- none.
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
)

-- A single image without a length of its own, and an exposure of milliseconds, begin and end at
-- one reading of the clock: nobody can say how long they took, so that they have no end.
select
    read_series.series_instance_uid,
    read_series.study_uid,
    read_series.accession,
    read_series.patient_key,
    read_series.dicom_modality,
    read_series.station_name,
    read_series.device_serial_number,
    read_series.ae_title,
    read_series.manufacturer,
    read_series.manufacturer_model_name,
    read_series.software_versions,
    read_series.institution_name,
    first_images.started_at,
    read_ends.ended_at,
    read_ends.end_method,
    read_series.step_ended_at,
    first_images.tz_source,
    first_images.is_repeated_hour,
    read_series.instance_count,
    read_series.timed_instance_count,
    read_series.feed_id,
    read_series.first_arrived_at
from read_series
left join first_images on read_series.series_instance_uid = first_images.series_instance_uid
left join read_ends
    on
        read_series.series_instance_uid = read_ends.series_instance_uid
        and read_ends.ended_at >= {{ add_seconds(
            'first_images.started_at', var('shortest_acquisition_seconds')
        ) }}
