with event_arrivals as (
    select
        feed_id,
        feed_kind,
        party_code,
        month_on,
        arrival_hours,
        is_first_told,
        is_late
    from {{ ref('int_event_arrivals') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
)

select
    coalesce(min(event_arrivals.party_code), 'Unknown') as party_code,
    event_arrivals.feed_id,
    coalesce(min(event_arrivals.feed_kind), 'Unknown') as feed_kind,
    event_arrivals.month_on,
    count(*) as event_count,
    count(event_arrivals.arrival_hours) as timed_event_count,
    percentile_cont(0.5) within group (order by event_arrivals.arrival_hours)
        as arrival_p50_hours,
    percentile_cont(0.95) within group (order by event_arrivals.arrival_hours)
        as arrival_p95_hours,
    count(*) filter (where event_arrivals.is_first_told) as first_told_count,
    count(*) filter (where event_arrivals.is_first_told and event_arrivals.is_late) as late_count
from event_arrivals
inner join months on event_arrivals.month_on = months.month_on
group by event_arrivals.feed_id, event_arrivals.month_on
