{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exam_events': 'exam_key',
    },
}}) }}

with exam_events as (
    select
        event_id,
        exam_key,
        event_type,
        reason,
        feed_id,
        event_at,
        event_at_local,
        asserted_at,
        scheduled_for
    from {{ ref('int_exam_events') }}
    where scheduled_for is not null or event_at_local is not null
),

clock_reset_rules as (
    select
        rule,
        event_type,
        reason,
        cause,
        resets_clock
    from {{ ref('clock_reset_rules') }}
)

select
    exam_events.event_id,
    exam_events.exam_key,
    exam_events.event_type,
    exam_events.feed_id,
    exam_events.event_at,
    exam_events.event_at_local,
    exam_events.asserted_at,
    -- the day of the appointment, however long before it was given up
    coalesce(
        {{ local_date('exam_events.scheduled_for') }},
        cast(exam_events.event_at_local as date)
    ) as slot_on,
    clock_reset_rules.rule,
    clock_reset_rules.cause,
    clock_reset_rules.resets_clock
from exam_events
inner join clock_reset_rules
    on
        exam_events.event_type = clock_reset_rules.event_type
        and (
            -- an empty reason matches every reason; unit tests read the seed's as ''
            coalesce(clock_reset_rules.reason, '') = ''
            or exam_events.reason = clock_reset_rules.reason
        )
