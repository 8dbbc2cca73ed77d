-- Failure: two conventions of utilisation differ by minutes that nobody can explain: one of them
-- counts something else than it says.
with days as (
    select
        station_name,
        day_on,
        abs(core_minutes + buffer_minutes - used_minutes) as bridge_1_rest,
        abs(
            core_minutes + outside_minutes + merge_minutes + overlap_minutes - encounter_minutes
        ) as bridge_2_rest,
        abs(
            opening_minutes - open_before_minutes - open_after_minutes + span_outside_minutes
            - span_minutes
        ) as bridge_3_rest,
        abs(core_minutes + kept_outside_minutes - kept_minutes) as bridge_4_rest,
        abs(
            opening_minutes + between_windows_minutes + stretch_before_minutes
            + stretch_after_minutes - beyond_a_day_minutes - extended_minutes
        ) as bridge_5_rest,
        abs(union_minutes + duplicate_minutes + change_minutes - mean_formula_minutes)
            as bridge_6_rest
    from {{ ref('int_station_day_conventions') }}
)

select
    station_name,
    day_on
from days
where
    greatest(
        bridge_1_rest,
        bridge_2_rest,
        coalesce(bridge_3_rest, 0),
        coalesce(bridge_4_rest, 0),
        coalesce(bridge_5_rest, 0),
        bridge_6_rest
    ) > 0.000001
