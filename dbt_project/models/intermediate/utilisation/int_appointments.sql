-- What became of every slot an exam was given. A move gives up the slot before it.
with appointment_events as (
    select
        exam_key,
        event_type,
        event_at,
        scheduled_for,
        reason,
        assertion_no,
        feed_id,
        arrived_at
    from {{ ref('int_exam_events') }}
    where
        event_type in (
            'appointment_booked', 'appointment_moved', 'appointment_cancelled', 'patient_dna'
        )
),

exams as (
    select
        exam_key,
        site_code,
        party_code,
        modality_group,
        scheduled_for,
        is_completed
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
    select
        subject_id,
        feed_kind
    from {{ ref('feed_needs') }}
    where subject_kind = 'metric'
),

-- a kind of feed that has no word for a missed or cancelled appointment does not tell that none was
attendance_told as (
    select distinct appointment_events.exam_key
    from appointment_events
    inner join feeds on appointment_events.feed_id = feeds.feed_id
    inner join feed_needs on feeds.feed_kind = feed_needs.feed_kind
    where feed_needs.subject_id = 'U04'
),

cancellations_told as (
    select
        feeds.party_code,
        {{ local_date('min(appointment_events.arrived_at)') }} as first_day_on,
        {{ local_date('max(appointment_events.arrived_at)') }} as last_day_on
    from appointment_events
    inner join feeds on appointment_events.feed_id = feeds.feed_id
    inner join feed_needs on feeds.feed_kind = feed_needs.feed_kind
    where feed_needs.subject_id = 'U05' and appointment_events.event_type <> 'patient_dna'
    group by feeds.party_code
),

bookings as (
    select
        exam_key,
        event_type,
        event_at,
        scheduled_for,
        reason,
        assertion_no,
        lag(scheduled_for) over (partition by exam_key order by assertion_no) as slot_before,
        lead(assertion_no) over (partition by exam_key order by assertion_no) as next_assertion_no
    from appointment_events
    where
        event_type in ('appointment_booked', 'appointment_moved')
        and scheduled_for is not null
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
            and cancelled.assertion_no > bookings.assertion_no
            and cancelled.assertion_no
            < coalesce(bookings.next_assertion_no, cancelled.assertion_no + 1)
    where cancelled.event_type = 'appointment_cancelled'
),

told as (
    select
        exam_key,
        scheduled_for as slot_at,
        assertion_no as booked_no,
        null as missed_no,
        null as given_up_no,
        null as given_up_at,
        null as given_up_by
    from bookings
    union all
    select
        exam_key,
        coalesce(scheduled_for, event_at) as slot_at,
        null as booked_no,
        assertion_no as missed_no,
        null as given_up_no,
        null as given_up_at,
        null as given_up_by
    from appointment_events
    where event_type = 'patient_dna'
    union all
    select
        exam_key,
        slot_at,
        null as booked_no,
        null as missed_no,
        assertion_no as given_up_no,
        given_up_at,
        reason as given_up_by
    from given_up
),

slots as (
    select
        exam_key,
        slot_at,
        {{ local_date('slot_at') }} as slot_on,
        max(booked_no) as booked_no,
        count(missed_no) > 0 as is_missed,
        max(given_up_no) as given_up_no,
        max_by(given_up_at, given_up_no) filter (where given_up_no is not null) as given_up_at,
        max_by(given_up_by, given_up_no) filter (where given_up_no is not null) as given_up_by
    from told
    where slot_at is not null
    group by exam_key, slot_at
)

select
    slots.exam_key,
    slots.slot_at,
    {{ month_of('slots.slot_on') }} as month_on,
    exams.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    exams.modality_group,
    case
        when slots.is_missed then 'did_not_attend'
        when slots.given_up_no > coalesce(slots.booked_no, 0) then 'cancelled'
        when exams.is_completed and slots.slot_at = exams.scheduled_for then 'attended'
        else 'not_known'
    end as outcome,
    case when slots.given_up_no > coalesce(slots.booked_no, 0) then slots.given_up_by end
        as given_up_by,
    case
        when slots.given_up_no > coalesce(slots.booked_no, 0)
            then {{ seconds_between('slots.given_up_at', 'slots.slot_at') }} / 3600.0
    end as notice_hours,
    attendance_told.exam_key is not null as is_attendance_told,
    cancellations_told.party_code is not null as is_cancellation_told
from slots
inner join exams on slots.exam_key = exams.exam_key
left join site_owners
    on
        exams.site_code = site_owners.site_code
        and exams.party_code = site_owners.party_code
        and slots.slot_on between site_owners.valid_from and site_owners.valid_to
left join attendance_told on slots.exam_key = attendance_told.exam_key
-- from the first whole month of the messages to the month of the last
left join cancellations_told
    on
        exams.party_code = cancellations_told.party_code
        and cancellations_told.first_day_on < {{ month_of('slots.slot_on') }}
        and cancellations_told.last_day_on >= {{ month_of('slots.slot_on') }}
