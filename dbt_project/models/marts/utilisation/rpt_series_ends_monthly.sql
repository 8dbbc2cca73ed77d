with series as (
    select
        station_name,
        started_at,
        end_method
    from {{ ref('int_station_series') }}
    where not is_quality_assurance
),

operating_days as (
    select
        day_on,
        starts_at,
        ends_at
    from {{ ref('int_operating_days') }}
),

station_days as (
    select
        station_name,
        day_on,
        party_code,
        trust_code,
        modality_group,
        month_on
    from {{ ref('int_station_days') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

placed as (
    select
        station_days.party_code,
        station_days.trust_code,
        station_days.modality_group,
        station_days.month_on,
        series.end_method
    from series
    inner join operating_days
        on
            series.started_at >= operating_days.starts_at
            and series.started_at < operating_days.ends_at
    inner join station_days
        on
            series.station_name = station_days.station_name
            and operating_days.day_on = station_days.day_on
    inner join months on station_days.month_on = months.month_on
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        end_method,
        count(*) as series_count
    from placed
    {{ roll_up(['month_on', 'end_method'], or_all=['modality_group']) }}
),

totals as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        end_method,
        series_count,
        sum(series_count) over (
            partition by org_level, org_code, modality_group, month_on
        ) as all_series_count
    from rolled_up
)

select
    org_level,
    org_code,
    modality_group,
    month_on,
    end_method,
    cast(series_count as bigint) as series_count,
    cast(all_series_count as bigint) as all_series_count,
    {{ ratio('series_count', 'all_series_count') }} as series_rate
from totals
