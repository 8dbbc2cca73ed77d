with site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
    where site_code <> 'Unknown'
),

-- a site that another trust gives up or takes over changes what this trust is
changes as (
    select valid_from
    from site_owners
    union
    select {{ add_days('valid_to', 1) }} as valid_from
    from site_owners
    where valid_to < date '9999-12-31'
),

periods as (
    select
        valid_from,
        coalesce(
            {{ add_days('lead(valid_from) over (order by valid_from)', -1) }}, date '9999-12-31'
        ) as valid_to
    from changes
),

shares as (
    select distinct
        site_owners.party_code,
        site_owners.trust_code,
        periods.valid_from,
        periods.valid_to
    from periods
    inner join site_owners
        on periods.valid_from between site_owners.valid_from and site_owners.valid_to
)

select
    party_code,
    trust_code,
    valid_from,
    valid_to
from shares
where trust_code <> 'Unknown'
qualify
    count(*) over (partition by party_code, valid_from) = 1
    and count(*) over (partition by trust_code, valid_from) = 1
