with exam_events as (
    select
        event_at,
        event_at_local
    from {{ ref('int_exam_events') }}
    -- a typing error in the future must not open months that have not happened
    where event_at <= arrived_at + interval '{{ var("future_tolerance_hours") }} hours'
)

select
    cast(min(event_at_local) as date) as first_event_on,
    max(event_at) as as_at,
    max(event_at_local) as as_at_local,
    cast(max(event_at_local) as date) as as_at_on
from exam_events
