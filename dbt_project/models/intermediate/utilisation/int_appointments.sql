{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exam_events': 'exam_key',
        'int_exams_classified': 'exam_key',
        'int_cancellations_told': {
            'touches':
                'select mine.exam_key from {this} as mine inner join ('
                'select party_code, count(*) as row_count, '
                'min(first_day_on) as first_day_on, max(first_day_on) as other_first_day_on, '
                'min(last_day_on) as last_day_on, max(last_day_on) as other_last_day_on '
                'from {changes} group by party_code'
                ') as told on mine.party_code = told.party_code '
                'where told.row_count = 1 '
                'or (mine.month_on > told.first_day_on '
                'and mine.month_on <= told.other_first_day_on) '
                'or (mine.month_on > told.last_day_on '
                'and mine.month_on <= told.other_last_day_on)',
        },
    },
}}) }}

-- What became of every slot an exam was given. A move gives up the slot before it. Events go by
-- when they happened: an extract says at the end of its day what a message has overtaken.
with appointment_events as (
    select
        exam_key,
        event_type,
        event_at,
        scheduled_for,
        reason,
        assertion_no,
        feed_id
    from {{ ref('int_exam_events') }}
    where
        event_at is not null
        and event_type in (
            'appointment_booked', 'appointment_moved', 'appointment_cancelled', 'patient_dna'
        )
),

exams as (
    select
        exam_key,
        site_code,
        party_code,
        modality_group,
        performed_on
    from {{ ref('int_exams_classified') }}
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

feeds as (
    select
        feed_id,
        feed_kind,
        party_code
    from {{ ref('feeds') }}
),

feed_needs as (
    select feed_kind
    from {{ ref('feed_needs') }}
    where subject_kind = 'metric' and subject_id = 'U04'
),

-- a kind of feed that has no word for a missed or cancelled appointment does not tell that none was
attendance_told as (
    select distinct appointment_events.exam_key
    from appointment_events
    inner join feeds on appointment_events.feed_id = feeds.feed_id
    inner join feed_needs on feeds.feed_kind = feed_needs.feed_kind
),

cancellations_told as (
    select
        party_code,
        first_day_on,
        last_day_on
    from {{ ref('int_cancellations_told') }}
),

bookings as (
    select
        exam_key,
        event_type,
        event_at,
        scheduled_for,
        reason,
        assertion_no,
        lag(scheduled_for) over by_time as slot_before,
        lead(event_at) over by_time as next_event_at
    from appointment_events
    where
        event_type in ('appointment_booked', 'appointment_moved')
        and scheduled_for is not null
    window by_time as (partition by exam_key order by event_at, assertion_no)
),

given_up as (
    select
        exam_key,
        slot_before as slot_at,
        event_at as given_up_at,
        reason,
        assertion_no
    from bookings
    where event_type = 'appointment_moved' and slot_before <> scheduled_for
    union all
    -- a cancellation that names no slot means the one booked last
    select
        cancelled.exam_key,
        coalesce(cancelled.scheduled_for, bookings.scheduled_for) as slot_at,
        cancelled.event_at as given_up_at,
        cancelled.reason,
        cancelled.assertion_no
    from appointment_events as cancelled
    left join bookings
        on
            cancelled.exam_key = bookings.exam_key
            and cancelled.event_at >= bookings.event_at
            and coalesce(cancelled.event_at < bookings.next_event_at, true)
    where cancelled.event_type = 'appointment_cancelled'
),

told as (
    select
        exam_key,
        scheduled_for as slot_at,
        event_at as booked_at,
        null as given_up_at,
        null as given_up_by,
        null as given_up_no,
        false as is_missed
    from bookings
    union all
    select
        exam_key,
        coalesce(scheduled_for, event_at) as slot_at,
        null as booked_at,
        null as given_up_at,
        null as given_up_by,
        null as given_up_no,
        true as is_missed
    from appointment_events
    where event_type = 'patient_dna'
    union all
    select
        exam_key,
        slot_at,
        null as booked_at,
        given_up_at,
        reason as given_up_by,
        assertion_no as given_up_no,
        false as is_missed
    from given_up
),

slots as (
    select
        exam_key,
        slot_at,
        {{ local_date('slot_at') }} as slot_on,
        bool_or(is_missed) as is_missed,
        coalesce(max(given_up_at) >= max(booked_at), max(booked_at) is null)
        and max(given_up_at) is not null as is_given_up,
        max(given_up_at) as given_up_at,
        -- of what was told of one instant the later assertion holds
        max_by(given_up_by, (given_up_at, given_up_no)) filter (where given_up_at is not null)
            as given_up_by
    from told
    where slot_at is not null
    group by exam_key, slot_at
),

-- of the slots that stood the one nearest to the day of the exam is the one it was done in
placed as (
    select
        slots.exam_key,
        slots.slot_at,
        slots.slot_on,
        slots.is_missed,
        slots.is_given_up,
        slots.given_up_at,
        slots.given_up_by,
        exams.site_code,
        exams.party_code,
        exams.modality_group,
        exams.performed_on is not null
        and row_number() over (
            partition by slots.exam_key
            order by
                slots.is_missed or slots.is_given_up,
                abs({{ days_between('slots.slot_on', 'exams.performed_on') }}),
                slots.slot_at desc
        ) = 1 as is_nearest
    from slots
    inner join exams on slots.exam_key = exams.exam_key
)

select
    placed.exam_key,
    placed.slot_at,
    {{ month_of('placed.slot_on') }} as month_on,
    placed.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    placed.modality_group,
    case
        when placed.is_missed then 'did_not_attend'
        when placed.is_given_up then 'cancelled'
        when placed.is_nearest then 'attended'
        else 'not_known'
    end as outcome,
    case when placed.is_given_up then placed.given_up_by end as given_up_by,
    case
        when placed.is_given_up
            then {{ seconds_between('placed.given_up_at', 'placed.slot_at') }} / 3600
    end as notice_hours,
    attendance_told.exam_key is not null as is_attendance_told,
    cancellations_told.party_code is not null as is_cancellation_told
from placed
{{ left_join_owners('placed', 'placed.slot_on') }}
left join attendance_told on placed.exam_key = attendance_told.exam_key
-- from the first whole month of the messages to the month of the last
left join cancellations_told
    on
        placed.party_code = cancellations_told.party_code
        and cancellations_told.first_day_on < {{ month_of('placed.slot_on') }}
        and cancellations_told.last_day_on >= {{ month_of('placed.slot_on') }}
