-- Failure: the planned money of a benefit differs between the network and its parties.
with totals as (
    select
        benefit_id,
        period_start_on,
        sum(case when org_level = 'network' then planned_value_gbp else 0 end) as network_total,
        sum(case when org_level = 'party' then planned_value_gbp else 0 end) as party_total
    from {{ ref('rpt_benefits_monthly') }}
    group by benefit_id, period_start_on
)

select
    benefit_id,
    period_start_on,
    network_total,
    party_total
from totals
where abs(network_total - party_total) > 0.005
