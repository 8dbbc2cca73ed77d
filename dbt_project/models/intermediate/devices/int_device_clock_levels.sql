with delays as (
    select
        device_key,
        study_uid,
        dicom_modality,
        station_name,
        party_code,
        started_at,
        day_on,
        delay_seconds
    from {{ ref('int_device_delays') }}
),

steps as (
    select
        device_key,
        stepped_at
    from {{ ref('int_device_clock_steps') }}
),

scanner_register as (
    select
        station_name,
        site_code,
        dicom_modality
    from {{ ref('scanner_register') }}
),

leveled as (
    select
        delays.device_key,
        delays.study_uid,
        delays.started_at,
        delays.day_on,
        cast(date_trunc('week', delays.day_on) as date) as week_start_on,
        delays.delay_seconds,
        1 + count(steps.stepped_at) as level_no
    from delays
    left join steps
        on delays.device_key = steps.device_key and delays.started_at >= steps.stepped_at
    group by
        delays.device_key,
        delays.study_uid,
        delays.started_at,
        delays.day_on,
        delays.delay_seconds
),

days as (
    select
        device_key,
        level_no,
        week_start_on,
        case
            when count(*) >= 100
                then percentile_cont(0.01) within group (order by delay_seconds)
            else percentile_cont(0.05) within group (order by delay_seconds)
        end as low_seconds
    from leveled
    group by device_key, level_no, week_start_on, day_on
    having count(*) >= {{ var('clock_studies') }}
),

weeks_of_days as (
    select
        device_key,
        level_no,
        week_start_on,
        percentile_cont(0.5) within group (order by low_seconds) as low_seconds
    from days
    group by device_key, level_no, week_start_on
),

weeks as (
    select
        device_key,
        level_no,
        week_start_on,
        min(started_at) as valid_from,
        max(started_at) as last_study_at,
        count(*) as study_count,
        percentile_cont(0.05) within group (order by delay_seconds) as low_seconds,
        percentile_cont(0.25) within group (order by delay_seconds)
        - percentile_cont(0.05) within group (order by delay_seconds) as spread_seconds
    from leveled
    group by device_key, level_no, week_start_on
),

whole_levels as (
    select
        device_key,
        level_no,
        min(started_at) as first_study_at,
        max(started_at) as last_study_at,
        count(*) as study_count,
        percentile_cont(0.05) within group (order by delay_seconds) as low_seconds,
        -- wide where the clock stepped unseen between so few studies
        percentile_cont(0.9) within group (order by delay_seconds)
        - percentile_cont(0.05) within group (order by delay_seconds) as spread_seconds
    from leveled
    group by device_key, level_no
),

-- the median of the measured days of a week, else the studies of the week if there are enough
measured_weeks as (
    select
        weeks.device_key,
        weeks.level_no,
        weeks.week_start_on,
        weeks.valid_from,
        weeks.study_count,
        weeks_of_days.low_seconds is not null as is_of_days,
        weeks.study_count >= {{ var('clock_studies') }} as is_measured,
        case
            when weeks.study_count >= {{ var('clock_studies') }}
                then coalesce(weeks_of_days.low_seconds, weeks.low_seconds)
        end as low_seconds,
        case
            when weeks.study_count >= {{ var('clock_studies') }} then weeks.spread_seconds
        end as spread_seconds
    from weeks
    left join weeks_of_days
        on
            weeks.device_key = weeks_of_days.device_key
            and weeks.level_no = weeks_of_days.level_no
            and weeks.week_start_on = weeks_of_days.week_start_on
),

-- a week without enough studies goes by the measured week before it, else by the first one
carried_weeks as (
    select
        device_key,
        level_no,
        week_start_on,
        valid_from,
        study_count,
        is_of_days,
        is_measured,
        coalesce(
            max(case when is_measured then week_start_on end) over (
                partition by device_key, level_no
                order by week_start_on
                rows between unbounded preceding and current row
            ),
            min(case when is_measured then week_start_on end) over (
                partition by device_key, level_no
            )
        ) as carried_from_on
    from measured_weeks
),

-- and where no week has enough, by all studies of the level, which tell a gross error only
measured as (
    select
        carried_weeks.device_key,
        carried_weeks.level_no,
        carried_weeks.week_start_on,
        carried_weeks.valid_from,
        lead(carried_weeks.valid_from) over (
            partition by carried_weeks.device_key
            order by carried_weeks.level_no, carried_weeks.week_start_on
        ) as valid_to,
        whole_levels.first_study_at as level_from,
        whole_levels.last_study_at as level_last_at,
        carried_weeks.study_count,
        case
            when carried_weeks.is_of_days then 'days'
            when carried_weeks.is_measured then 'week'
            when carried_weeks.carried_from_on is not null then 'carried'
            when whole_levels.study_count >= {{ var('clock_studies') }} then 'level'
            else 'too_few'
        end as method,
        coalesce(
            measured_weeks.low_seconds,
            case
                when whole_levels.study_count >= {{ var('clock_studies') }}
                    then whole_levels.low_seconds
            end
        ) as delay_seconds,
        coalesce(
            measured_weeks.spread_seconds,
            case
                when whole_levels.study_count >= {{ var('clock_studies') }}
                    then whole_levels.spread_seconds
            end
        ) as spread_seconds
    from carried_weeks
    inner join whole_levels
        on
            carried_weeks.device_key = whole_levels.device_key
            and carried_weeks.level_no = whole_levels.level_no
    left join measured_weeks
        on
            carried_weeks.device_key = measured_weeks.device_key
            and carried_weeks.level_no = measured_weeks.level_no
            and carried_weeks.carried_from_on = measured_weeks.week_start_on
),

device_places as (
    select
        device_key,
        min(station_name) as station_name,
        min(party_code) as party_code,
        min(dicom_modality) as dicom_modality
    from delays
    group by device_key
),

devices as (
    select
        measured.device_key,
        device_places.station_name,
        device_places.party_code,
        scanner_register.site_code,
        coalesce(scanner_register.dicom_modality, device_places.dicom_modality)
            as dicom_modality,
        -- one usual delay a device: that of its middle week
        percentile_cont(0.5) within group (order by measured.delay_seconds) as usual_seconds
    from measured
    inner join device_places on measured.device_key = device_places.device_key
    left join scanner_register
        on device_places.station_name = scanner_register.station_name
    group by
        measured.device_key,
        device_places.station_name,
        device_places.party_code,
        scanner_register.site_code,
        coalesce(scanner_register.dicom_modality, device_places.dicom_modality)
),

-- The route's shortest delay: what the clocks of several devices of the kind agree on, since a
-- constant delay and a constant offset look alike. Kinds differ: a header of nuclear medicine tells
-- no end, so that its delay holds the scan.
of_site as (
    select
        site_code,
        dicom_modality,
        percentile_cont(0.5) within group (order by usual_seconds) as route_seconds
    from devices
    where site_code is not null and usual_seconds is not null
    group by site_code, dicom_modality
    having count(*) >= {{ var('clock_peers') }}
),

of_party as (
    select
        party_code,
        dicom_modality,
        percentile_cont(0.5) within group (order by usual_seconds) as route_seconds
    from devices
    where usual_seconds is not null
    group by party_code, dicom_modality
    having count(*) >= {{ var('clock_peers') }}
),

of_network as (
    select
        dicom_modality,
        percentile_cont(0.5) within group (order by usual_seconds) as route_seconds
    from devices
    where usual_seconds is not null
    group by dicom_modality
    having count(*) >= {{ var('clock_network_peers') }}
),

routes as (
    select
        devices.device_key,
        devices.station_name,
        devices.site_code,
        devices.party_code,
        devices.dicom_modality,
        coalesce(
            of_site.route_seconds, of_party.route_seconds, of_network.route_seconds
        ) as route_seconds,
        case
            when of_site.route_seconds is not null then 'site'
            when of_party.route_seconds is not null then 'party'
            when of_network.route_seconds is not null then 'network'
        end as route_from
    from devices
    left join of_site
        on
            devices.site_code = of_site.site_code
            and devices.dicom_modality = of_site.dicom_modality
    left join of_party
        on
            devices.party_code = of_party.party_code
            and devices.dicom_modality = of_party.dicom_modality
    left join of_network on devices.dicom_modality = of_network.dicom_modality
),

offsets as (
    select
        measured.device_key,
        routes.station_name,
        routes.site_code,
        routes.party_code,
        routes.dicom_modality,
        measured.level_no,
        measured.week_start_on,
        measured.valid_from,
        measured.valid_to,
        measured.level_from,
        measured.level_last_at,
        measured.study_count,
        measured.method,
        measured.delay_seconds,
        routes.route_seconds,
        routes.route_from,
        round(measured.delay_seconds - routes.route_seconds, 1) as offset_seconds,
        measured.spread_seconds
    from measured
    inner join routes on measured.device_key = routes.device_key
),

-- the hours by which local time is ahead at both ends of a level, where it saw one season only
level_offsets as (
    select
        device_key,
        level_no,
        percentile_cont(0.5) within group (order by offset_seconds) as level_seconds,
        case
            when
                {{ hours_ahead_of_utc('min(level_from)') }}
                = {{ hours_ahead_of_utc('max(level_last_at)') }}
                and {{ days_between('min(level_from)', 'max(level_last_at)') }} < 220
                then {{ hours_ahead_of_utc('min(level_from)') }}
        end as hours_ahead
    from offsets
    group by device_key, level_no
)

-- never moved by less than the threshold, nor by less than what is not known
select
    offsets.device_key,
    offsets.station_name,
    offsets.site_code,
    offsets.party_code,
    offsets.dicom_modality,
    offsets.level_no,
    offsets.week_start_on,
    offsets.valid_from,
    offsets.valid_to,
    offsets.study_count,
    offsets.method,
    offsets.delay_seconds,
    offsets.route_seconds,
    offsets.route_from,
    offsets.offset_seconds,
    offsets.spread_seconds,
    coalesce(offsets.delay_seconds < 0, false) as is_proven_fast,
    coalesce(
        abs(offsets.offset_seconds)
        >= greatest({{ var('clock_correction_seconds') }}, offsets.spread_seconds),
        false
    ) as is_corrected,
    case
        when offsets.delay_seconds is null then 'too_few'
        when offsets.route_seconds is null then 'no_peers'
        when
            offsets.method in ('level', 'carried')
            and abs(offsets.offset_seconds)
            < greatest({{ var('clock_correction_seconds') }}, offsets.spread_seconds)
            then 'too_few'
        when
            abs(offsets.offset_seconds) < offsets.spread_seconds
            and offsets.spread_seconds >= {{ var('clock_correction_seconds') }}
            then 'unsure'
        when abs(offsets.offset_seconds) < {{ var('clock_correction_seconds') }} then 'right'
        -- an hour behind in summer only, or ahead in winter only: the clock was not changed
        when
            level_offsets.level_seconds between 3000 and 4200
            and level_offsets.hours_ahead = 1
            then 'dst_not_put_forward'
        when
            level_offsets.level_seconds between -4200 and -3000
            and level_offsets.hours_ahead = 0
            then 'dst_not_put_back'
        else 'wrong'
    end as clock_state
from offsets
inner join level_offsets
    on
        offsets.device_key = level_offsets.device_key
        and offsets.level_no = level_offsets.level_no
