{{ config(meta={'kept': {
    'by': 'exam_key',
    'in_parts': True,
    'inputs': {
        'int_exam_events': 'exam_key',
        'int_report_versions': 'exam_key',
        'int_patient_merges': {
            'touches':
                'select exam_key from {int_exam_events} '
                'where patient_key in (select loser_key from {changes})',
        },
    },
}}) }}

with exam_events as (
    select
        exam_key,
        assertion_no,
        event_type,
        event_at,
        event_at_local,
        issuer_ods,
        accession,
        study_uid,
        patient_key,
        nhs_number_valid,
        sex,
        age_band,
        ethnic_category,
        deprivation_quintile,
        site_code,
        station_name,
        dicom_modality,
        exam_code,
        priority_code,
        source_setting,
        actor_org_code,
        scheduled_for,
        is_date_only,
        is_time_doubtful
    from {{ ref('int_exam_events') }}
),

patient_merges as (
    select
        loser_key,
        standing_key
    from {{ ref('int_patient_merges') }}
),

addenda as (
    select
        exam_key,
        count(distinct issued_at) as addendum_count
    from {{ ref('int_report_versions') }}
    where version_kind = 'addendum'
    group by exam_key
),

folded as (
    select
        exam_key,
        {{ latest_asserted('issuer_ods') }} as issuer_ods,
        {{ latest_asserted('accession') }} as accession,
        {{ latest_asserted('study_uid') }} as study_uid,
        {{ latest_asserted('patient_key') }} as patient_key,
        {{ latest_asserted('nhs_number_valid') }} as nhs_number_valid,
        {{ latest_asserted('sex') }} as sex,
        {{ latest_asserted('age_band') }} as age_band,
        {{ latest_asserted('ethnic_category') }} as ethnic_category,
        {{ latest_asserted('deprivation_quintile') }} as deprivation_quintile,
        {{ latest_asserted('site_code') }} as site_code,
        {{ latest_asserted('station_name') }} as station_name,
        {{ latest_asserted('dicom_modality') }} as dicom_modality,
        {{ latest_asserted('exam_code') }} as exam_code,
        {{ latest_asserted('priority_code') }} as priority_code,
        {{ latest_asserted('source_setting') }} as source_setting,
        {{ earliest_event('event_at', 'order_placed') }} as requested_at,
        {{ earliest_event('event_at_local', 'order_placed') }} as requested_at_local,
        {{ earliest_event('event_at', 'order_received') }} as received_at,
        {{ earliest_event('event_at_local', 'order_received') }} as received_at_local,
        {{ earliest_event('event_at', 'appointment_booked') }} as booked_at,
        -- the slot that stands is the one booked or moved last
        max_by(scheduled_for, assertion_no) filter (
            where
            event_type in ('appointment_booked', 'appointment_moved')
            and scheduled_for is not null
        ) as last_scheduled_for,
        max(assertion_no) filter (
            where
            event_type in ('appointment_booked', 'appointment_moved')
            and scheduled_for is not null
        ) as last_scheduled_no,
        max(assertion_no) filter (
            where event_type = 'appointment_cancelled'
        ) as last_given_up_no,
        max_by(scheduled_for, assertion_no) filter (
            where event_type = 'appointment_cancelled'
        ) as last_given_up_for,
        -- the time that a request names is the one it is wanted for
        max_by(scheduled_for, assertion_no) filter (
            where
            event_type in ('order_placed', 'order_received', 'order_changed')
            and scheduled_for is not null
        ) as wanted_for,
        {{ latest_asserted('event_at', 'exam_started') }} as started_at,
        {{ latest_asserted('event_at_local', 'exam_started') }} as started_at_local,
        {{ latest_asserted('event_at', 'exam_completed') }} as completed_at,
        {{ latest_asserted('event_at_local', 'exam_completed') }} as completed_at_local,
        {{ latest_asserted('is_date_only', 'exam_completed') }} as is_completed_date_only,
        {{ latest_asserted('is_time_doubtful', 'exam_completed') }} as is_completed_time_doubtful,
        {{ earliest_event('event_at', 'report_verified') }} as first_verified_at,
        {{ earliest_event('event_at_local', 'report_verified') }} as first_verified_at_local,
        -- a request that vetting refused ends as a cancelled one does
        max_by(event_at, assertion_no) filter (
            where event_type in ('order_cancelled', 'protocol_rejected') and event_at is not null
        ) as cancelled_at,
        max_by(event_at_local, assertion_no) filter (
            where event_type in ('order_cancelled', 'protocol_rejected') and event_at is not null
        ) as cancelled_at_local,
        max_by(event_type, assertion_no) filter (
            where event_type in ('order_cancelled', 'protocol_rejected') and event_at is not null
        ) as cancelled_by,
        max(event_at) filter (
            where event_type in ('order_placed', 'order_received', 'order_changed')
        ) as last_ordered_at,
        max(event_at) filter (where event_type = 'protocolled') as last_vetted_at,
        count(distinct cast(event_at_local as date)) filter (
            where event_type = 'patient_dna'
        ) as dna_count,
        count(*) filter (
            where event_type not in (
                'appointment_booked', 'appointment_moved', 'appointment_cancelled', 'patient_dna'
            )
        ) as exam_event_count
    from exam_events
    group by exam_key
),

-- an order after the end of a request means that it lives again, and so does vetting after a
-- refusal; a cancelled appointment leaves the one that was booked before it was cancelled
standing as (
    select
        exam_key,
        coalesce(last_ordered_at > cancelled_at, false)
        or coalesce(
            cancelled_by = 'protocol_rejected' and last_vetted_at > cancelled_at, false
        ) as is_revived,
        coalesce(last_given_up_no > last_scheduled_no, false)
        and coalesce(last_given_up_for = last_scheduled_for, true) as is_given_up
    from folded
),

-- several systems may tell of the first verification: the latest assertion of that instant
first_reports as (
    select
        exam_events.exam_key,
        {{ latest_asserted('exam_events.actor_org_code') }} as reporting_org_code,
        bool_or(exam_events.is_date_only) as is_verified_date_only,
        bool_or(exam_events.is_time_doubtful) as is_verified_time_doubtful
    from exam_events
    inner join folded
        on
            exam_events.exam_key = folded.exam_key
            and exam_events.event_at = folded.first_verified_at
    where exam_events.event_type = 'report_verified'
    group by exam_events.exam_key
)

select
    folded.exam_key,
    folded.issuer_ods,
    folded.accession,
    folded.study_uid,
    coalesce(patient_merges.standing_key, folded.patient_key) as patient_key,
    folded.nhs_number_valid,
    folded.sex,
    folded.age_band,
    folded.ethnic_category,
    folded.deprivation_quintile,
    folded.site_code,
    folded.station_name,
    folded.dicom_modality,
    folded.exam_code,
    folded.priority_code,
    folded.source_setting,
    folded.requested_at,
    folded.requested_at_local,
    folded.received_at,
    folded.received_at_local,
    folded.booked_at,
    folded.wanted_for,
    case when not standing.is_given_up then folded.last_scheduled_for end as scheduled_for,
    folded.started_at,
    folded.started_at_local,
    folded.completed_at,
    folded.completed_at_local,
    folded.first_verified_at,
    folded.first_verified_at_local,
    first_reports.reporting_org_code,
    case when not standing.is_revived then folded.cancelled_at end as cancelled_at,
    case when not standing.is_revived then folded.cancelled_at_local end as cancelled_at_local,
    folded.dna_count,
    coalesce(addenda.addendum_count, 0) as addendum_count,
    coalesce(first_reports.is_verified_date_only, false) as is_verified_date_only,
    coalesce(folded.is_completed_date_only, false)
    or coalesce(first_reports.is_verified_date_only, false) as is_turnaround_date_only,
    coalesce(folded.is_completed_time_doubtful, false)
    or coalesce(first_reports.is_verified_time_doubtful, false) as is_turnaround_time_doubtful
from folded
inner join standing on folded.exam_key = standing.exam_key
left join first_reports on folded.exam_key = first_reports.exam_key
left join addenda on folded.exam_key = addenda.exam_key
left join patient_merges on folded.patient_key = patient_merges.loser_key
-- an appointment whose request was never seen is not an exam
where folded.exam_event_count > 0
