with network as (
    select
        network_code,
        network_name
    from {{ ref('network') }}
),

parties as (
    select
        party_code,
        short_name,
        sort_order
    from {{ ref('dim_party') }}
),

trusts as (
    select
        trust_code,
        max_by(short_name, coalesce(valid_from, date '1900-01-01')) as short_name
    from {{ ref('dim_trust') }}
    group by trust_code
),

exams as (
    select
        party_code,
        trust_code
    from {{ ref('fct_exam') }}
),

-- shown only when some exam could not be placed
unplaced as (
    select
        'party' as org_level,
        9000 as sort_order
    from exams
    where party_code = 'Unknown'
    union
    select
        'trust' as org_level,
        9001 as sort_order
    from exams
    where trust_code = 'Unknown'
)

select
    'network' as org_level,
    network_code as org_code,
    network_name as org_name,
    0 as sort_order
from network
union all
select
    'party' as org_level,
    party_code as org_code,
    short_name as org_name,
    sort_order
from parties
union all
select
    'trust' as org_level,
    trusts.trust_code as org_code,
    trusts.short_name as org_name,
    100 + coalesce(parties.sort_order, 900) as sort_order
from trusts
left join parties on trusts.trust_code = parties.party_code
union all
select
    org_level,
    'Unknown' as org_code,
    'Site not known' as org_name,
    sort_order
from unplaced
