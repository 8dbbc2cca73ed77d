with series as (
    select
        station_name,
        started_at,
        ended_at
    from {{ ref('int_station_series') }}
    where not is_quality_assurance
),

visits as (
    select
        station_name,
        occupied_from_at,
        occupied_to_at,
        is_quality_assurance
    from {{ ref('int_station_visits') }}
),

rota_sessions as (
    select
        station_name,
        started_at,
        ended_at
    from {{ ref('stg_reference__rota_sessions') }}
    where ended_at > started_at
),

opening_hours as (
    select
        station_name,
        opens_at,
        closes_at
    from {{ ref('int_station_opening_hours') }}
),

scanner_register as (
    select station_name
    from {{ ref('scanner_register') }}
),

downtimes as (
    select
        scanner_register.station_name,
        downtimes.is_planned,
        downtimes.started_at,
        downtimes.ended_at
    from {{ ref('stg_reference__downtimes') }} as downtimes
    inner join scanner_register on downtimes.asset_code = scanner_register.station_name
    where downtimes.ended_at > downtimes.started_at
),

intervals as (
    select
        station_name,
        'acquisition' as interval_kind,
        started_at,
        ended_at
    from series
    union all
    select
        station_name,
        case when is_quality_assurance then 'quality_assurance' else 'occupied' end
            as interval_kind,
        occupied_from_at as started_at,
        occupied_to_at as ended_at
    from visits
    union all
    select
        station_name,
        'staffed' as interval_kind,
        started_at,
        ended_at
    from rota_sessions
    union all
    select
        station_name,
        'opening' as interval_kind,
        opens_at as started_at,
        closes_at as ended_at
    from opening_hours
    union all
    select
        station_name,
        case when is_planned then 'planned_downtime' else 'unplanned_downtime' end
            as interval_kind,
        started_at,
        ended_at
    from downtimes
),

-- Union per station: overlapping and touching intervals become one, so that no minute
-- counts twice.
edges as (
    select
        station_name,
        interval_kind,
        started_at,
        ended_at,
        max(ended_at) over (
            partition by station_name, interval_kind
            order by started_at, ended_at
            rows between unbounded preceding and 1 preceding
        ) as earlier_ended_at
    from intervals
),

numbered as (
    select
        station_name,
        interval_kind,
        started_at,
        ended_at,
        sum(case when started_at <= earlier_ended_at then 0 else 1 end) over (
            partition by station_name, interval_kind
            order by started_at, ended_at
            rows between unbounded preceding and current row
        ) as interval_no
    from edges
)

select
    station_name,
    interval_kind,
    interval_no,
    min(started_at) as started_at,
    max(ended_at) as ended_at
from numbered
group by station_name, interval_kind, interval_no
