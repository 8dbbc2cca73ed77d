with benefits as (
    select
        benefit_id,
        beneficiary_code
    from {{ ref('stg_finance__benefits') }}
),

parties as (
    select party_code
    from {{ ref('programme_parties') }}
)

-- a benefit of the whole network is one of each party
select
    benefits.benefit_id,
    parties.party_code
from benefits
inner join parties
    on
        benefits.beneficiary_code = 'NETWORK'
        or benefits.beneficiary_code = parties.party_code
