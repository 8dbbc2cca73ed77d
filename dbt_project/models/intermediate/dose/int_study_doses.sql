with dose_events as (
    select
        report_uid,
        study_uid,
        accession,
        unread_reason,
        event_no,
        report_row_count,
        irradiation_start_at,
        irradiation_start_flag,
        irradiation_end_at,
        irradiation_end_flag,
        total_dlp_mgy_cm,
        report_written_at,
        feed_id,
        arrived_at
    from {{ ref('stg_dicom__dose_events') }}
),

events as (
    select
        study_uid,
        event_kind,
        phantom,
        started_at,
        ended_at,
        exposure_seconds,
        ctdi_vol_mgy,
        ctdi_vol_mgy = max(ctdi_vol_mgy) over (partition by study_uid) as is_max_ctdi,
        dlp_mgy_cm,
        dap_gy_m2,
        rp_dose_mgy,
        agd_mgy,
        value_flags
    from {{ ref('int_irradiation_events') }}
),

feeds as (
    select
        feed_id,
        issuer_ods,
        party_code
    from {{ ref('feeds') }}
),

-- what a report says once stands on each of its rows
reports as (
    select
        report_uid,
        study_uid,
        accession,
        feed_id,
        arrived_at,
        report_written_at,
        unread_reason is not null as is_unread,
        case when event_no > 0 then report_row_count else 0 end as event_count,
        total_dlp_mgy_cm,
        case
            when coalesce(irradiation_start_flag, '') not in ({{ unusable_time_flags() }})
                then irradiation_start_at
        end as started_at,
        case
            when coalesce(irradiation_end_flag, '') not in ({{ unusable_time_flags() }})
                then irradiation_end_at
        end as ended_at
    from dose_events
    where event_no <= 1
),

studies as (
    select
        study_uid,
        min(accession) as accession,
        min(feed_id) as feed_id,
        min(arrived_at) as first_arrived_at,
        count(*) as report_count,
        count(*) filter (where is_unread) as unread_report_count,
        -- of cumulative and continued reports: from the first start to the last end
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from reports
    group by study_uid
),

-- a sum that lacks a part would pass for a low dose: it stays empty
sums as (
    select
        study_uid,
        count(*) as event_count,
        count(*) filter (where event_kind = 'ct') as ct_event_count,
        count(value_flags) as flagged_event_count,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        {{ whole_sum('exposure_seconds') }} as exposure_seconds,
        {{ whole_sum('dlp_mgy_cm', "event_kind = 'ct'") }} as total_dlp_mgy_cm,
        max(ctdi_vol_mgy) as max_ctdi_vol_mgy,
        min(phantom) filter (where is_max_ctdi) as max_ctdi_phantom,
        {{ whole_sum('dap_gy_m2', "event_kind = 'projection'") }} as total_dap_gy_m2,
        {{ whole_sum('rp_dose_mgy', "event_kind = 'projection'") }} as total_rp_dose_mgy,
        max(agd_mgy) as max_agd_mgy
    from events
    group by study_uid
),

-- an end before the start is no end
spans as (
    select
        studies.study_uid,
        least(studies.started_at, sums.started_at) as started_at,
        case
            when
                greatest(studies.ended_at, sums.ended_at)
                >= coalesce(least(studies.started_at, sums.started_at), studies.ended_at)
                then greatest(studies.ended_at, sums.ended_at)
        end as ended_at
    from studies
    left join sums on studies.study_uid = sums.study_uid
),

-- the total that the latest report of all events tells itself, to hold beside the sum
told as (
    select
        reports.study_uid,
        reports.total_dlp_mgy_cm,
        row_number() over (
            partition by reports.study_uid
            order by reports.report_written_at desc nulls last, reports.report_uid
        ) as report_no
    from reports
    inner join sums
        on reports.study_uid = sums.study_uid and reports.event_count = sums.event_count
)

select
    studies.study_uid,
    feeds.issuer_ods,
    feeds.party_code,
    studies.accession,
    studies.first_arrived_at,
    studies.report_count,
    studies.unread_report_count,
    coalesce(sums.event_count, 0) as event_count,
    coalesce(sums.ct_event_count, 0) as ct_event_count,
    coalesce(sums.flagged_event_count, 0) as flagged_event_count,
    spans.started_at,
    spans.ended_at,
    case when spans.ended_at is not null then 'rdsr' end as end_method,
    sums.exposure_seconds,
    sums.total_dlp_mgy_cm,
    told.total_dlp_mgy_cm as told_total_dlp_mgy_cm,
    sums.max_ctdi_vol_mgy,
    sums.max_ctdi_phantom,
    sums.total_dap_gy_m2,
    sums.total_rp_dose_mgy,
    sums.max_agd_mgy
from studies
left join feeds on studies.feed_id = feeds.feed_id
left join spans on studies.study_uid = spans.study_uid
left join sums on studies.study_uid = sums.study_uid
left join told on studies.study_uid = told.study_uid and told.report_no = 1
