with series as (
    select
        study_uid,
        party_code,
        accession,
        modality_group,
        station_name,
        started_at
    from {{ ref('int_dicom_series') }}
    where is_timed and party_code is not null
),

station_studies as (
    select
        study_uid,
        station_name,
        patient_key,
        scan_no,
        is_quality_assurance
    from {{ ref('int_station_studies') }}
),

links as (
    select
        study_uid,
        exam_key
    from {{ ref('int_exam_study_links') }}
),

coverage as (
    select
        party_code,
        modality_group,
        first_day_on,
        last_day_on
    from {{ ref('int_image_coverage') }}
),

scanners as (
    select
        station_name,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_scanners') }}
),

-- a PET-CT study is one of PET, although it holds CT series too
studies as (
    select
        study_uid,
        min(party_code) as party_code,
        coalesce(
            min(modality_group) filter (where modality_group in ('PET', 'Nuclear medicine')),
            min(modality_group)
        ) as modality_group,
        min(station_name) as station_name,
        count(accession) > 0 as has_accession,
        {{ local_date('min(started_at)') }} as started_on
    from series
    group by study_uid
),

studies_of_exams as (
    select distinct study_uid
    from links
),

-- studies that are one scan count once; one without a station is a scan of its own
placed as (
    select
        studies.study_uid,
        studies.party_code,
        studies.modality_group,
        studies.station_name,
        studies.started_on,
        coalesce(
            station_studies.station_name
            || '|'
            || station_studies.patient_key
            || '|'
            || cast(station_studies.scan_no as string),
            studies.study_uid
        ) as scan_key,
        coalesce(
            station_studies.is_quality_assurance,
            not studies.has_accession and studies_of_exams.study_uid is null
        ) as is_quality_assurance
    from studies
    left join studies_of_exams on studies.study_uid = studies_of_exams.study_uid
    left join station_studies
        on
            studies.study_uid = station_studies.study_uid
            and studies.station_name = station_studies.station_name
),

-- an exam that several studies of a scan answer counts once
scans as (
    select
        placed.scan_key,
        min(placed.party_code) as party_code,
        min(placed.modality_group) as modality_group,
        min(placed.station_name) as station_name,
        min(placed.started_on) as started_on,
        count(distinct placed.study_uid) as study_count,
        count(distinct links.exam_key) as exam_count
    from placed
    left join links on placed.study_uid = links.study_uid
    where not placed.is_quality_assurance
    group by placed.scan_key
)

select
    scans.scan_key,
    scans.party_code,
    coalesce(scanners.trust_code, 'Unknown') as trust_code,
    scans.modality_group,
    {{ month_of('scans.started_on') }} as month_on,
    scans.study_count,
    scans.exam_count
from scans
inner join coverage
    on
        scans.party_code = coverage.party_code
        and scans.modality_group = coverage.modality_group
        and scans.started_on between coverage.first_day_on and coverage.last_day_on
left join scanners
    on
        scans.station_name = scanners.station_name
        and scans.started_on between scanners.valid_from and scanners.valid_to
