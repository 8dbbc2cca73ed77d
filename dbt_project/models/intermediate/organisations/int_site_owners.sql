with sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

site_trust_history as (
    select
        site_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('site_trust_history') }}
),

owned as (
    select
        sites.site_code,
        sites.party_code,
        site_trust_history.trust_code,
        coalesce(site_trust_history.valid_from, date '1900-01-01') as valid_from,
        coalesce(site_trust_history.valid_to, date '9999-12-31') as valid_to
    from sites
    inner join site_trust_history on sites.site_code = site_trust_history.site_code
),

-- A request without a site still belongs to a party. Its trust is certain only while
-- all sites of the party have one owner.
changes as (
    select distinct
        party_code,
        valid_from
    from owned
),

next_changes as (
    select
        party_code,
        valid_from,
        lead(valid_from) over (partition by party_code order by valid_from) as next_valid_from
    from changes
),

periods as (
    select
        party_code,
        valid_from,
        coalesce({{ add_days('next_valid_from', -1) }}, date '9999-12-31') as valid_to
    from next_changes
),

siteless as (
    select
        'Unknown' as site_code,
        periods.party_code,
        case
            when count(distinct owned.trust_code) = 1 then min(owned.trust_code)
            else 'Unknown'
        end as trust_code,
        periods.valid_from,
        periods.valid_to
    from periods
    inner join owned
        on
            periods.party_code = owned.party_code
            and owned.valid_from <= periods.valid_from
            and owned.valid_to >= periods.valid_from
    group by periods.party_code, periods.valid_from, periods.valid_to
)

select
    site_code,
    party_code,
    trust_code,
    valid_from,
    valid_to
from owned
union all
select
    site_code,
    party_code,
    trust_code,
    valid_from,
    valid_to
from siteless
union all
select
    'Unknown' as site_code,
    'Unknown' as party_code,
    'Unknown' as trust_code,
    date '1900-01-01' as valid_from,
    date '9999-12-31' as valid_to
