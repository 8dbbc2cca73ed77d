with station_access as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        opening_seconds,
        opening_days,
        session_count,
        judged_session_count,
        unused_session_count,
        first_delay_seconds,
        idle_seconds
    from {{ ref('int_station_access_monthly') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

rolled_up as (
    select
        {{ station_levels() }},
        month_on,
        sum(opening_seconds) / 3600 as opening_hours,
        sum(opening_days) / 7 as opening_weeks,
        sum(session_count) as session_count,
        sum(judged_session_count) as judged_session_count,
        sum(unused_session_count) as unused_session_count,
        {{ minutes('sum(first_delay_seconds)') }} as first_delay_minutes,
        {{ minutes('sum(idle_seconds)') }} as idle_gap_minutes
    from station_access
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
