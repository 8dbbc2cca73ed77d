with headers as (
    select
        series_instance_uid,
        started_at,
        ended_at,
        end_method,
        step_ended_at,
        tz_source,
        is_repeated_hour,
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
        instance_count,
        timed_instance_count,
        feed_id,
        first_arrived_at
    from {{ ref('int_dicom_series_headers') }}
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

-- Headers say more of times than a list; the list knows when the archive had the series, and
-- tells of series whose headers were not read.
merged as (
    select
        coalesce(headers.series_instance_uid, series_lists.series_instance_uid)
            as series_instance_uid,
        coalesce(headers.study_uid, series_lists.study_uid) as study_uid,
        coalesce(headers.accession, series_lists.accession) as accession,
        coalesce(headers.patient_key, series_lists.patient_key) as patient_key,
        coalesce(headers.dicom_modality, series_lists.dicom_modality) as dicom_modality,
        coalesce(headers.station_name, series_lists.station_name) as station_name,
        coalesce(headers.device_serial_number, series_lists.device_serial_number)
            as device_serial_number,
        coalesce(headers.ae_title, series_lists.ae_title) as ae_title,
        coalesce(headers.manufacturer, series_lists.manufacturer) as manufacturer,
        coalesce(headers.manufacturer_model_name, series_lists.manufacturer_model_name)
            as manufacturer_model_name,
        coalesce(headers.software_versions, series_lists.software_versions)
            as software_versions,
        coalesce(headers.institution_name, series_lists.institution_name)
            as institution_name,
        coalesce(headers.feed_id, series_lists.feed_id) as feed_id,
        least(
            coalesce(headers.first_arrived_at, series_lists.arrived_at),
            coalesce(series_lists.arrived_at, headers.first_arrived_at)
        ) as first_arrived_at,
        series_lists.archive_received_at,
        modalities.modality_group,
        coalesce(modalities.uses_x_rays, false) as uses_x_rays,
        case
            when headers.series_instance_uid is not null then headers.started_at
            when modalities.makes_activity then series_lists.started_at
        end as started_at,
        headers.ended_at as read_ended_at,
        headers.end_method as read_end_method,
        headers.step_ended_at,
        series_lists.ended_at as listed_ended_at,
        case
            when headers.series_instance_uid is not null then headers.tz_source
            when modalities.makes_activity and series_lists.started_at is not null
                then 'assumed'
        end as tz_source,
        case
            when headers.series_instance_uid is not null then headers.is_repeated_hour
            else modalities.makes_activity and series_lists.is_repeated_hour
        end as is_repeated_hour,
        coalesce(headers.instance_count, series_lists.instance_count) as instance_count,
        series_lists.instance_count as listed_instance_count,
        case
            when headers.series_instance_uid is not null then headers.timed_instance_count
            when modalities.makes_activity and series_lists.started_at is not null
                then series_lists.instance_count
            else 0
        end as timed_instance_count
    from headers
    full outer join series_lists
        on headers.series_instance_uid = series_lists.series_instance_uid
    left join modalities
        on
            coalesce(headers.dicom_modality, series_lists.dicom_modality)
            = modalities.dicom_modality
)

select
    series_instance_uid,
    study_uid,
    accession,
    coalesce(patient_key, study_uid) as patient_key,
    dicom_modality,
    modality_group,
    uses_x_rays,
    feed_id,
    first_arrived_at,
    archive_received_at,
    station_name,
    device_serial_number,
    ae_title,
    manufacturer,
    manufacturer_model_name,
    software_versions,
    institution_name,
    started_at,
    -- an end of the list before the start, or with it, is no end
    coalesce(
        read_ended_at,
        case
            when
                listed_ended_at
                >= {{ add_seconds('started_at', var('shortest_acquisition_seconds')) }}
                then listed_ended_at
        end
    ) as ended_at,
    case
        when read_ended_at is not null then read_end_method
        when
            listed_ended_at
            >= {{ add_seconds('started_at', var('shortest_acquisition_seconds')) }}
            then 'list'
    end as end_method,
    step_ended_at,
    tz_source,
    coalesce(is_repeated_hour, false) as is_repeated_hour,
    instance_count,
    listed_instance_count,
    timed_instance_count
from merged
