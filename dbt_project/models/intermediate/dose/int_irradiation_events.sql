with dose_events as (
    select
        report_uid,
        study_uid,
        accession,
        completion_flag,
        event_kind,
        irradiation_event_uid,
        acquisition_type_code,
        acquisition_type_scheme,
        phantom,
        exposure_seconds,
        irradiation_seconds,
        ctdi_vol_mgy,
        dlp_mgy_cm,
        dap_gy_m2,
        rp_dose_mgy,
        agd_mgy,
        value_flags,
        event_start_at,
        event_start_flag,
        report_written_at,
        station_name,
        device_serial_number,
        feed_id,
        arrived_at
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
        report_uid,
        study_uid,
        accession,
        event_kind,
        irradiation_event_uid,
        acquisition_type_code,
        acquisition_type_scheme,
        phantom,
        exposure_seconds,
        irradiation_seconds,
        ctdi_vol_mgy,
        dlp_mgy_cm,
        dap_gy_m2,
        rp_dose_mgy,
        agd_mgy,
        value_flags,
        report_written_at,
        station_name,
        device_serial_number,
        feed_id,
        arrived_at,
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
),

-- An event is told by every report that repeats it. One version is taken whole: of the
-- complete ones the latest; values of several versions are never mixed or added.
ranked as (
    select
        report_uid,
        study_uid,
        accession,
        event_kind,
        irradiation_event_uid,
        acquisition_type_code,
        acquisition_type_scheme,
        phantom,
        exposure_seconds,
        irradiation_seconds,
        ctdi_vol_mgy,
        dlp_mgy_cm,
        dap_gy_m2,
        rp_dose_mgy,
        agd_mgy,
        value_flags,
        station_name,
        device_serial_number,
        feed_id,
        started_at,
        is_complete,
        row_number() over (
            partition by irradiation_event_uid
            order by
                is_complete desc, report_written_at desc nulls last, arrived_at desc, report_uid
        ) as version_no,
        count(*) over (partition by irradiation_event_uid) as report_count
    from versions
)

select
    ranked.irradiation_event_uid,
    ranked.report_uid,
    ranked.study_uid,
    feeds.issuer_ods,
    feeds.party_code,
    ranked.accession,
    ranked.station_name,
    ranked.device_serial_number,
    ranked.event_kind,
    ranked.acquisition_type_code,
    ranked.acquisition_type_scheme,
    ranked.phantom,
    ranked.started_at,
    {{ add_seconds(
        'ranked.started_at', 'coalesce(ranked.irradiation_seconds, ranked.exposure_seconds)'
    ) }} as ended_at,
    ranked.exposure_seconds,
    ranked.irradiation_seconds,
    ranked.ctdi_vol_mgy,
    ranked.dlp_mgy_cm,
    ranked.dap_gy_m2,
    ranked.rp_dose_mgy,
    ranked.agd_mgy,
    ranked.value_flags,
    ranked.is_complete,
    ranked.report_count
from ranked
left join feeds on ranked.feed_id = feeds.feed_id
where ranked.version_no = 1
