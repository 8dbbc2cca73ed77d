{{ config(meta={'kept': {
    'by': 'series_instance_uid',
    'inputs': {
        'dicom_series': 'series_instance_uid',
    },
}}) }}

with series_lists as (
    select * from {{ source('landing', 'dicom_series') }}
)

select
    series_instance_uid,
    study_instance_uid as study_uid,
    accession_number as accession,
    patient_id as patient_key,
    modality as dicom_modality,
    station_name,
    device_serial_number,
    station_ae_title as ae_title,
    first_acquired_at_utc as started_at,
    first_acquired_at_local as started_at_local,
    -- the earlier reading was taken; an hour later the wall clock shows the same
    coalesce(
        {{ local_from_utc(add_seconds('first_acquired_at_utc', 3600)) }} = first_acquired_at_local,
        false
    ) as is_repeated_hour,
    last_acquired_at_utc as ended_at,
    -- a series sent again has a second time; the first says how long its way took
    min(archive_received_at_utc) over (partition by series_instance_uid) as archive_received_at,
    manufacturer,
    manufacturer_model_name,
    software_versions,
    institution_name,
    route,
    number_of_series_related_instances as instance_count,
    feed_id,
    min(received_at) over (partition by series_instance_uid) as arrived_at
from series_lists
-- a series told again counts once: the latest list stays, as of the first; of several lists of one
-- day the one that tells of more images, or when the archive had them, knows more
qualify row_number() over (
    partition by series_instance_uid
    order by
        received_at desc nulls last,
        number_of_series_related_instances desc,
        archive_received_at_utc desc nulls last,
        source_sha
) = 1
