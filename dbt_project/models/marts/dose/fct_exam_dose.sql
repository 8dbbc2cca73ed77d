{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exam_doses': 'exam_key',
        'int_exams_classified': 'exam_key',
    },
}}) }}

with exam_doses as (
    select
        exam_key,
        exam_count_of_study,
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
    from {{ ref('int_exam_doses') }}
),

exams as (
    select
        exam_key,
        site_code,
        party_code,
        trust_code,
        modality_group,
        exam_code,
        body_region,
        performed_on,
        age_band,
        sex
    from {{ ref('int_exams_classified') }}
)

select
    exams.exam_key,
    exams.site_code,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    exams.exam_code,
    exams.body_region,
    exams.performed_on,
    exams.age_band,
    exams.sex,
    cast(exam_doses.exam_count_of_study as bigint) as exam_count_of_study,
    cast(exam_doses.report_count as bigint) as report_count,
    cast(exam_doses.unread_report_count as bigint) as unread_report_count,
    cast(exam_doses.event_count as bigint) as event_count,
    cast(exam_doses.ct_event_count as bigint) as ct_event_count,
    cast(exam_doses.flagged_event_count as bigint) as flagged_event_count,
    exam_doses.started_at as beam_on_started_at,
    {{ local_from_utc('exam_doses.started_at') }} as beam_on_started_at_local,
    exam_doses.ended_at as beam_on_ended_at,
    {{ local_from_utc('exam_doses.ended_at') }} as beam_on_ended_at_local,
    exam_doses.end_method,
    exam_doses.exposure_seconds,
    exam_doses.total_dlp_mgy_cm,
    -- the sum of the events against the total of a report: a cent of rounding is no difference
    abs(exam_doses.total_dlp_mgy_cm - exam_doses.told_total_dlp_mgy_cm)
    <= 0.01 * exam_doses.told_total_dlp_mgy_cm + 0.1 as is_total_as_told,
    exam_doses.max_ctdi_vol_mgy,
    exam_doses.max_ctdi_phantom,
    exam_doses.total_dap_gy_m2,
    exam_doses.total_rp_dose_mgy,
    exam_doses.max_agd_mgy
from exam_doses
inner join exams on exam_doses.exam_key = exams.exam_key
