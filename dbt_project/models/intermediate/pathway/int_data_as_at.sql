with exam_events as (
    select
        event_at,
        event_at_local
    from {{ ref('int_exam_events') }}
    -- a typing error in the future must not open months that have not happened
    where event_at <= arrived_at + interval '{{ var("future_tolerance_hours") }} hours'
),

-- A delivery covers its day to the last second; one read earlier covers only the time until then.
deliveries as (
    select max(least({{ add_seconds('arrived_at', 1) }}, landed_at)) as delivered_until
    from {{ ref('stg_landing__receipts') }}
    -- what is known of image access says nothing of exams
    where
        landing_table = 'imaging_events'
        and status = 'landed'
        and feed_kind is distinct from 'image_access'
),

newest as (
    select
        cast(min(event_at_local) as date) as first_event_on,
        max(event_at) as as_at,
        max(event_at_local) as as_at_local,
        cast(max(event_at_local) as date) as as_at_on
    from exam_events
)

select
    newest.first_event_on,
    newest.as_at,
    newest.as_at_local,
    newest.as_at_on,
    -- a delivery tells nothing of days after its last event: an extract may be cut before its day
    case
        when deliveries.delivered_until is not null
            then
                least(
                    deliveries.delivered_until,
                    {{ utc_from_local(add_days('newest.as_at_on', 1)) }}
                )
    end as complete_until
from newest
cross join deliveries
