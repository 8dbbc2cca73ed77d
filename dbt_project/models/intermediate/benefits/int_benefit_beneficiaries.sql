with benefits as (
    select
        benefit_id,
        beneficiary_code,
        planned_value_gbp_per_year
    from {{ ref('stg_finance__benefits') }}
),

parties as (
    select party_code
    from {{ ref('programme_parties') }}
),

-- a party is live when the last of its go-lives has happened
party_go_lives as (
    select
        party_code,
        max(go_live_on) as live_on
    from {{ ref('stg_reference__go_lives') }}
    group by party_code
),

shared as (
    select
        benefits.benefit_id,
        parties.party_code,
        benefits.planned_value_gbp_per_year,
        count(*) over (partition by benefits.benefit_id) as party_count
    from benefits
    inner join parties
        on
            benefits.beneficiary_code = 'NETWORK'
            or benefits.beneficiary_code = parties.party_code
)

-- a benefit of the whole network is planned in equal parts, each from its own go-live
select
    shared.benefit_id,
    shared.party_code,
    party_go_lives.live_on,
    shared.planned_value_gbp_per_year / 12 / shared.party_count as planned_value_gbp_per_month
from shared
left join party_go_lives on shared.party_code = party_go_lives.party_code
