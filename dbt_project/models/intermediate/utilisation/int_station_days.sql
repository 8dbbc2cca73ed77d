with scanner_register as (
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

operating_days as (
    select
        day_on,
        week_start_on,
        month_on,
        starts_at,
        ends_at
    from {{ ref('int_operating_days') }}
),

intervals as (
    select
        station_name,
        interval_kind,
        started_at,
        ended_at
    from {{ ref('int_station_intervals') }}
),

scans as (
    select
        station_name,
        started_at,
        study_count,
        series_count,
        series_with_end_count
    from {{ ref('int_station_scans') }}
    where not is_quality_assurance
),

visits as (
    select
        station_name,
        started_at
    from {{ ref('int_station_visits') }}
    where not is_quality_assurance
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

covered_days as (
    select
        party_code,
        day_on,
        is_rota_known,
        is_downtime_known
    from {{ ref('int_party_days_covered') }}
),

-- every interval is cut at midnight of the wall clock
day_pieces as (
    select
        intervals.station_name,
        intervals.interval_kind,
        operating_days.day_on,
        greatest(intervals.started_at, operating_days.starts_at) as started_at,
        least(intervals.ended_at, operating_days.ends_at) as ended_at
    from intervals
    inner join operating_days
        on
            intervals.started_at < operating_days.ends_at
            and intervals.ended_at > operating_days.starts_at
),

lengths as (
    select
        station_name,
        day_on,
        sum({{ seconds_between('started_at', 'ended_at') }}) filter (
            where interval_kind = 'staffed'
        ) as staffed_seconds,
        sum({{ seconds_between('started_at', 'ended_at') }}) filter (
            where interval_kind = 'occupied'
        ) as occupied_seconds,
        sum({{ seconds_between('started_at', 'ended_at') }}) filter (
            where interval_kind = 'acquisition'
        ) as acquisition_seconds,
        sum({{ seconds_between('started_at', 'ended_at') }}) filter (
            where interval_kind = 'opening'
        ) as opening_seconds,
        sum({{ seconds_between('started_at', 'ended_at') }}) filter (
            where interval_kind = 'quality_assurance'
        ) as quality_assurance_seconds
    from day_pieces
    group by station_name, day_on
),

occupied_pieces as (
    select
        station_name,
        day_on,
        started_at,
        ended_at
    from day_pieces
    where interval_kind = 'occupied'
),

staffed_pieces as (
    select
        station_name,
        day_on,
        started_at,
        ended_at
    from day_pieces
    where interval_kind = 'staffed'
),

-- occupied time clipped at the edges of staffed time, and at those of the opening hours
clipped as (
    select
        day_pieces.station_name,
        day_pieces.day_on,
        sum(
            {{ seconds_between(
                'greatest(day_pieces.started_at, occupied_pieces.started_at)',
                'least(day_pieces.ended_at, occupied_pieces.ended_at)'
            ) }}
        ) filter (where day_pieces.interval_kind = 'staffed') as occupied_in_staffed_seconds,
        sum(
            {{ seconds_between(
                'greatest(day_pieces.started_at, occupied_pieces.started_at)',
                'least(day_pieces.ended_at, occupied_pieces.ended_at)'
            ) }}
        ) filter (where day_pieces.interval_kind = 'opening') as occupied_in_opening_seconds
    from day_pieces
    inner join occupied_pieces
        on
            day_pieces.station_name = occupied_pieces.station_name
            and day_pieces.day_on = occupied_pieces.day_on
            and day_pieces.started_at < occupied_pieces.ended_at
            and day_pieces.ended_at > occupied_pieces.started_at
    where day_pieces.interval_kind in ('staffed', 'opening')
    group by day_pieces.station_name, day_pieces.day_on
),

-- planned downtime is no time that could have been used, unless somebody was scanned in it
downtimes as (
    select
        station_name,
        day_on,
        sum(gap_seconds) filter (where gap_class = 'planned_downtime' and is_staffed)
            as planned_in_staffed_seconds,
        sum(gap_seconds) filter (where gap_class = 'planned_downtime' and is_opening)
            as planned_in_opening_seconds,
        sum(gap_seconds) filter (where gap_class = 'unplanned_downtime' and is_opening)
            as unplanned_in_opening_seconds
    from gaps
    where gap_class in ('planned_downtime', 'unplanned_downtime')
    group by station_name, day_on
),

visits_per_day as (
    select
        visits.station_name,
        operating_days.day_on,
        count(*) as visit_count
    from visits
    inner join operating_days
        on
            visits.started_at >= operating_days.starts_at
            and visits.started_at < operating_days.ends_at
    group by visits.station_name, operating_days.day_on
),

-- a scan counts on the day it began, once under however many accession numbers
exams_per_day as (
    select
        scans.station_name,
        operating_days.day_on,
        count(*) as exam_count,
        count(staffed_pieces.station_name) as exam_in_staffed_count,
        sum(scans.study_count) as study_count,
        sum(scans.series_count) as series_count,
        sum(scans.series_with_end_count) as series_with_end_count
    from scans
    inner join operating_days
        on
            scans.started_at >= operating_days.starts_at
            and scans.started_at < operating_days.ends_at
    left join staffed_pieces
        on
            scans.station_name = staffed_pieces.station_name
            and operating_days.day_on = staffed_pieces.day_on
            and scans.started_at >= staffed_pieces.started_at
            and scans.started_at < staffed_pieces.ended_at
    group by scans.station_name, operating_days.day_on
),

station_days as (
    select
        scanner_register.station_name,
        scanner_register.site_code,
        sites.party_code,
        scanner_register.dicom_modality,
        operating_days.day_on,
        operating_days.week_start_on,
        operating_days.month_on
    from scanner_register
    inner join sites on scanner_register.site_code = sites.site_code
    cross join operating_days
),

placed as (
    select
        station_days.station_name,
        station_days.site_code,
        station_days.party_code,
        coalesce(site_owners.trust_code, 'Unknown') as trust_code,
        coalesce(modalities.modality_group, 'Unknown') as modality_group,
        station_days.day_on,
        station_days.week_start_on,
        station_days.month_on
    from station_days
    left join modalities on station_days.dicom_modality = modalities.dicom_modality
    {{ left_join_owners('station_days', 'station_days.day_on') }}
)

select
    placed.station_name,
    placed.site_code,
    placed.party_code,
    placed.trust_code,
    placed.modality_group,
    placed.day_on,
    placed.week_start_on,
    placed.month_on,
    coalesce(covered_days.is_rota_known, false) as is_rota_known,
    coalesce(covered_days.is_downtime_known, false) as is_downtime_known,
    coalesce(lengths.staffed_seconds, 0) as staffed_seconds,
    coalesce(lengths.staffed_seconds, 0) - coalesce(downtimes.planned_in_staffed_seconds, 0)
        as available_seconds,
    coalesce(lengths.occupied_seconds, 0) as occupied_seconds,
    coalesce(clipped.occupied_in_staffed_seconds, 0) as occupied_in_staffed_seconds,
    coalesce(clipped.occupied_in_opening_seconds, 0) as occupied_in_opening_seconds,
    coalesce(lengths.acquisition_seconds, 0) as acquisition_seconds,
    coalesce(lengths.opening_seconds, 0) as opening_seconds,
    coalesce(lengths.opening_seconds, 0) - coalesce(downtimes.planned_in_opening_seconds, 0)
        as operational_seconds,
    coalesce(downtimes.unplanned_in_opening_seconds, 0) as unplanned_downtime_seconds,
    coalesce(lengths.quality_assurance_seconds, 0) as quality_assurance_seconds,
    coalesce(visits_per_day.visit_count, 0) as visit_count,
    coalesce(exams_per_day.exam_count, 0) as exam_count,
    coalesce(exams_per_day.exam_in_staffed_count, 0) as exam_in_staffed_count,
    coalesce(exams_per_day.study_count, 0) as study_count,
    coalesce(exams_per_day.series_count, 0) as series_count,
    coalesce(exams_per_day.series_with_end_count, 0) as series_with_end_count
from placed
left join covered_days
    on placed.party_code = covered_days.party_code and placed.day_on = covered_days.day_on
left join lengths
    on placed.station_name = lengths.station_name and placed.day_on = lengths.day_on
left join clipped
    on placed.station_name = clipped.station_name and placed.day_on = clipped.day_on
left join downtimes
    on placed.station_name = downtimes.station_name and placed.day_on = downtimes.day_on
left join visits_per_day
    on placed.station_name = visits_per_day.station_name and placed.day_on = visits_per_day.day_on
left join exams_per_day
    on placed.station_name = exams_per_day.station_name and placed.day_on = exams_per_day.day_on
