{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exam_events': 'exam_key',
        'int_appointments_not_kept': 'exam_key',
        'int_exams_classified': 'exam_key',
        'int_waiting_list_exams': 'exam_key',
        'int_cancellations_told': {
            'touches':
                'select exam_key from {int_exams_classified} where party_code in ('
                'select party_code from {changes} group by party_code '
                'having count(*) = 1 or min(first_day_on) <> max(first_day_on))',
        },
    },
}}) }}

with exam_events as (
    select
        exam_key,
        scheduled_for
    from {{ ref('int_exam_events') }}
    where
        event_type in ('appointment_booked', 'appointment_moved')
        and scheduled_for is not null
),

appointments_not_kept as (
    select
        exam_key,
        slot_on,
        cause,
        resets_clock
    from {{ ref('int_appointments_not_kept') }}
),

exams as (
    select
        exam_key,
        site_code,
        party_code,
        modality_group,
        is_planned,
        clock_start_on,
        started_on
    from {{ ref('int_waiting_list_exams') }}
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

cancellations_told as (
    select
        party_code,
        first_day_on
    from {{ ref('int_cancellations_told') }}
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

told as (
    select
        exam_key,
        {{ local_date('scheduled_for') }} as slot_on,
        cast(null as string) as cause,
        false as resets_clock
    from exam_events
    union all
    -- whoever missed an appointment had been offered it, though nobody told of the booking
    select
        exam_key,
        slot_on,
        cause,
        resets_clock
    from appointments_not_kept
),

slots as (
    select
        exam_key,
        slot_on,
        -- a rule that restarts the clock of whom the hospital sent away is no loss by the patient
        coalesce(bool_or(cause = 'patient' and resets_clock), false) as is_given_up_by_patient,
        coalesce(bool_or(cause = 'hospital'), false) as is_cancelled_by_hospital
    from told
    group by exam_key, slot_on
)

select
    exams.exam_key,
    slots.slot_on,
    exams.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    exams.modality_group,
    months.month_on,
    slots.is_given_up_by_patient and {{ clock_runs_on('exams', 'slots.slot_on') }} as is_reset,
    slots.is_cancelled_by_hospital
from slots
inner join exams on slots.exam_key = exams.exam_key
inner join months on slots.slot_on between months.month_on and months.census_on
-- from the first full month of messages; where they fall silent, appointments offered are missing
-- with the ones lost
inner join cancellations_told
    on
        exams.party_code = cancellations_told.party_code
        and months.month_on >= cancellations_told.first_day_on
{{ left_join_owners('exams', 'slots.slot_on') }}
-- what a planned patient was offered before the due date was no offer to the list
where not exams.is_planned or slots.slot_on >= exams.clock_start_on
