with series as (
    select
        device_key,
        station_name,
        party_code,
        modality_group,
        cast(date_trunc('week', {{ local_date('started_at_raw') }}) as date) as week_start_on,
        is_clock_corrected
    from {{ ref('int_dicom_series') }}
    where is_timed and device_key is not null and not is_migrated
),

clock_levels as (
    select
        device_key,
        week_start_on,
        level_no,
        valid_from,
        study_count,
        method,
        offset_seconds,
        spread_seconds,
        route_seconds,
        is_proven_fast,
        is_corrected,
        clock_state
    from {{ ref('int_device_clock_levels') }}
),

scanner_register as (
    select
        station_name,
        site_code
    from {{ ref('scanner_register') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

weeks as (
    select
        device_key,
        week_start_on,
        min(station_name) as station_name,
        min(party_code) as party_code,
        min(modality_group) as modality_group,
        count(*) as series_count,
        count(*) filter (where is_clock_corrected) as corrected_series_count
    from series
    group by device_key, week_start_on
),

-- of a week with a step, the clock as it was at the end
counted_levels as (
    select
        device_key,
        week_start_on,
        level_no,
        valid_from,
        sum(study_count) over (partition by device_key, week_start_on) as study_count,
        method,
        offset_seconds,
        spread_seconds,
        route_seconds,
        is_proven_fast,
        is_corrected,
        clock_state,
        level_no - coalesce(
            lag(level_no) over (partition by device_key order by valid_from), level_no
        ) as step_count
    from clock_levels
),

last_levels as (
    select
        device_key,
        week_start_on,
        study_count,
        method,
        offset_seconds,
        spread_seconds,
        route_seconds,
        is_proven_fast,
        is_corrected,
        clock_state,
        sum(step_count) over (partition by device_key, week_start_on) as step_count
    from counted_levels
    qualify row_number() over (
        partition by device_key, week_start_on
        order by valid_from desc
    ) = 1
)

select
    weeks.device_key,
    weeks.week_start_on,
    coalesce(weeks.station_name, 'Unknown') as station_name,
    coalesce(scanner_register.site_code, 'Unknown') as site_code,
    coalesce(sites.party_code, weeks.party_code, 'Unknown') as party_code,
    weeks.modality_group,
    coalesce(last_levels.clock_state, 'not_told') as clock_state,
    last_levels.offset_seconds,
    last_levels.spread_seconds,
    last_levels.route_seconds,
    coalesce(last_levels.method, 'none') as method,
    cast(coalesce(last_levels.study_count, 0) as bigint) as study_count,
    cast(coalesce(last_levels.step_count, 0) as bigint) as step_count,
    coalesce(last_levels.is_proven_fast, false) as is_proven_fast,
    coalesce(last_levels.is_corrected, false) as is_corrected,
    cast(weeks.series_count as bigint) as series_count,
    cast(weeks.corrected_series_count as bigint) as corrected_series_count,
    {{ ratio('weeks.corrected_series_count', 'weeks.series_count') }} as corrected_rate
from weeks
left join last_levels
    on
        weeks.device_key = last_levels.device_key
        and weeks.week_start_on = last_levels.week_start_on
left join scanner_register on weeks.station_name = scanner_register.station_name
left join sites on scanner_register.site_code = sites.site_code
