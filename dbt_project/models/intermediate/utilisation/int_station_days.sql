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

series as (
    select
        station_name,
        study_uid,
        accession,
        started_at,
        has_usable_end
    from {{ ref('int_dicom_series') }}
    where is_timed and station_name is not null
),

requested_studies as (
    select distinct study_uid
    from {{ ref('int_exams_folded') }}
    where study_uid is not null
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
        ) as opening_seconds
    from day_pieces
    group by station_name, day_on
),

-- occupied time clipped at the edges of staffed time
staffed_pieces as (
    select
        station_name,
        day_on,
        started_at,
        ended_at
    from day_pieces
    where interval_kind = 'staffed'
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

clipped as (
    select
        staffed_pieces.station_name,
        staffed_pieces.day_on,
        sum(
            {{ seconds_between(
                'greatest(staffed_pieces.started_at, occupied_pieces.started_at)',
                'least(staffed_pieces.ended_at, occupied_pieces.ended_at)'
            ) }}
        ) as occupied_in_staffed_seconds
    from staffed_pieces
    inner join occupied_pieces
        on
            staffed_pieces.station_name = occupied_pieces.station_name
            and staffed_pieces.day_on = occupied_pieces.day_on
            and staffed_pieces.started_at < occupied_pieces.ended_at
            and staffed_pieces.ended_at > occupied_pieces.started_at
    group by staffed_pieces.station_name, staffed_pieces.day_on
),

-- a study counts on the day it began; one that nobody asked for is a phantom or a test
studies as (
    select
        series.station_name,
        series.study_uid,
        min(series.started_at) as started_at,
        count(*) as series_count,
        count(*) filter (where series.has_usable_end) as series_with_end_count
    from series
    left join requested_studies on series.study_uid = requested_studies.study_uid
    group by series.station_name, series.study_uid
    having count(series.accession) > 0 or count(requested_studies.study_uid) > 0
),

exams_per_day as (
    select
        studies.station_name,
        operating_days.day_on,
        count(*) as exam_count,
        count(staffed_pieces.station_name) as exam_in_staffed_count,
        sum(studies.series_count) as series_count,
        sum(studies.series_with_end_count) as series_with_end_count
    from studies
    inner join operating_days
        on
            studies.started_at >= operating_days.starts_at
            and studies.started_at < operating_days.ends_at
    left join staffed_pieces
        on
            studies.station_name = staffed_pieces.station_name
            and operating_days.day_on = staffed_pieces.day_on
            and studies.started_at >= staffed_pieces.started_at
            and studies.started_at < staffed_pieces.ended_at
    group by studies.station_name, operating_days.day_on
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
    left join site_owners
        on
            station_days.site_code = site_owners.site_code
            and station_days.day_on between site_owners.valid_from and site_owners.valid_to
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
    coalesce(lengths.staffed_seconds, 0) as staffed_seconds,
    coalesce(lengths.occupied_seconds, 0) as occupied_seconds,
    coalesce(clipped.occupied_in_staffed_seconds, 0) as occupied_in_staffed_seconds,
    coalesce(lengths.acquisition_seconds, 0) as acquisition_seconds,
    coalesce(lengths.opening_seconds, 0) as opening_seconds,
    coalesce(exams_per_day.exam_count, 0) as exam_count,
    coalesce(exams_per_day.exam_in_staffed_count, 0) as exam_in_staffed_count,
    coalesce(exams_per_day.series_count, 0) as series_count,
    coalesce(exams_per_day.series_with_end_count, 0) as series_with_end_count
from placed
left join lengths
    on placed.station_name = lengths.station_name and placed.day_on = lengths.day_on
left join clipped
    on placed.station_name = clipped.station_name and placed.day_on = clipped.day_on
left join exams_per_day
    on placed.station_name = exams_per_day.station_name and placed.day_on = exams_per_day.day_on
