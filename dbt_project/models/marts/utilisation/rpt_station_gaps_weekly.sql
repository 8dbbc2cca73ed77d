{%- set classes = [
    'changeover', 'idle', 'late_start', 'early_finish', 'planned_downtime', 'unplanned_downtime',
    'quality_assurance', 'not_staffed', 'no_rota_known'
] -%}
with station_days as (
    select
        station_name,
        site_code,
        party_code,
        trust_code,
        modality_group,
        day_on,
        week_start_on,
        is_rota_known,
        is_downtime_known,
        staffed_seconds,
        opening_seconds,
        occupied_in_staffed_seconds,
        occupied_in_opening_seconds
    from {{ ref('int_station_days') }}
),

gaps as (
    select
        station_name,
        day_on,
        gap_class,
        is_staffed,
        is_opening,
        gap_seconds
    from {{ ref('int_station_gaps') }}
),

day_gaps as (
    select
        gaps.station_name,
        gaps.day_on,
        bases.time_basis,
        {%- for class in classes %}
            coalesce(sum(gaps.gap_seconds) filter (where gaps.gap_class = '{{ class }}'), 0)
                as {{ class }}_seconds
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from gaps
    {{ each_of(
        'bases', ['time_basis', 'is_inside'],
        [["'staffed'", 'is_staffed'], ["'opening'", 'is_opening']]
    ) }}
    where bases.is_inside
    group by gaps.station_name, gaps.day_on, bases.time_basis
),

days as (
    select
        station_days.station_name,
        station_days.site_code,
        station_days.party_code,
        station_days.trust_code,
        station_days.modality_group,
        station_days.day_on,
        station_days.week_start_on,
        station_days.is_rota_known,
        station_days.is_downtime_known,
        bases.time_basis,
        bases.total_seconds,
        bases.occupied_seconds
    from station_days
    {{ each_of(
        'bases', ['time_basis', 'total_seconds', 'occupied_seconds'],
        [
            ["'staffed'", 'staffed_seconds', 'occupied_in_staffed_seconds'],
            ["'opening'", 'opening_seconds', 'occupied_in_opening_seconds'],
        ]
    ) }}
),

rolled_up as (
    select
        {{ station_levels() }},
        days.week_start_on,
        time_basis,
        sum(days.total_seconds) as total_seconds,
        sum(days.occupied_seconds) as occupied_seconds,
        {%- for class in classes %}
            coalesce(sum({{ class }}_seconds), 0) as {{ class }}_seconds,
        {%- endfor %}
        count(*) filter (where days.total_seconds > 0) as day_count,
        count(*) filter (where days.total_seconds > 0 and days.is_rota_known)
            as rota_known_day_count,
        count(*) filter (where days.total_seconds > 0 and days.is_downtime_known)
            as downtime_known_day_count
    from days
    left join day_gaps using (station_name, day_on, time_basis)
    {{ roll_up_stations(['week_start_on', 'time_basis']) }}
)

select
    org_level,
    org_code,
    modality_group,
    station_name,
    site_code,
    week_start_on,
    time_basis,
    {{ minutes('total_seconds') }} as total_minutes,
    {{ minutes('occupied_seconds') }} as occupied_minutes,
    {%- for class in classes %}
        {{ minutes(class ~ '_seconds') }} as {{ class }}_minutes,
    {%- endfor %}
    cast(day_count as bigint) as day_count,
    cast(rota_known_day_count as bigint) as rota_known_day_count,
    cast(downtime_known_day_count as bigint) as downtime_known_day_count
from rolled_up
