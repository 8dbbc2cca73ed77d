with series as (
    select
        study_uid,
        issuer_ods,
        accession,
        started_at,
        ended_at,
        is_timed
    from {{ ref('int_dicom_series') }}
),

exams as (
    select
        exam_key,
        issuer_ods,
        accession,
        study_uid
    from {{ ref('int_exams_folded') }}
),

studies as (
    select
        study_uid,
        min(issuer_ods) as issuer_ods,
        min(accession) as accession,
        min(started_at) filter (where is_timed) as started_at,
        max(ended_at) filter (where is_timed) as ended_at
    from series
    group by study_uid
),

-- One study may answer several requests, so a study can be linked to several exams.
by_study_uid as (
    select
        exams.exam_key,
        studies.study_uid,
        studies.started_at,
        studies.ended_at,
        'study_uid' as link_method
    from exams
    inner join studies on exams.study_uid = studies.study_uid
),

by_accession as (
    select
        exams.exam_key,
        studies.study_uid,
        studies.started_at,
        studies.ended_at,
        'accession' as link_method
    from exams
    inner join studies
        on exams.issuer_ods = studies.issuer_ods and exams.accession = studies.accession
    left join by_study_uid on exams.exam_key = by_study_uid.exam_key
    where by_study_uid.exam_key is null
),

links as (
    select
        exam_key,
        study_uid,
        started_at,
        ended_at,
        link_method
    from by_study_uid
    union all
    select
        exam_key,
        study_uid,
        started_at,
        ended_at,
        link_method
    from by_accession
)

select
    exam_key,
    study_uid,
    link_method,
    started_at,
    ended_at
from links
