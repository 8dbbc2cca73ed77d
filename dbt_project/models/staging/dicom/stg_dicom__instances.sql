{{ config(meta={'kept': {
    'by': 'sop_instance_uid',
    'inputs': {
        'dicom_headers': 'sop_instance_uid',
    },
}}) }}

with headers as (
    select * from {{ source('landing', 'dicom_headers') }}
)

select
    sop_instance_uid,
    sop_class_uid,
    series_instance_uid,
    study_instance_uid as study_uid,
    accession_number as accession,
    patient_id as patient_key,
    modality as dicom_modality,
    image_type,
    station_name,
    device_serial_number,
    performed_station_ae_title as ae_title,
    manufacturer,
    manufacturer_model_name,
    software_versions,
    institution_name,
    try_cast(series_number as bigint) as series_number,
    try_cast(acquisition_number as bigint) as acquisition_number,
    try_cast(instance_number as bigint) as instance_number,
    start_utc as started_at,
    start_local as started_at_local,
    start_rung,
    ts_precision,
    tz_source,
    ts_flag,
    end_utc as ended_at,
    end_method,
    feed_id,
    min(received_at) over (partition by sop_instance_uid) as arrived_at
from headers
-- An instance sent twice counts once: the latest arrival stays, as of the first. Of two of one day
-- its own bytes decide: the hash of a source depends on what was harvested together.
qualify row_number() over (
    partition by sop_instance_uid
    order by received_at desc nulls last, content_sha
) = 1
