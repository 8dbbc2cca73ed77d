-- Failure: what parties read for one another does not balance over the network: somebody gives
-- time that nobody gets, or the matrix of who reports for whom and its balance count other reports.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_reporting_balance_monthly'}}}) }}
with balances as (
    select
        modality_group,
        month_on,
        sum(given_report_count) as given_count,
        sum(received_report_count) as received_count,
        sum(balance_minutes) as balance_minutes,
        sum(balance_low_gbp) as balance_low_gbp,
        sum(balance_high_gbp) as balance_high_gbp
    from {{ ref('rpt_reporting_balance_monthly') }}
    group by modality_group, month_on
),

network as (
    select
        modality_group,
        month_on,
        cross_site_count
    from {{ ref('rpt_cross_site_reporting_monthly') }}
    where acquired_org_level = 'network' and reported_org_code = 'All'
)

select
    network.modality_group,
    network.month_on,
    network.cross_site_count,
    balances.given_count,
    balances.received_count,
    balances.balance_minutes
from network
left join balances
    on
        network.modality_group = balances.modality_group
        and network.month_on = balances.month_on
where
    network.cross_site_count <> coalesce(balances.given_count, 0)
    or network.cross_site_count <> coalesce(balances.received_count, 0)
    or abs(coalesce(balances.balance_minutes, 0)) > 0.001
    or abs(coalesce(balances.balance_low_gbp, 0)) > 0.001
    or abs(coalesce(balances.balance_high_gbp, 0)) > 0.001
