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
        clock_start_on,
        cast(started_at_local as date) as started_on
    from {{ ref('int_exams_classified') }}
    where activity_category = 'waiting_list' and dm01_test is not null
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

receipts as (
    select
        feed_id,
        {{ local_date('arrived_at') }} as arrived_on
    from {{ ref('stg_landing__receipts') }}
    where feed_kind = 'hl7' and landing_table = 'imaging_events' and status = 'landed'
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
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

-- An extract tells of no appointment that was given up; messages do, from the first full month.
-- Where they fall silent, appointments offered are missing with the ones lost.
messages as (
    select
        feeds.party_code,
        min(receipts.arrived_on) as first_on
    from receipts
    inner join feeds on receipts.feed_id = feeds.feed_id
    group by feeds.party_code
),

told as (
    select
        exam_key,
        {{ local_date('scheduled_for') }} as slot_on,
        cast(null as varchar) as cause,
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
    -- before the request and after the test there is no clock to restart
    slots.is_given_up_by_patient
    and slots.slot_on
    between exams.clock_start_on and coalesce(exams.started_on, date '9999-12-31') as is_reset,
    slots.is_cancelled_by_hospital
from slots
inner join exams on slots.exam_key = exams.exam_key
inner join months on slots.slot_on between months.month_on and months.census_on
inner join messages
    on
        exams.party_code = messages.party_code
        and months.month_on >= messages.first_on
left join site_owners
    on
        exams.site_code = site_owners.site_code
        and exams.party_code = site_owners.party_code
        and slots.slot_on between site_owners.valid_from and site_owners.valid_to
