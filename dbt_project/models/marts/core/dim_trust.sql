with trusts as (
    select
        trust_code,
        trust_name,
        short_name,
        valid_from,
        valid_to
    from {{ ref('trusts') }}
)

select
    trust_code,
    trust_name,
    short_name,
    valid_from,
    valid_to,
    valid_to is null as is_current
from trusts
