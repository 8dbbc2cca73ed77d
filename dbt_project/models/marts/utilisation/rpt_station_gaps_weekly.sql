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

gaps_of_both as (
    select
        station_name,
        day_on,
        'staffed' as time_basis,
        gap_class,
        gap_seconds
    from gaps
    where is_staffed
    union all
    select
        station_name,
        day_on,
        'opening' as time_basis,
        gap_class,
        gap_seconds
    from gaps
    where is_opening
),

day_gaps as (
    select
        station_name,
        day_on,
        time_basis,
        {%- for class in classes %}
            coalesce(sum(gap_seconds) filter (where gap_class = '{{ class }}'), 0)
                as {{ class }}_seconds
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from gaps_of_both
    group by station_name, day_on, time_basis
),

days_of_both as (
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
        'staffed' as time_basis,
        staffed_seconds as total_seconds,
        occupied_in_staffed_seconds as occupied_seconds
    from station_days
    union all
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
        'opening' as time_basis,
        opening_seconds as total_seconds,
        occupied_in_opening_seconds as occupied_seconds
    from station_days
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        {{ or_all('station_name') }} as station_name,
        case when grouping(station_name) = 0 then min(site_code) else 'All' end as site_code,
        week_start_on,
        time_basis,
        sum(total_seconds) as total_seconds,
        sum(occupied_seconds) as occupied_seconds,
        {%- for class in classes %}
            coalesce(sum({{ class }}_seconds), 0) as {{ class }}_seconds,
        {%- endfor %}
        count(*) filter (where total_seconds > 0) as day_count,
        count(*) filter (where total_seconds > 0 and is_rota_known) as rota_known_day_count,
        count(*) filter (where total_seconds > 0 and is_downtime_known)
            as downtime_known_day_count
    from (
        select
            days_of_both.station_name,
            days_of_both.site_code,
            days_of_both.party_code,
            days_of_both.trust_code,
            days_of_both.modality_group,
            days_of_both.week_start_on,
            days_of_both.is_rota_known,
            days_of_both.is_downtime_known,
            days_of_both.time_basis,
            days_of_both.total_seconds,
            days_of_both.occupied_seconds,
            {%- for class in classes %}
                day_gaps.{{ class }}_seconds
                {%- if not loop.last %},{% endif %}
            {%- endfor %}
        from days_of_both
        left join day_gaps
            on
                days_of_both.station_name = day_gaps.station_name
                and days_of_both.day_on = day_gaps.day_on
                and days_of_both.time_basis = day_gaps.time_basis
    ) as days
    {{ roll_up(['week_start_on', 'time_basis'], or_all=['modality_group', 'station_name']) }}
    having grouping(station_name) = 1 or grouping(modality_group) = 0
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
