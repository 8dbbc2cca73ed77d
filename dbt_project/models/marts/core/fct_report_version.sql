{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_report_versions': 'exam_key',
        'fct_exam': 'exam_key',
    },
}}) }}

with versions as (
    select
        exam_key,
        version_no,
        version_kind,
        is_decided_by_text,
        issued_at,
        issued_at_local,
        is_date_only,
        reporting_org_code,
        reporter_role,
        word_count
    from {{ ref('int_report_versions') }}
),

exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        first_verified_at
    from {{ ref('fct_exam') }}
),

reporting_organisations as (
    select
        reporting_org_code,
        organisation_type
    from {{ ref('reporting_organisations') }}
)

select
    versions.exam_key,
    cast(versions.version_no as integer) as version_no,
    exams.party_code as acquired_party_code,
    exams.trust_code as acquired_trust_code,
    exams.modality_group,
    versions.version_kind,
    versions.is_decided_by_text,
    versions.issued_at,
    versions.issued_at_local,
    versions.is_date_only,
    case
        when not versions.is_date_only and versions.issued_at >= exams.first_verified_at
            then {{ minutes_between('exams.first_verified_at', 'versions.issued_at') }}
    end as minutes_after_first_final,
    coalesce(versions.reporting_org_code, 'Unknown') as reporting_org_code,
    coalesce(reporting_organisations.organisation_type, 'unknown') as organisation_type,
    versions.reporter_role,
    versions.word_count
from versions
inner join exams on versions.exam_key = exams.exam_key
left join reporting_organisations
    on versions.reporting_org_code = reporting_organisations.reporting_org_code
