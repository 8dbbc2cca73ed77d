with programme_parties as (
    select
        party_code,
        party_name,
        short_name,
        sort_order,
        source_status
    from {{ ref('programme_parties') }}
)

select
    party_code,
    party_name,
    short_name,
    sort_order,
    source_status
from programme_parties
