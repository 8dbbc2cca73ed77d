with delays as (
    select
        device_key,
        day_on,
        delay_seconds
    from {{ ref('int_device_delays') }}
),

own_days as (
    select
        device_key,
        day_on,
        count(*) as study_count
    from delays
    group by device_key, day_on
),

-- a day with too few studies borrows those of the six days before
windows as (
    select
        device_key,
        day_on,
        case
            when study_count >= {{ var('clock_studies') }} then day_on
            else {{ add_days('day_on', -6) }}
        end as from_on
    from own_days
),

pooled as (
    select
        windows.device_key,
        windows.day_on,
        min(windows.from_on) as from_on,
        count(*) as study_count,
        percentile_cont(0.01) within group (order by delays.delay_seconds) as p1_seconds,
        percentile_cont(0.05) within group (order by delays.delay_seconds) as p5_seconds,
        percentile_cont(0.25) within group (order by delays.delay_seconds) as p25_seconds
    from windows
    inner join delays
        on
            windows.device_key = delays.device_key
            and delays.day_on between windows.from_on and windows.day_on
    group by windows.device_key, windows.day_on
)

select
    device_key,
    day_on,
    from_on = day_on as is_own_day,
    study_count,
    case when study_count >= 100 then p1_seconds else p5_seconds end as low_seconds,
    p25_seconds - p5_seconds as spread_seconds,
    row_number() over (partition by device_key order by day_on) as day_no
from pooled
where study_count >= {{ var('clock_studies') }}
