with exam_events as (
    select
        exam_key,
        event_type,
        reason,
        event_at_local,
        scheduled_for
    from {{ ref('int_exam_events') }}
),

clock_reset_rules as (
    select
        event_type,
        reason
    from {{ ref('clock_reset_rules') }}
    where resets_clock
)

-- The clock restarts on the day of the appointment that was missed or given up.
select distinct
    exam_events.exam_key,
    coalesce(
        {{ local_date('exam_events.scheduled_for') }},
        cast(exam_events.event_at_local as date)
    ) as reset_on
from exam_events
inner join clock_reset_rules
    on
        exam_events.event_type = clock_reset_rules.event_type
        and (
            clock_reset_rules.reason is null
            or exam_events.reason = clock_reset_rules.reason
        )
where exam_events.scheduled_for is not null or exam_events.event_at_local is not null
