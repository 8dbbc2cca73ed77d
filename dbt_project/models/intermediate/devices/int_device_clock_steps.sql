with days as (
    select
        device_key,
        day_no,
        day_on,
        low_seconds,
        spread_seconds
    from {{ ref('int_device_clock_days') }}
),

-- a step is larger than what the days of a device differ by without one
thresholds as (
    select
        device_key,
        greatest(
            {{ var('clock_step_seconds') }},
            percentile_cont(0.5) within group (order by spread_seconds)
        ) as least_step
    from days
    group by device_key
),

delays as (
    select
        device_key,
        day_on,
        started_at,
        delay_seconds
    from {{ ref('int_device_delays') }}
),

-- the level before a day and from its morrow on: the median of seven measured days
levels_before as (
    select
        days.device_key,
        days.day_no,
        percentile_cont(0.5) within group (order by earlier.low_seconds) as level_before
    from days
    inner join days as earlier
        on
            days.device_key = earlier.device_key
            and earlier.day_no between days.day_no - 7 and days.day_no - 1
    group by days.device_key, days.day_no
),

levels_after as (
    select
        days.device_key,
        days.day_no,
        percentile_cont(0.5) within group (order by later.low_seconds) as level_after
    from days
    inner join days as later
        on
            days.device_key = later.device_key
            and later.day_no between days.day_no + 1 and days.day_no + 7
    group by days.device_key, days.day_no
),

compared as (
    select
        days.device_key,
        days.day_no,
        days.day_on,
        levels_before.level_before,
        levels_after.level_after,
        thresholds.least_step,
        days.low_seconds - levels_before.level_before as difference,
        lead(days.low_seconds) over (partition by days.device_key order by days.day_no)
        - levels_before.level_before as next_difference
    from days
    inner join thresholds on days.device_key = thresholds.device_key
    inner join levels_before
        on days.device_key = levels_before.device_key and days.day_no = levels_before.day_no
    left join levels_after
        on days.device_key = levels_after.device_key and days.day_no = levels_after.day_no
),

-- off the same way on two measured days
judged as (
    select
        device_key,
        day_no,
        day_on,
        level_before,
        level_after,
        least_step,
        case
            when difference > least_step and next_difference > least_step then 1
            when difference < -least_step and next_difference < -least_step then -1
            else 0
        end as side
    from compared
),

runs as (
    select
        device_key,
        day_on,
        level_before,
        level_after,
        least_step,
        side,
        lag(side) over (partition by device_key order by day_no) as side_before,
        lag(day_on) over (partition by device_key order by day_no) as day_before_on
    from judged
),

-- the first day of a run, unless the level comes back after a blip
steps as (
    select
        device_key,
        day_on,
        day_before_on,
        level_before,
        level_after,
        (level_before + level_after) / 2 as middle
    from runs
    where
        side <> 0
        and side <> coalesce(side_before, 0)
        and side * (level_after - level_before) > least_step
),

-- No study is faster than its route: one below the middle of two levels belongs to the lower.
-- So a clock that fell behind did so after the last of them, one that leapt ahead at the first.
around as (
    select
        steps.device_key,
        steps.day_on,
        steps.level_before,
        steps.level_after,
        delays.started_at,
        delays.delay_seconds < steps.middle as is_low,
        max(case when delays.delay_seconds < steps.middle then delays.started_at end) over (
            partition by steps.device_key, steps.day_on
        ) as last_low_at
    from steps
    inner join delays
        on
            steps.device_key = delays.device_key
            and delays.day_on between {{ add_days('steps.day_before_on', -6) }}
            and {{ add_days('steps.day_on', 1) }}
)

select
    device_key,
    day_on as noticed_on,
    level_before,
    level_after,
    case
        when level_after < level_before then min(case when is_low then started_at end)
        else coalesce(
            min(case when started_at > last_low_at then started_at end), max(started_at)
        )
    end as stepped_at
from around
group by device_key, day_on, level_before, level_after
