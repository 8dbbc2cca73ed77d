with station_days as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        day_on,
        opening_seconds
    from {{ ref('int_station_days') }}
),

opening_days as (
    select
        station_name,
        day_on
    from {{ ref('int_station_opening_days') }}
),

sessions as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        first_delay_seconds,
        idle_seconds,
        is_unused
    from {{ ref('int_station_sessions') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

-- a day on which a scanner is closed is a day of its weeks, when anything is told of its hours
told as (
    select
        station_days.station_name,
        station_days.site_code,
        station_days.party_code,
        station_days.trust_code,
        station_days.modality_group,
        station_days.month_on,
        station_days.opening_seconds,
        1 as opening_days,
        0 as session_count,
        0 as judged_session_count,
        null as unused_session_count,
        null as first_delay_seconds,
        null as idle_seconds
    from station_days
    inner join opening_days
        on
            station_days.station_name = opening_days.station_name
            and station_days.day_on = opening_days.day_on
    union all
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        0 as opening_seconds,
        0 as opening_days,
        1 as session_count,
        case when is_unused is null then 0 else 1 end as judged_session_count,
        cast(is_unused as integer) as unused_session_count,
        case when is_unused then 0 else first_delay_seconds end as first_delay_seconds,
        case when is_unused then 0 else idle_seconds end as idle_seconds
    from sessions
),

rolled_up as (
    select
        {{ station_levels() }},
        month_on,
        sum(opening_seconds) / 3600.0 as opening_hours,
        sum(opening_days) / 7.0 as opening_weeks,
        sum(session_count) as session_count,
        sum(judged_session_count) as judged_session_count,
        sum(unused_session_count) as unused_session_count,
        {{ minutes('sum(first_delay_seconds)') }} as first_delay_minutes,
        {{ minutes('sum(idle_seconds)') }} as idle_gap_minutes
    from told
    {{ roll_up_stations(['month_on']) }}
)

select
    rolled_up.org_level,
    rolled_up.org_code,
    rolled_up.modality_group,
    rolled_up.station_name,
    rolled_up.site_code,
    rolled_up.month_on,
    case when rolled_up.opening_weeks > 0 then cast(rolled_up.opening_hours as double) end
        as opening_hours,
    cast(rolled_up.opening_weeks as double) as scanner_weeks,
    {{ ratio('rolled_up.opening_hours', 'rolled_up.opening_weeks') }} as opening_hours_per_week,
    {{ ratio('rolled_up.opening_hours', '84 * rolled_up.opening_weeks') }} as opening_index_12x7,
    {{ ratio('rolled_up.opening_hours', '168 * rolled_up.opening_weeks') }} as opening_index_24x7,
    cast(rolled_up.session_count as bigint) as session_count,
    cast(rolled_up.judged_session_count as bigint) as judged_session_count,
    cast(rolled_up.unused_session_count as bigint) as unused_session_count,
    rolled_up.first_delay_minutes,
    rolled_up.idle_gap_minutes
from rolled_up
inner join months on rolled_up.month_on = months.month_on
