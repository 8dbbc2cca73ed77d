with cells as (
    select
        acquired_org_code as acquired_party_code,
        reported_org_code,
        modality_group,
        month_on,
        cross_site_count,
        weighted_minutes,
        reader_time_low_gbp,
        reader_time_high_gbp,
        reader_hour_source_status
    from {{ ref('rpt_cross_site_reporting_monthly') }}
    where
        acquired_org_level = 'party'
        and reported_org_code <> 'All'
        and cross_site_count > 0
),

reporting_organisations as (
    select
        reporting_org_code,
        party_code
    from {{ ref('reporting_organisations') }}
),

-- each cell twice: given by the party that reported, received by the one that has the exam
sides as (
    select
        reporting_organisations.party_code,
        cells.modality_group,
        cells.month_on,
        cells.reader_hour_source_status,
        cells.cross_site_count as given_report_count,
        0 as received_report_count,
        cells.weighted_minutes as given_minutes,
        0.0 as received_minutes,
        cells.reader_time_low_gbp as balance_low_gbp,
        cells.reader_time_high_gbp as balance_high_gbp
    from cells
    inner join reporting_organisations
        on cells.reported_org_code = reporting_organisations.reporting_org_code
    union all
    select
        acquired_party_code as party_code,
        modality_group,
        month_on,
        reader_hour_source_status,
        0 as given_report_count,
        cross_site_count as received_report_count,
        0.0 as given_minutes,
        weighted_minutes as received_minutes,
        -reader_time_low_gbp as balance_low_gbp,
        -reader_time_high_gbp as balance_high_gbp
    from cells
)

select
    party_code,
    modality_group,
    month_on,
    cast(sum(given_report_count) as bigint) as given_report_count,
    cast(sum(received_report_count) as bigint) as received_report_count,
    round(sum(given_minutes), 6) as given_minutes,
    round(sum(received_minutes), 6) as received_minutes,
    round(sum(given_minutes) - sum(received_minutes), 6) as balance_minutes,
    round(sum(balance_low_gbp), 6) as balance_low_gbp,
    round(sum(balance_high_gbp), 6) as balance_high_gbp,
    max(reader_hour_source_status) as reader_hour_source_status
from sides
group by party_code, modality_group, month_on
