{#- convention, numerator, denominator, the days on which it is defined -#}
{%- set conventions = [
    ["'nested'", 'occupied_in_staffed_minutes', 'available_minutes', 'available_minutes > 0'],
    ["'open_clip_used'", 'used_minutes', 'opening_minutes', 'opening_minutes > 0'],
    ["'open_clip_active'", 'core_minutes', 'opening_minutes', 'opening_minutes > 0'],
    ["'open_extend_active'", 'kept_minutes', 'extended_minutes', 'extended_minutes > 0'],
    [
        "'open_extend_buffered'", 'kept_minutes + extended_buffer_minutes', 'extended_minutes',
        'extended_minutes > 0'
    ],
    ["'first_last'", 'encounter_minutes', 'span_minutes', 'span_minutes > 0'],
    ["'mean_formula'", 'mean_formula_minutes', 'planned_minutes', 'planned_minutes > 0'],
    [
        "'fixed_week'", 'union_minutes', 'fixed_minutes',
        'planned_minutes > 0 or exam_count > 0'
    ],
] -%}
{#- the variables that the names of the seed speak of, in braces -#}
{%- set figures = [
    'buffer_before_minutes', 'buffer_after_minutes', 'encounter_gap_minutes', 'change_cap_minutes',
    'fixed_week_hours'
] -%}
with conventions as (
    select
        convention,
        sort_order,
        {{ filled_in('convention_name', figures) }} as convention_name,
        {{ filled_in('numerator_name', figures) }} as numerator_name,
        {{ filled_in('denominator_name', figures) }} as denominator_name,
        is_at_most_one
    from {{ ref('utilisation_conventions') }}
),

months as (
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
        month_on,
        {{ minutes('available_seconds') }} as available_minutes,
        {{ minutes('occupied_in_staffed_seconds') }} as occupied_in_staffed_minutes
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
        used_minutes,
        encounter_minutes,
        span_minutes,
        kept_minutes,
        extended_buffer_minutes,
        extended_minutes,
        mean_formula_minutes,
        fixed_minutes
    from {{ ref('int_station_day_conventions') }}
),

-- a day on which a convention is not defined adds to neither side of it
device_days as (
    select
        station_days.station_name,
        station_days.site_code,
        station_days.party_code,
        station_days.trust_code,
        station_days.modality_group,
        station_days.month_on,
        day_conventions.exam_count > 0 as has_exams,
        counted.convention,
        coalesce(counted.is_defined, false) as is_defined,
        case when counted.is_defined then counted.numerator end as numerator_minutes,
        case when counted.is_defined then counted.denominator end as denominator_minutes
    from station_days
    inner join day_conventions
        on
            station_days.station_name = day_conventions.station_name
            and station_days.day_on = day_conventions.day_on
    {{ each_of('counted', ['convention', 'numerator', 'denominator', 'is_defined'], conventions) }}
),

rolled_up as (
    select
        {{ station_levels() }},
        month_on,
        convention,
        -- sums of fractions drift with their order: exact seconds do not
        sum(cast(60 * numerator_minutes as decimal(18, 6))) as numerator_seconds,
        sum(cast(60 * denominator_minutes as decimal(18, 6))) as denominator_seconds,
        count(*) filter (where is_defined) as day_count,
        count(*) filter (where has_exams and not is_defined) as undefined_day_count
    from device_days
    {{ roll_up_stations(['month_on', 'convention']) }}
)

select
    rolled_up.org_level,
    rolled_up.org_code,
    rolled_up.modality_group,
    rolled_up.station_name,
    rolled_up.site_code,
    rolled_up.month_on,
    rolled_up.convention,
    conventions.sort_order,
    conventions.convention_name,
    conventions.numerator_name,
    conventions.denominator_name,
    conventions.is_at_most_one,
    {{ minutes('rolled_up.numerator_seconds') }} as numerator_minutes,
    {{ minutes('rolled_up.denominator_seconds') }} as denominator_minutes,
    {{ ratio('rolled_up.numerator_seconds', 'rolled_up.denominator_seconds') }}
        as utilisation_rate,
    cast(rolled_up.day_count as bigint) as day_count,
    cast(rolled_up.undefined_day_count as bigint) as undefined_day_count
from rolled_up
inner join conventions on rolled_up.convention = conventions.convention
inner join months on rolled_up.month_on = months.month_on
