{{ config(meta={'kept': {
    'by': 'report_uid',
    'inputs': {
        'dose_events': 'sop_instance_uid',
    },
}}) }}

with dose_events as (
    select * from {{ source('landing', 'dose_events') }}
)

select
    sop_instance_uid as report_uid,
    study_instance_uid as study_uid,
    accession_number as accession,
    patient_id as patient_key,
    completion_flag,
    unread_reason,
    report_row_count,
    event_no,
    event_kind,
    irradiation_event_uid,
    acquisition_type_code,
    acquisition_type_scheme,
    case
        when phantom_scheme = 'DCM' and phantom_code = '113690' then 'head'
        when phantom_scheme = 'DCM' and phantom_code = '113691' then 'body'
    end as phantom,
    exposure_seconds,
    irradiation_seconds,
    ctdi_vol_mgy,
    dlp_mgy_cm,
    dap_gy_m2,
    rp_dose_mgy,
    agd_mgy,
    total_event_count,
    total_dlp_mgy_cm,
    total_dap_gy_m2,
    total_rp_dose_mgy,
    value_flags,
    event_start_utc as event_start_at,
    event_start_local as event_start_at_local,
    event_start_precision,
    {{ flag_against_arrival('event_start_flag', 'event_start_utc', 'received_at') }}
        as event_start_flag,
    irradiation_start_utc as irradiation_start_at,
    irradiation_start_local as irradiation_start_at_local,
    irradiation_start_precision,
    {{ flag_against_arrival('irradiation_start_flag', 'irradiation_start_utc', 'received_at') }}
        as irradiation_start_flag,
    irradiation_end_utc as irradiation_end_at,
    irradiation_end_local as irradiation_end_at_local,
    irradiation_end_precision,
    {{ flag_against_arrival('irradiation_end_flag', 'irradiation_end_utc', 'received_at') }}
        as irradiation_end_flag,
    report_written_utc as report_written_at,
    device_observer_name as station_name,
    device_serial_number,
    feed_id,
    min(received_at) over (partition by sop_instance_uid) as arrived_at
from dose_events
-- A report sent again counts once, with all its rows: the latest arrival that could be read stays,
-- as of the first. Of two of one day its own bytes decide, as those of an instance do.
qualify dense_rank() over (
    partition by sop_instance_uid
    order by
        unread_reason is not null,
        received_at desc nulls last,
        content_sha,
        source_sha
) = 1
