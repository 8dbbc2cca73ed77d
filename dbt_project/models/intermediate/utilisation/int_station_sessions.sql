with intervals as (
    select
        station_name,
        interval_kind,
        interval_no,
        started_at,
        ended_at
    from {{ ref('int_station_intervals') }}
    where interval_kind in ('staffed', 'occupied')
),

gaps as (
    select
        station_name,
        started_at,
        gap_seconds
    from {{ ref('int_station_gaps') }}
    where gap_class = 'idle' and is_staffed
),

operating_days as (
    select
        day_on,
        month_on,
        starts_at,
        ends_at
    from {{ ref('int_operating_days') }}
),

scanner_register as (
    select
        station_name,
        site_code,
        dicom_modality
    from {{ ref('scanner_register') }}
),

modalities as (
    select
        dicom_modality,
        modality_group
    from {{ ref('modalities') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

-- without images nobody knows whether somebody came
image_coverage as (
    select
        party_code,
        modality_group,
        first_day_on,
        last_day_on
    from {{ ref('int_image_coverage') }}
),

sessions as (
    select
        intervals.station_name,
        intervals.started_at,
        intervals.ended_at,
        operating_days.day_on,
        operating_days.month_on
    from intervals
    inner join operating_days
        on
            intervals.started_at >= operating_days.starts_at
            and intervals.started_at < operating_days.ends_at
    where intervals.interval_kind = 'staffed'
),

-- a patient who is on the table when the session begins leaves no delay
first_patients as (
    select
        sessions.station_name,
        sessions.started_at,
        min(greatest(occupied.started_at, sessions.started_at)) as first_occupied_at
    from sessions
    inner join intervals as occupied
        on
            sessions.station_name = occupied.station_name
            and sessions.started_at < occupied.ended_at
            and sessions.ended_at > occupied.started_at
    where occupied.interval_kind = 'occupied'
    group by sessions.station_name, sessions.started_at
),

idle_gaps as (
    select
        sessions.station_name,
        sessions.started_at,
        sum(gaps.gap_seconds) as idle_seconds
    from sessions
    inner join gaps
        on
            sessions.station_name = gaps.station_name
            and gaps.started_at >= sessions.started_at
            and gaps.started_at < sessions.ended_at
    group by sessions.station_name, sessions.started_at
)

select
    sessions.station_name,
    scanner_register.site_code,
    sites.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    coalesce(modalities.modality_group, 'Unknown') as modality_group,
    sessions.month_on,
    sessions.started_at,
    sessions.ended_at,
    first_patients.first_occupied_at,
    {{ seconds_between('sessions.started_at', 'first_patients.first_occupied_at') }}
        as first_delay_seconds,
    case
        when
            first_patients.first_occupied_at is not null
            or image_coverage.party_code is not null
            then coalesce(idle_gaps.idle_seconds, 0)
    end as idle_seconds,
    case
        when first_patients.first_occupied_at is not null then false
        when image_coverage.party_code is not null then true
    end as is_unused
from sessions
inner join scanner_register on sessions.station_name = scanner_register.station_name
inner join sites on scanner_register.site_code = sites.site_code
left join modalities on scanner_register.dicom_modality = modalities.dicom_modality
{{ left_join_owners('sites', 'sessions.day_on') }}
left join image_coverage
    on
        sites.party_code = image_coverage.party_code
        and modalities.modality_group = image_coverage.modality_group
        and sessions.day_on between image_coverage.first_day_on and image_coverage.last_day_on
left join first_patients
    on
        sessions.station_name = first_patients.station_name
        and sessions.started_at = first_patients.started_at
left join idle_gaps
    on
        sessions.station_name = idle_gaps.station_name
        and sessions.started_at = idle_gaps.started_at
