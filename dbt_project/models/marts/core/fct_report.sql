{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'fct_exam': 'exam_key',
        'int_exams_folded': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        first_verified_at,
        first_verified_at_local,
        turnaround_minutes
    from {{ ref('fct_exam') }}
    where is_reported
),

reporters as (
    select
        exam_key,
        reporting_org_code,
        coalesce(is_verified_date_only, false) as is_date_only
    from {{ ref('int_exams_folded') }}
),

reporting_organisations as (
    select
        reporting_org_code,
        organisation_type,
        party_code
    from {{ ref('reporting_organisations') }}
)

select
    exams.exam_key,
    exams.party_code as acquired_party_code,
    exams.trust_code as acquired_trust_code,
    exams.modality_group,
    exams.first_verified_at as verified_at,
    exams.first_verified_at_local as verified_at_local,
    coalesce(reporters.reporting_org_code, 'Unknown') as reporting_org_code,
    coalesce(reporting_organisations.organisation_type, 'unknown') as organisation_type,
    case
        when reporting_organisations.organisation_type = 'network'
            then reporting_organisations.party_code
    end as reported_party_code,
    coalesce(
        reporting_organisations.organisation_type = 'network'
        and reporting_organisations.party_code <> exams.party_code,
        false
    ) as is_cross_site,
    -- a report of which only the day is told has no hour
    case
        when not reporters.is_date_only
            then
                {{ iso_weekday('exams.first_verified_at_local') }}
                >= {{ var('out_of_hours_from_weekday') }}
                or hour(exams.first_verified_at_local) >= {{ var('out_of_hours_from') }}
                or hour(exams.first_verified_at_local) < {{ var('out_of_hours_until') }}
    end as is_out_of_hours,
    exams.turnaround_minutes
from exams
inner join reporters on exams.exam_key = reporters.exam_key
left join reporting_organisations
    on reporters.reporting_org_code = reporting_organisations.reporting_org_code
