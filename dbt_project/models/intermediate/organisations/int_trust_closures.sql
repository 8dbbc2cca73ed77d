with site_owners as (
    select
        trust_code,
        valid_to
    from {{ ref('int_site_owners') }}
)

select
    trust_code,
    nullif(max(valid_to), date '9999-12-31') as closed_on
from site_owners
group by trust_code
