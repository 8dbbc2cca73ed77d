{%- set window = 'cast(60 as bigint) * ' ~ var('link_window_minutes') -%}
with series as (
    select
        study_uid,
        issuer_ods,
        accession,
        patient_key,
        station_name,
        modality_group,
        started_at,
        is_timed,
        is_migrated
    from {{ ref('int_dicom_series') }}
),

links_by_number as (
    select
        exam_key,
        study_uid
    from {{ ref('int_exam_study_links_by_number') }}
),

exams as (
    select
        exam_key,
        patient_key,
        station_name,
        dicom_modality,
        exam_code
    from {{ ref('int_exams_folded') }}
),

exam_events as (
    select
        exam_key,
        event_type,
        event_at,
        assertion_no,
        is_date_only,
        is_time_doubtful
    from {{ ref('int_exam_events') }}
    where event_type in ('exam_started', 'exam_completed')
),

exam_aliases as (
    select
        alias_key,
        exam_key
    from {{ ref('int_exam_aliases') }}
),

locations as (
    select
        exam_key,
        site_code
    from {{ ref('int_exams_located') }}
),

patient_merges as (
    select
        loser_key,
        standing_key
    from {{ ref('int_patient_merges') }}
),

scanner_register as (
    select
        station_name,
        site_code
    from {{ ref('scanner_register') }}
),

exam_codes as (
    select
        exam_code,
        modality_group
    from {{ ref('exam_codes') }}
),

modalities as (
    select
        dicom_modality,
        modality_group
    from {{ ref('modalities') }}
),

numbered_studies as (
    select distinct study_uid
    from links_by_number
),

numbered_exams as (
    select distinct exam_key
    from links_by_number
),

-- a PET-CT study is one of PET, although it holds CT series too
unnumbered as (
    select
        series.study_uid,
        min(series.issuer_ods) as issuer_ods,
        min(series.accession) as accession,
        min(series.patient_key) as patient_key,
        min(series.station_name) filter (where series.is_timed) as station_name,
        coalesce(
            min(series.modality_group) filter (
                where series.modality_group in ('PET', 'Nuclear medicine')
            ),
            min(series.modality_group)
        ) as modality_group,
        min(series.started_at) filter (where series.is_timed) as started_at,
        bool_or(series.is_migrated) as is_migrated
    from series
    left join numbered_studies on series.study_uid = numbered_studies.study_uid
    where numbered_studies.study_uid is null
    group by series.study_uid
),

studies as (
    select
        unnumbered.study_uid,
        unnumbered.issuer_ods || '|A|' || unnumbered.accession as told_exam_key,
        coalesce(patient_merges.standing_key, unnumbered.patient_key) as patient_key,
        unnumbered.station_name,
        scanner_register.site_code,
        unnumbered.modality_group,
        unnumbered.started_at,
        unnumbered.is_migrated
    from unnumbered
    left join patient_merges on unnumbered.patient_key = patient_merges.loser_key
    left join scanner_register on unnumbered.station_name = scanner_register.station_name
),

-- what the number in the images says, where it is that of an exam
told as (
    select
        studies.study_uid,
        coalesce(exams.patient_key <> studies.patient_key, true) as is_of_another_patient
    from studies
    left join exam_aliases on studies.told_exam_key = exam_aliases.alias_key
    inner join exams on coalesce(exam_aliases.exam_key, studies.told_exam_key) = exams.exam_key
),

-- without images by any number, and of a patient who has images without an exam
unlinked_exams as (
    select
        exams.exam_key,
        exams.patient_key,
        exams.station_name,
        exams.dicom_modality,
        exams.exam_code
    from exams
    left join numbered_exams on exams.exam_key = numbered_exams.exam_key
    where
        numbered_exams.exam_key is null
        and exams.patient_key in (select studies.patient_key from studies)
),

-- the times of an exam that the RIS tells to the minute; a day alone can be no window
exam_times as (
    select
        exam_key,
        {{ latest_asserted('event_at', 'exam_started') }} as told_start_at,
        {{ latest_asserted('event_at', 'exam_completed') }} as told_end_at
    from exam_events
    where
        not is_date_only
        and not is_time_doubtful
        and exam_key in (select unlinked_exams.exam_key from unlinked_exams)
    group by exam_key
),

-- performed by the word of the RIS
open_exams as (
    select
        unlinked_exams.exam_key,
        unlinked_exams.patient_key,
        scanner_register.station_name,
        locations.site_code,
        coalesce(exam_codes.modality_group, modalities.modality_group) as modality_group,
        coalesce(exam_times.told_start_at, exam_times.told_end_at) as started_at,
        greatest(
            coalesce(exam_times.told_end_at, exam_times.told_start_at),
            coalesce(exam_times.told_start_at, exam_times.told_end_at)
        ) as ended_at
    from exam_times
    inner join unlinked_exams on exam_times.exam_key = unlinked_exams.exam_key
    inner join locations on exam_times.exam_key = locations.exam_key
    left join scanner_register on unlinked_exams.station_name = scanner_register.station_name
    left join exam_codes on unlinked_exams.exam_code = exam_codes.exam_code
    left join modalities on unlinked_exams.dicom_modality = modalities.dicom_modality
),

-- where the RIS names no scanner of the register, its site and modality stand for it
pairs as (
    select
        studies.study_uid,
        open_exams.exam_key,
        'station' as place_rule,
        studies.started_at,
        open_exams.started_at as exam_started_at,
        open_exams.ended_at as exam_ended_at
    from studies
    inner join open_exams
        on
            studies.patient_key = open_exams.patient_key
            and studies.station_name = open_exams.station_name
            and studies.started_at >= {{ add_seconds('open_exams.started_at', -86400) }}
            and studies.started_at <= {{ add_seconds('open_exams.ended_at', 86400) }}
    where not studies.is_migrated
    union all
    select
        studies.study_uid,
        open_exams.exam_key,
        'site_and_modality' as place_rule,
        studies.started_at,
        open_exams.started_at as exam_started_at,
        open_exams.ended_at as exam_ended_at
    from studies
    inner join open_exams
        on
            studies.patient_key = open_exams.patient_key
            and studies.site_code = open_exams.site_code
            and studies.modality_group = open_exams.modality_group
            and studies.started_at >= {{ add_seconds('open_exams.started_at', -86400) }}
            and studies.started_at <= {{ add_seconds('open_exams.ended_at', 86400) }}
    where open_exams.station_name is null and not studies.is_migrated
),

inside as (
    select
        study_uid,
        exam_key,
        place_rule,
        count(*) over (partition by study_uid) as exam_count,
        count(*) over (partition by exam_key) as study_count
    from pairs
    where
        started_at >= {{ add_seconds('exam_started_at', '-' ~ window) }}
        and started_at <= {{ add_seconds('exam_ended_at', window) }}
),

candidates as (
    select
        study_uid,
        min(exam_key) as exam_key,
        min(place_rule) as place_rule,
        max(exam_count) as exam_count,
        max(study_count) as study_count
    from inside
    group by study_uid
),

same_day as (
    select distinct study_uid
    from pairs
),

judged as (
    select
        studies.study_uid,
        studies.started_at,
        candidates.exam_key,
        candidates.place_rule,
        coalesce(candidates.exam_count, 0) as exam_count,
        coalesce(candidates.study_count, 0) as study_count,
        coalesce(told.is_of_another_patient, false) as is_number_of_another_patient,
        case
            when studies.is_migrated then 'migrated'
            when studies.started_at is null then 'no_time'
            when studies.station_name is null then 'no_station'
            when candidates.exam_count > 1 then 'several_exams'
            when candidates.study_count > 1 then 'several_studies'
            when candidates.exam_count = 1 then 'linked'
            when same_day.study_uid is not null then 'outside_window'
            else 'no_exam'
        end as outcome
    from studies
    left join told on studies.study_uid = told.study_uid
    left join candidates on studies.study_uid = candidates.study_uid
    left join same_day on studies.study_uid = same_day.study_uid
)

select
    study_uid,
    started_at,
    outcome,
    case when outcome = 'linked' then exam_key end as exam_key,
    case when outcome = 'linked' then place_rule end as place_rule,
    exam_count,
    study_count,
    is_number_of_another_patient
from judged
