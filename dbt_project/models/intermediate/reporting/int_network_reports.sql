{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_exams_folded': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        party_code,
        modality_group,
        first_verified_at,
        first_verified_at_local
    from {{ ref('int_exams_classified') }}
    where is_reported
),

reporters as (
    select
        exam_key,
        reporting_org_code,
        is_verified_date_only
    from {{ ref('int_exams_folded') }}
),

reporting_organisations as (
    select
        reporting_org_code,
        party_code
    from {{ ref('reporting_organisations') }}
    where organisation_type = 'network'
),

reporting_teams as (
    select
        party_code,
        modality_group,
        team
    from {{ ref('reporting_teams') }}
),

report_weights as (
    select
        modality_group,
        minutes_per_report
    from {{ ref('report_weights') }}
),

rostered_months as (
    select distinct
        party_code,
        team,
        month_on
    from {{ ref('int_reporting_sessions') }}
)

select
    exams.exam_key,
    exams.party_code as acquired_party_code,
    reporting_organisations.party_code as reported_party_code,
    exams.modality_group,
    reporting_teams.team,
    report_weights.minutes_per_report,
    exams.first_verified_at as verified_at,
    cast(exams.first_verified_at_local as date) as verified_on,
    rostered_months.month_on,
    reporters.is_verified_date_only
from exams
inner join reporters on exams.exam_key = reporters.exam_key
inner join reporting_organisations
    on reporters.reporting_org_code = reporting_organisations.reporting_org_code
inner join reporting_teams
    on
        reporting_organisations.party_code = reporting_teams.party_code
        and exams.modality_group = reporting_teams.modality_group
-- a month without a rota of the team tells nothing, and not that nobody was rostered
inner join rostered_months
    on
        reporting_teams.party_code = rostered_months.party_code
        and reporting_teams.team = rostered_months.team
        and {{ month_of('exams.first_verified_at_local') }} = rostered_months.month_on
left join report_weights on exams.modality_group = report_weights.modality_group
