with sites as (
    select
        site_code,
        site_name,
        party_code,
        source_status
    from {{ ref('sites') }}
),

current_owners as (
    select
        site_code,
        trust_code
    from {{ ref('int_site_owners') }}
    where valid_to = date '9999-12-31'
)

select
    sites.site_code,
    sites.site_name,
    sites.party_code,
    current_owners.trust_code as current_trust_code,
    sites.source_status
from sites
left join current_owners on sites.site_code = current_owners.site_code
