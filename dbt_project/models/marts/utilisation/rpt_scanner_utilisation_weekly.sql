with station_days as (
    select
        party_code,
        trust_code,
        modality_group,
        station_name,
        site_code,
        week_start_on,
        staffed_minutes,
        occupied_minutes,
        occupied_in_staffed_minutes,
        acquisition_minutes,
        opening_minutes,
        exam_count,
        exam_in_staffed_count,
        series_count,
        series_with_end_count
    from {{ ref('int_station_days') }}
),

-- station rows stand under their own modality only; 'All' stations under both
rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        {{ or_all('station_name') }} as station_name,
        case when grouping(station_name) = 0 then min(site_code) else 'All' end as site_code,
        week_start_on,
        sum(staffed_minutes) as staffed_minutes,
        sum(occupied_minutes) as occupied_minutes,
        sum(occupied_in_staffed_minutes) as occupied_in_staffed_minutes,
        sum(acquisition_minutes) as acquisition_minutes,
        sum(opening_minutes) as opening_minutes,
        sum(exam_count) as exam_count,
        sum(exam_in_staffed_count) as exam_in_staffed_count,
        sum(series_count) as series_count,
        sum(series_with_end_count) as series_with_end_count
    from station_days
    {{ roll_up(['week_start_on'], or_all=['modality_group', 'station_name']) }}
    having grouping(station_name) = 1 or grouping(modality_group) = 0
)

select
    org_level,
    org_code,
    modality_group,
    station_name,
    site_code,
    week_start_on,
    cast(staffed_minutes as double) as staffed_minutes,
    cast(occupied_minutes as double) as occupied_minutes,
    cast(occupied_in_staffed_minutes as double) as occupied_in_staffed_minutes,
    cast(acquisition_minutes as double) as acquisition_minutes,
    cast(occupied_minutes - occupied_in_staffed_minutes as double)
        as occupied_outside_staffed_minutes,
    cast(opening_minutes as double) as opening_minutes,
    cast(exam_count as bigint) as exam_count,
    cast(exam_in_staffed_count as bigint) as exam_in_staffed_count,
    {{ ratio('occupied_in_staffed_minutes', 'staffed_minutes') }} as utilisation_rate,
    {{ ratio('acquisition_minutes', 'occupied_minutes') }} as acquisition_efficiency_rate,
    {{ ratio('exam_in_staffed_count', 'staffed_minutes / 60.0') }} as exams_per_staffed_hour,
    cast(series_count as bigint) as series_count,
    cast(series_with_end_count as bigint) as series_with_end_count,
    {{ ratio('series_with_end_count', 'series_count') }} as coverage_rate
from rolled_up
