{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'fct_report': month_of('verified_at_local'),
    },
}}) }}

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

report_weights as (
    select
        modality_group,
        minutes_per_report
    from {{ ref('report_weights') }}
),

reader_hours as (
    select
        low_gbp,
        high_gbp,
        source_status
    from {{ ref('stg_finance__unit_costs') }}
    where assumption_id = '{{ var("reader_hour_assumption") }}'
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
        count(*) filter (where reports.organisation_type = 'outsource') as outsourced_count,
        -- a modality that is reported on the spot has no weight
        coalesce({{ exact_sum('report_weights.minutes_per_report') }}, 0) as weighted_minutes
    from reports
    inner join months on reports.month_on = months.month_on
    left join report_weights on reports.modality_group = report_weights.modality_group
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
        cast(sum(outsourced_count) as bigint) as outsourced_count,
        {{ exact_sum('weighted_minutes') }} as weighted_minutes
    from counted
    {{ roll_up(
        ['month_on'],
        or_all=['reporting_org_code', 'modality_group'],
        organisations=['acquired_party_code']
    ) }}
)

select
    rolled_up.acquired_org_level,
    rolled_up.acquired_org_code,
    rolled_up.reported_org_code,
    rolled_up.modality_group,
    rolled_up.month_on,
    rolled_up.report_count,
    rolled_up.network_report_count,
    rolled_up.cross_site_count,
    {{ ratio('rolled_up.cross_site_count', 'rolled_up.network_report_count') }} as cross_site_rate,
    rolled_up.outsourced_count,
    -- where no report names who wrote it, nobody knows whether a supplier did
    case
        when rolled_up.known_report_count > 0
            then {{ ratio('rolled_up.outsourced_count', 'rolled_up.report_count') }}
    end as outsourced_rate,
    rolled_up.weighted_minutes,
    round(rolled_up.weighted_minutes / 60 * reader_hours.low_gbp, 6) as reader_time_low_gbp,
    round(rolled_up.weighted_minutes / 60 * reader_hours.high_gbp, 6) as reader_time_high_gbp,
    reader_hours.source_status as reader_hour_source_status
from rolled_up
-- without that unit cost there are minutes and no pounds
left join reader_hours on true
