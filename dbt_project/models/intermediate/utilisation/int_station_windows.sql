with opening_hours as (
    select
        station_name,
        day_on,
        opens_at,
        closes_at
    from {{ ref('int_station_opening_hours') }}
    where closes_at > opens_at
),

planned_downtimes as (
    select
        station_name,
        started_at,
        ended_at
    from {{ ref('int_station_intervals') }}
    where interval_kind = 'planned_downtime'
),

closures as (
    select
        opening_hours.station_name,
        opening_hours.day_on,
        greatest(planned_downtimes.started_at, opening_hours.opens_at) as started_at,
        least(planned_downtimes.ended_at, opening_hours.closes_at) as ended_at
    from opening_hours
    inner join planned_downtimes
        on
            opening_hours.station_name = planned_downtimes.station_name
            and opening_hours.opens_at < planned_downtimes.ended_at
            and opening_hours.closes_at > planned_downtimes.started_at
),

edges as (
    select
        station_name,
        day_on,
        opens_at as changes_at,
        1 as step
    from opening_hours
    union all
    select
        station_name,
        day_on,
        closes_at as changes_at,
        -1 as step
    from opening_hours
    union all
    select
        station_name,
        day_on,
        started_at as changes_at,
        -1 as step
    from closures
    union all
    select
        station_name,
        day_on,
        ended_at as changes_at,
        1 as step
    from closures
),

changes as (
    select
        station_name,
        day_on,
        changes_at,
        sum(step) as step
    from edges
    group by station_name, day_on, changes_at
    having sum(step) <> 0
),

pieces as (
    select
        station_name,
        day_on,
        changes_at as opens_at,
        lead(changes_at) over by_time as closes_at,
        sum(step) over by_time as depth
    from changes
    window by_time as (partition by station_name, day_on order by changes_at)
)

select
    station_name,
    day_on,
    opens_at,
    closes_at
from pieces
where depth > 0 and closes_at is not null
