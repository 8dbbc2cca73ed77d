with station_days as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        opening_seconds
    from {{ ref('int_station_days') }}
    where is_opening_told
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

-- a day on which a scanner is closed is a day of its weeks, when anything is told of its hours; an
-- unused session has no delay and no gaps, and of one without images nobody knows
told as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        month_on,
        opening_seconds,
        1 as opening_days,
        0 as session_count,
        0 as judged_session_count,
        null as unused_session_count,
        null as first_delay_seconds,
        null as idle_seconds
    from station_days
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
)

select
    station_name,
    site_code,
    party_code,
    trust_code,
    modality_group,
    month_on,
    sum(opening_seconds) as opening_seconds,
    sum(opening_days) as opening_days,
    sum(session_count) as session_count,
    sum(judged_session_count) as judged_session_count,
    sum(unused_session_count) as unused_session_count,
    sum(judged_session_count) - coalesce(sum(unused_session_count), 0) as used_session_count,
    sum(first_delay_seconds) as first_delay_seconds,
    sum(idle_seconds) as idle_seconds
from told
group by station_name, site_code, party_code, trust_code, modality_group, month_on
