with station_days as (
    select
        party_code,
        trust_code,
        modality_group,
        station_name,
        site_code,
        week_start_on,
        staffed_seconds,
        available_seconds,
        occupied_seconds,
        occupied_in_staffed_seconds,
        acquisition_seconds,
        opening_seconds,
        quality_assurance_seconds,
        visit_count,
        exam_count,
        exam_in_staffed_count,
        series_count,
        series_with_end_count,
        -- where most series tell no end, acquiring time is not known and is no small number
        coalesce(
            series_with_end_count >= {{ var('efficiency_from_coverage') }} * series_count
            and series_count > 0,
            false
        ) as is_efficiency_known
    from {{ ref('int_station_days') }}
),

-- station rows stand under their own modality only; 'All' stations under both
rolled_up as (
    select
        {{ station_levels() }},
        week_start_on,
        sum(staffed_seconds) as staffed_seconds,
        sum(available_seconds) as available_seconds,
        sum(occupied_seconds) as occupied_seconds,
        sum(occupied_in_staffed_seconds) as occupied_in_staffed_seconds,
        sum(acquisition_seconds) as acquisition_seconds,
        sum(acquisition_seconds) filter (where is_efficiency_known)
            as acquisition_of_known_seconds,
        coalesce(sum(occupied_seconds) filter (where is_efficiency_known), 0)
            as occupied_of_known_seconds,
        sum(opening_seconds) as opening_seconds,
        sum(quality_assurance_seconds) as quality_assurance_seconds,
        sum(visit_count) as visit_count,
        sum(exam_count) as exam_count,
        sum(exam_in_staffed_count) as exam_in_staffed_count,
        sum(series_count) as series_count,
        sum(series_with_end_count) as series_with_end_count
    from station_days
    {{ roll_up_stations(['week_start_on']) }}
)

select
    org_level,
    org_code,
    modality_group,
    station_name,
    site_code,
    week_start_on,
    {{ minutes('staffed_seconds') }} as staffed_minutes,
    {{ minutes('occupied_seconds') }} as occupied_minutes,
    {{ minutes('occupied_in_staffed_seconds') }} as occupied_in_staffed_minutes,
    {{ minutes('acquisition_seconds') }} as acquisition_minutes,
    {{ minutes('(occupied_seconds - occupied_in_staffed_seconds)') }}
        as occupied_outside_staffed_minutes,
    {{ minutes('opening_seconds') }} as opening_minutes,
    {{ minutes('available_seconds') }} as available_minutes,
    {{ minutes('quality_assurance_seconds') }} as quality_assurance_minutes,
    cast(visit_count as bigint) as visit_count,
    cast(exam_count as bigint) as exam_count,
    cast(exam_in_staffed_count as bigint) as exam_in_staffed_count,
    {{ ratio('occupied_in_staffed_seconds', 'available_seconds') }} as utilisation_rate,
    {{ ratio('acquisition_of_known_seconds', 'occupied_of_known_seconds') }}
        as acquisition_efficiency_rate,
    {{ ratio('exam_in_staffed_count', 'staffed_seconds / 3600') }} as exams_per_staffed_hour,
    cast(series_count as bigint) as series_count,
    cast(series_with_end_count as bigint) as series_with_end_count,
    {{ ratio('series_with_end_count', 'series_count') }} as coverage_rate,
    {{ minutes('occupied_of_known_seconds') }} as efficiency_occupied_minutes
from rolled_up
