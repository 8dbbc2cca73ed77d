with instances as (
    select
        series_instance_uid,
        study_uid,
        accession,
        patient_key,
        sop_class_uid,
        dicom_modality,
        image_type,
        station_name,
        device_serial_number,
        ae_title,
        started_at,
        start_rung,
        ts_precision,
        ts_flag,
        acquisition_seconds,
        exposure_seconds,
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
        started_at,
        ended_at,
        instance_count,
        feed_id,
        arrived_at
    from {{ ref('stg_dicom__series') }}
),

modalities as (
    select
        dicom_modality,
        modality_group,
        makes_activity
    from {{ ref('modalities') }}
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

-- a serial number or AE title shared by two stations identifies neither
serial_numbers as (
    select
        device_serial_number,
        min(station_name) as station_name
    from scanner_register
    group by device_serial_number
    having count(*) = 1
),

ae_titles as (
    select
        ae_title,
        min(station_name) as station_name
    from scanner_register
    group by ae_title
    having count(*) = 1
),

-- Secondary captures, derived images and results carry later times: they are kept for
-- counts and left out of time. Projection X-ray and ultrasound are often derived, so
-- there only PRIMARY is asked for.
judged as (
    select
        instances.series_instance_uid,
        instances.study_uid,
        instances.accession,
        instances.patient_key,
        instances.dicom_modality,
        instances.station_name,
        instances.device_serial_number,
        instances.ae_title,
        instances.started_at,
        instances.start_rung,
        instances.acquisition_seconds,
        instances.exposure_seconds,
        instances.feed_id,
        instances.arrived_at,
        coalesce(
            instances.sop_class_uid <> '1.2.840.10008.5.1.4.1.1.7'
            and modalities.makes_activity
            and instances.started_at is not null
            and instances.ts_precision not in ('d', 'day')
            and coalesce(instances.ts_flag, '') not in ({{ unusable_time_flags() }})
            and {{ image_type_value(2) }} = 'PRIMARY'
            and (
                {{ image_type_value(1) }} = 'ORIGINAL'
                or instances.dicom_modality not in ('CT', 'MR', 'PT', 'NM')
            ),
            false
        ) as is_time_usable
    from instances
    left join modalities on instances.dicom_modality = modalities.dicom_modality
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
        min(feed_id) as feed_id,
        min(arrived_at) as first_arrived_at,
        min(started_at) filter (where is_time_usable) as started_at,
        -- only an acquisition's own time (rungs 1 and 2) can say when the last one ended
        max(
            {{ add_seconds('started_at', 'coalesce(acquisition_seconds, exposure_seconds, 0)') }}
        ) filter (where is_time_usable and start_rung <= 2) as ended_at,
        count(*) as instance_count,
        count(*) filter (where is_time_usable) as timed_instance_count
    from judged
    group by series_instance_uid
),

-- a list tells of a series whose headers were not read; headers say more
series as (
    select
        series_instance_uid,
        study_uid,
        accession,
        patient_key,
        dicom_modality,
        station_name,
        device_serial_number,
        ae_title,
        feed_id,
        first_arrived_at,
        started_at,
        ended_at,
        instance_count,
        timed_instance_count
    from read_series
    union all
    select
        series_lists.series_instance_uid,
        series_lists.study_uid,
        series_lists.accession,
        series_lists.patient_key,
        series_lists.dicom_modality,
        series_lists.station_name,
        series_lists.device_serial_number,
        series_lists.ae_title,
        series_lists.feed_id,
        series_lists.arrived_at as first_arrived_at,
        case when modalities.makes_activity then series_lists.started_at end as started_at,
        case when modalities.makes_activity then series_lists.ended_at end as ended_at,
        series_lists.instance_count,
        case
            when modalities.makes_activity and series_lists.started_at is not null
                then series_lists.instance_count
            else 0
        end as timed_instance_count
    from series_lists
    left join modalities on series_lists.dicom_modality = modalities.dicom_modality
    left join read_series
        on series_lists.series_instance_uid = read_series.series_instance_uid
    where read_series.series_instance_uid is null
)

select
    series.series_instance_uid,
    series.study_uid,
    feeds.issuer_ods,
    feeds.party_code,
    series.accession,
    coalesce(series.patient_key, series.study_uid) as patient_key,
    series.dicom_modality,
    modalities.modality_group,
    coalesce(
        scanner_register.station_name, serial_numbers.station_name, ae_titles.station_name
    ) as station_name,
    series.started_at,
    coalesce(series.ended_at, series.started_at) as ended_at,
    series.started_at is not null as is_timed,
    series.ended_at is not null as has_usable_end,
    series.first_arrived_at,
    series.instance_count,
    series.timed_instance_count
from series
left join feeds on series.feed_id = feeds.feed_id
left join modalities on series.dicom_modality = modalities.dicom_modality
left join scanner_register on series.station_name = scanner_register.station_name
left join serial_numbers on series.device_serial_number = serial_numbers.device_serial_number
left join ae_titles on series.ae_title = ae_titles.ae_title
