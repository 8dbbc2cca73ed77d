{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_folded': 'exam_key',
        'int_exams_timed': 'exam_key',
        'int_exams_located': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        patient_key,
        issuer_ods,
        exam_code,
        dicom_modality,
        source_setting,
        priority_code,
        requested_at,
        requested_at_local,
        received_at,
        booked_at,
        scheduled_for,
        wanted_for,
        first_verified_at,
        first_verified_at_local,
        cancelled_at,
        cancelled_at_local,
        dna_count,
        addendum_count,
        age_band,
        sex,
        ethnic_category,
        deprivation_quintile,
        nhs_number_valid
    from {{ ref('int_exams_folded') }}
),

times as (
    select
        exam_key,
        started_at,
        started_at_local,
        completed_at,
        completed_at_local,
        time_source,
        has_images,
        clock_start_on,
        dm01_clock_start_on,
        started_on,
        performed_on,
        removed_on,
        is_reported_before_end,
        turnaround_minutes
    from {{ ref('int_exams_timed') }}
),

locations as (
    select
        exam_key,
        site_code,
        party_code
    from {{ ref('int_exams_located') }}
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

exam_codes as (
    select
        exam_code,
        modality_group,
        body_region,
        dm01_test
    from {{ ref('exam_codes') }}
),

modalities as (
    select
        dicom_modality,
        modality_group
    from {{ ref('modalities') }}
),

patient_source_settings as (
    select
        source_setting,
        setting_group,
        is_unscheduled
    from {{ ref('patient_source_settings') }}
),

priorities as (
    select
        priority_code,
        priority_group,
        is_planned
    from {{ ref('priorities') }}
)

select
    exams.exam_key,
    exams.patient_key,
    exams.issuer_ods,
    locations.site_code,
    locations.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    coalesce(exam_codes.modality_group, modalities.modality_group, 'Unknown') as modality_group,
    exams.exam_code,
    exam_codes.dm01_test,
    exam_codes.body_region,
    exams.source_setting,
    coalesce(patient_source_settings.setting_group, 'Unknown') as setting_group,
    coalesce(priorities.priority_group, 'Unknown') as priority_group,
    case
        when priorities.is_planned then 'planned'
        when patient_source_settings.is_unscheduled then 'unscheduled'
        else 'waiting_list'
    end as activity_category,
    exams.requested_at,
    exams.requested_at_local,
    exams.received_at,
    exams.booked_at,
    exams.scheduled_for,
    case when priorities.is_planned then {{ local_date('exams.wanted_for') }} end as due_on,
    times.started_at,
    times.started_at_local,
    times.completed_at,
    times.completed_at_local,
    times.performed_on,
    exams.first_verified_at,
    exams.first_verified_at_local,
    exams.cancelled_at,
    cast(exams.cancelled_at_local as date) as cancelled_on,
    times.removed_on,
    cast(exams.dna_count as integer) as dna_count,
    times.clock_start_on,
    -- that of a planned test runs from its due date
    case
        when not coalesce(priorities.is_planned, false) then times.dm01_clock_start_on
        when exams.wanted_for is not null
            then greatest(times.dm01_clock_start_on, {{ local_date('exams.wanted_for') }})
    end as dm01_clock_start_on,
    case
        when times.started_on >= times.clock_start_on
            then cast({{ days_between('times.clock_start_on', 'times.started_on') }} as integer)
    end as unadjusted_wait_days,
    case
        when
            not coalesce(priorities.is_planned, false)
            and times.started_on >= times.dm01_clock_start_on
            then
                cast({{ days_between('times.dm01_clock_start_on', 'times.started_on') }} as integer)
    end as dm01_wait_days,
    cast(times.turnaround_minutes as double) as turnaround_minutes,
    times.completed_at is not null as is_completed,
    exams.first_verified_at is not null as is_reported,
    times.removed_on is null as is_open_request,
    coalesce(times.is_reported_before_end, false) as is_reported_before_end,
    cast(exams.addendum_count as integer) as addendum_count,
    times.has_images,
    times.time_source,
    exams.age_band,
    exams.sex,
    exams.ethnic_category,
    exams.deprivation_quintile,
    exams.nhs_number_valid
from exams
inner join times on exams.exam_key = times.exam_key
inner join locations on exams.exam_key = locations.exam_key
left join exam_codes on exams.exam_code = exam_codes.exam_code
left join modalities on exams.dicom_modality = modalities.dicom_modality
left join patient_source_settings
    on exams.source_setting = patient_source_settings.source_setting
left join priorities on exams.priority_code = priorities.priority_code
{{ left_join_owners('locations', 'coalesce(times.performed_on, times.clock_start_on)') }}
