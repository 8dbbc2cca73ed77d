{%- set bridges = [
    [1, 'exam_count >= 0 and opening_minutes > 0', [
        ['from', 'Exams inside the opening hours (numerator of "Opening hours without buffers")', 'core_minutes'],
        ['step', 'Buffers inside the opening hours', 'buffer_minutes'],
        ['to', 'Exams with buffers inside the opening hours (numerator of "Opening hours with buffers")', 'used_minutes'],
    ]],
    [2, 'exam_count > 0', [
        ['from', 'Exams inside the opening hours (numerator of "Opening hours without buffers")', 'core_minutes'],
        ['step', 'Exams outside the opening hours', 'outside_minutes'],
        ['step', 'Gaps inside encounters of one patient', 'merge_minutes'],
        ['step', 'Encounters that overlap, counted again', 'overlap_minutes'],
        ['to', 'Encounters (numerator of "First to last image")', 'encounter_minutes'],
    ]],
    [3, 'exam_count > 0', [
        ['from', 'Opening hours', 'opening_minutes'],
        ['step', 'Opening hours before the first image', '-open_before_minutes'],
        ['step', 'Opening hours after the last image', '-open_after_minutes'],
        ['step', 'First to last image outside the opening hours', 'span_outside_minutes'],
        ['to', 'First to last image (denominator of "First to last image")', 'span_minutes'],
    ]],
    [4, 'kept_minutes is not null', [
        ['from', 'Exams inside the opening hours (numerator of "Opening hours without buffers")', 'core_minutes'],
        ['step', 'The rest of exams that straddle an edge', 'kept_outside_minutes'],
        ['to', 'Exams that touch the opening hours (numerator of "Opening hours stretched by straddling exams")', 'kept_minutes'],
    ]],
    [5, 'kept_minutes is not null', [
        ['from', 'Opening hours', 'opening_minutes'],
        ['step', 'Between the opening hours of one day', 'between_windows_minutes'],
        ['step', 'Stretched to the first straddling exam', 'stretch_before_minutes'],
        ['step', 'Stretched to the last straddling exam', 'stretch_after_minutes'],
        ['step', 'Beyond 24 hours', '-beyond_a_day_minutes'],
        ['to', 'Stretched opening hours (denominator of "Opening hours stretched by straddling exams")', 'extended_minutes'],
    ]],
    [6, 'exam_count > 0', [
        ['from', 'Exams, overlaps once (numerator of "Fixed week")', 'union_minutes'],
        ['step', 'Overlaps counted again', 'duplicate_minutes'],
        ['step', 'Number of exams times mean change of patients', 'change_minutes'],
        ['to', 'Number of exams times mean length (numerator of "Number of exams times mean length")', 'mean_formula_minutes'],
    ]],
    [7, 'planned_minutes > 0', [
        ['from', 'Opening hours', 'opening_minutes'],
        ['step', 'Planned time of closed days', 'case when opening_minutes = 0 then planned_minutes else 0 end'],
        ['step', 'Planned time beyond the hours of open days',
            'case when opening_minutes > 0 then planned_minutes - opening_minutes else 0 end'],
        ['to', 'Planned time (denominator of "Number of exams times mean length")', 'planned_minutes'],
    ]],
] -%}
{%- set rows = [] -%}
{%- for bridge_no, is_defined, steps in bridges -%}
    {%- for kind, name, minutes in steps -%}
        {%- do rows.append([bridge_no, loop.index, "'" ~ kind ~ "'", "'" ~ name ~ "'",
            is_defined, minutes]) -%}
    {%- endfor -%}
{%- endfor -%}
with months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

station_days as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        day_on,
        month_on
    from {{ ref('int_station_days') }}
),

day_conventions as (
    select
        station_name,
        day_on,
        exam_count,
        opening_minutes,
        planned_minutes,
        union_minutes,
        core_minutes,
        outside_minutes,
        duplicate_minutes,
        merge_minutes,
        overlap_minutes,
        encounter_minutes,
        span_minutes,
        open_before_minutes,
        open_after_minutes,
        span_outside_minutes,
        used_minutes,
        buffer_minutes,
        kept_minutes,
        kept_outside_minutes,
        extended_minutes,
        between_windows_minutes,
        stretch_before_minutes,
        stretch_after_minutes,
        beyond_a_day_minutes,
        change_minutes,
        mean_formula_minutes
    from {{ ref('int_station_day_conventions') }}
),

-- a day on which a bridge is not defined adds nothing to it
steps as (
    select
        station_days.station_name,
        station_days.site_code,
        station_days.party_code,
        station_days.trust_code,
        station_days.modality_group,
        station_days.month_on,
        bridge_steps.bridge_no,
        bridge_steps.step_no,
        bridge_steps.step_kind,
        bridge_steps.step_name,
        case when bridge_steps.is_defined then bridge_steps.step_minutes end as step_minutes
    from station_days
    inner join day_conventions
        on
            station_days.station_name = day_conventions.station_name
            and station_days.day_on = day_conventions.day_on
    {{ each_of(
        'bridge_steps',
        ['bridge_no', 'step_no', 'step_kind', 'step_name', 'is_defined', 'step_minutes'],
        rows
    ) }}
),

rolled_up as (
    select
        {{ station_levels() }},
        month_on,
        bridge_no,
        step_no,
        step_kind,
        step_name,
        -- sums of fractions drift with their order: exact seconds do not
        coalesce(sum(cast(60 * step_minutes as decimal(18, 6))), 0) as step_seconds
    from steps
    {{ roll_up_stations(['month_on', 'bridge_no', 'step_no', 'step_kind', 'step_name']) }}
)

select
    rolled_up.org_level,
    rolled_up.org_code,
    rolled_up.modality_group,
    rolled_up.station_name,
    rolled_up.site_code,
    rolled_up.month_on,
    rolled_up.bridge_no,
    rolled_up.step_no,
    rolled_up.step_kind,
    rolled_up.step_name,
    {{ minutes('rolled_up.step_seconds') }} as step_minutes
from rolled_up
inner join months on rolled_up.month_on = months.month_on
