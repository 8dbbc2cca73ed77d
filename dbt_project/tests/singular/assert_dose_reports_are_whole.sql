-- Failure: a dose report of landing lost or gained rows, lost its header, or was never looked
-- into: doses are too low, or an event counts twice. Headers that landed before the first dose
-- report did are of a version that read none.
{{ config(meta={'dagster': {'ref': {'name': 'stg_dicom__dose_events'}}}) }}
with dose_reports as (
    select
        source_sha,
        content_sha,
        count(*) as row_count,
        count(distinct event_no) as place_count,
        min(report_row_count) as told_count
    from {{ source('landing', 'dose_events') }}
    group by source_sha, content_sha
),

headers as (
    select
        source_sha,
        content_sha,
        sop_class_uid,
        landed_at
    from {{ source('landing', 'dicom_headers') }}
    where sop_class_uid like '1.2.840.10008.5.1.4.1.1.88.%'
),

since as (
    select min(landed_at) as first_landed_at
    from {{ source('landing', 'dose_events') }}
)

select
    coalesce(dose_reports.source_sha, headers.source_sha) as source_sha,
    coalesce(dose_reports.content_sha, headers.content_sha) as content_sha,
    headers.sop_class_uid,
    dose_reports.row_count,
    dose_reports.told_count
from dose_reports
full outer join headers
    on
        dose_reports.source_sha = headers.source_sha
        and dose_reports.content_sha = headers.content_sha
cross join since
where
    headers.content_sha is null
    or dose_reports.row_count <> dose_reports.told_count
    or dose_reports.place_count <> dose_reports.told_count
    or (
        dose_reports.content_sha is null
        and headers.landed_at >= since.first_landed_at
        and right(headers.sop_class_uid, 3) in ('.67', '.68', '.76')
    )
