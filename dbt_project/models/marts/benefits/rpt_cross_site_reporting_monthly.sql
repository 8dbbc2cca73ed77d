with reports as (
    select
        acquired_party_code,
        reporting_org_code,
        modality_group,
        organisation_type,
        is_cross_site,
        {{ month_of('verified_at_local') }} as month_on
    from {{ ref('fct_report') }}
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

counted as (
    select
        reports.acquired_party_code,
        reports.reporting_org_code,
        reports.modality_group,
        reports.month_on,
        count(*) as report_count,
        count(*) filter (where reports.organisation_type <> 'unknown') as known_report_count,
        count(*) filter (where reports.organisation_type = 'network') as network_report_count,
        count(*) filter (where reports.is_cross_site) as cross_site_count,
        count(*) filter (where reports.organisation_type = 'outsource') as outsourced_count
    from reports
    inner join months on reports.month_on = months.month_on
    group by
        reports.acquired_party_code,
        reports.reporting_org_code,
        reports.modality_group,
        reports.month_on
),

rolled_up as (
    select
        case when grouping(acquired_party_code) = 0 then 'party' else 'network' end
            as acquired_org_level,
        case
            when grouping(acquired_party_code) = 0 then acquired_party_code
            else 'NETWORK'
        end as acquired_org_code,
        {{ or_all('reporting_org_code') }} as reported_org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        cast(sum(report_count) as bigint) as report_count,
        sum(known_report_count) as known_report_count,
        cast(sum(network_report_count) as bigint) as network_report_count,
        cast(sum(cross_site_count) as bigint) as cross_site_count,
        cast(sum(outsourced_count) as bigint) as outsourced_count
    from counted
    {{ roll_up(
        ['month_on'],
        or_all=['reporting_org_code', 'modality_group'],
        organisations=['acquired_party_code']
    ) }}
)

select
    acquired_org_level,
    acquired_org_code,
    reported_org_code,
    modality_group,
    month_on,
    report_count,
    network_report_count,
    cross_site_count,
    {{ ratio('cross_site_count', 'network_report_count') }} as cross_site_rate,
    outsourced_count,
    -- where no report names who wrote it, nobody knows whether a supplier did
    case when known_report_count > 0 then {{ ratio('outsourced_count', 'report_count') }} end
        as outsourced_rate
from rolled_up
