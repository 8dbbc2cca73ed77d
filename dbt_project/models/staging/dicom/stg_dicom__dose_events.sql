{%- set times = ['event_start', 'irradiation_start', 'irradiation_end'] -%}
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
    {% for time in times -%}
    {{ time }}_utc as {{ time }}_at,
    {{ time }}_local as {{ time }}_at_local,
    {{ time }}_precision,
    -- a clock that is ahead of the arrival of its own report cannot be right
    case
        when
            {{ time }}_utc
            > {{ add_seconds('received_at', 'cast(3600 as bigint) * ' ~ var('future_tolerance_hours')) }}
            then 'implausible'
        else {{ time }}_flag
    end as {{ time }}_flag,
    {% endfor -%}
    report_written_utc as report_written_at,
    device_observer_name as station_name,
    device_serial_number,
    feed_id,
    min(received_at) over (partition by sop_instance_uid) as arrived_at
from dose_events
-- a report sent again counts once, with all its rows: the latest arrival stays, as of the first
qualify dense_rank() over (
    partition by sop_instance_uid
    order by received_at desc nulls last, source_sha, content_sha
) = 1
