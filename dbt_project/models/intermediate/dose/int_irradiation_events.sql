{%- set told = [
    'report_uid', 'study_uid', 'accession', 'event_kind', 'irradiation_event_uid',
    'acquisition_type_code', 'acquisition_type_scheme', 'phantom', 'exposure_seconds',
    'irradiation_seconds', 'ctdi_vol_mgy', 'dlp_mgy_cm', 'dap_gy_m2', 'rp_dose_mgy', 'agd_mgy',
    'value_flags', 'report_written_at', 'station_name', 'device_serial_number', 'feed_id',
    'arrived_at'
] -%}
with dose_events as (
    select
        {{ told | join(',\n        ') }},
        completion_flag,
        event_start_at,
        event_start_flag
    from {{ ref('stg_dicom__dose_events') }}
    where irradiation_event_uid is not null
),

feeds as (
    select
        feed_id,
        issuer_ods,
        party_code
    from {{ ref('feeds') }}
),

versions as (
    select
        {{ told | join(',\n        ') }},
        case
            when coalesce(event_start_flag, '') not in ({{ unusable_time_flags() }})
                then event_start_at
        end as started_at,
        coalesce(completion_flag, '') <> 'PARTIAL'
        and case
            when event_kind = 'ct' then dlp_mgy_cm is not null
            else coalesce(dap_gy_m2, rp_dose_mgy, agd_mgy) is not null
        end as is_complete
    from dose_events
)

-- An event is told by every report that repeats it. One version is taken whole: of the
-- complete ones the latest; values of several versions are never mixed or added.
select
    versions.irradiation_event_uid,
    versions.report_uid,
    versions.study_uid,
    feeds.issuer_ods,
    feeds.party_code,
    versions.accession,
    versions.station_name,
    versions.device_serial_number,
    versions.event_kind,
    versions.acquisition_type_code,
    versions.acquisition_type_scheme,
    versions.phantom,
    versions.started_at,
    {{ add_seconds(
        'versions.started_at', 'coalesce(versions.irradiation_seconds, versions.exposure_seconds)'
    ) }} as ended_at,
    versions.exposure_seconds,
    versions.irradiation_seconds,
    versions.ctdi_vol_mgy,
    versions.dlp_mgy_cm,
    versions.dap_gy_m2,
    versions.rp_dose_mgy,
    versions.agd_mgy,
    versions.value_flags,
    versions.is_complete,
    count(*) over (partition by versions.irradiation_event_uid) as report_count
from versions
left join feeds on versions.feed_id = feeds.feed_id
qualify row_number() over (
    partition by versions.irradiation_event_uid
    order by
        versions.is_complete desc, versions.report_written_at desc nulls last,
        versions.arrived_at desc, versions.report_uid
) = 1
