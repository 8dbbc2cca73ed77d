with studies as (
    select
        study_uid,
        issuer_ods,
        accession,
        report_count,
        unread_report_count,
        event_count,
        ct_event_count,
        flagged_event_count,
        started_at,
        ended_at,
        end_method,
        exposure_seconds,
        total_dlp_mgy_cm,
        told_total_dlp_mgy_cm,
        max_ctdi_vol_mgy,
        max_ctdi_phantom,
        total_dap_gy_m2,
        total_rp_dose_mgy,
        max_agd_mgy
    from {{ ref('int_study_doses') }}
),

exams as (
    select
        exam_key,
        issuer_ods,
        accession,
        study_uid
    from {{ ref('int_exams_folded') }}
),

by_study_uid as (
    select
        exams.exam_key,
        studies.study_uid
    from exams
    inner join studies on exams.study_uid = studies.study_uid
),

-- images that no number joins to an exam, although a report of theirs may bear one
unnumbered_studies as (
    select
        study_uid,
        exam_key
    from {{ ref('int_unnumbered_studies') }}
    where outcome = 'linked' or is_number_of_another_patient
),

by_accession as (
    select
        exams.exam_key,
        studies.study_uid
    from exams
    inner join studies
        on exams.issuer_ods = studies.issuer_ods and exams.accession = studies.accession
    left join by_study_uid on exams.exam_key = by_study_uid.exam_key
    left join unnumbered_studies on studies.study_uid = unnumbered_studies.study_uid
    where by_study_uid.exam_key is null and unnumbered_studies.study_uid is null
),

by_patient_and_time as (
    select
        unnumbered_studies.exam_key,
        studies.study_uid
    from unnumbered_studies
    inner join studies on unnumbered_studies.study_uid = studies.study_uid
    left join by_study_uid on unnumbered_studies.exam_key = by_study_uid.exam_key
    left join by_accession on unnumbered_studies.exam_key = by_accession.exam_key
    where
        unnumbered_studies.exam_key is not null
        and by_study_uid.exam_key is null
        and by_accession.exam_key is null
),

links as (
    select
        exam_key,
        study_uid
    from by_study_uid
    union all
    select
        exam_key,
        study_uid
    from by_accession
    union all
    select
        exam_key,
        study_uid
    from by_patient_and_time
),

-- one scan can answer several requests: its dose belongs to all of them together
counted as (
    select
        links.exam_key,
        links.study_uid,
        count(*) over (partition by links.study_uid) as exam_count,
        studies.max_ctdi_vol_mgy = max(studies.max_ctdi_vol_mgy) over (partition by links.exam_key)
            as is_max_ctdi
    from links
    inner join studies on links.study_uid = studies.study_uid
)

select
    counted.exam_key,
    count(*) as study_count,
    max(counted.exam_count) as exam_count_of_study,
    sum(studies.report_count) as report_count,
    sum(studies.unread_report_count) as unread_report_count,
    sum(studies.event_count) as event_count,
    sum(studies.ct_event_count) as ct_event_count,
    sum(studies.flagged_event_count) as flagged_event_count,
    min(studies.started_at) as started_at,
    max(studies.ended_at) as ended_at,
    min(studies.end_method) as end_method,
    {{ whole_sum('studies.exposure_seconds', 'studies.event_count > 0') }} as exposure_seconds,
    {{ whole_sum('studies.total_dlp_mgy_cm', 'studies.ct_event_count > 0') }} as total_dlp_mgy_cm,
    {{ whole_sum('studies.told_total_dlp_mgy_cm', 'studies.ct_event_count > 0') }}
        as told_total_dlp_mgy_cm,
    max(studies.max_ctdi_vol_mgy) as max_ctdi_vol_mgy,
    min(studies.max_ctdi_phantom) filter (where counted.is_max_ctdi) as max_ctdi_phantom,
    {{ whole_sum('studies.total_dap_gy_m2', 'studies.event_count > studies.ct_event_count') }}
        as total_dap_gy_m2,
    {{ whole_sum('studies.total_rp_dose_mgy', 'studies.event_count > studies.ct_event_count') }}
        as total_rp_dose_mgy,
    max(studies.max_agd_mgy) as max_agd_mgy
from counted
inner join studies on counted.study_uid = studies.study_uid
group by counted.exam_key
