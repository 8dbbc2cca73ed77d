-- Failure: on some day a site belongs to two trusts, so its exams count twice.
with owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
)

select
    earlier.site_code,
    earlier.party_code,
    earlier.trust_code as earlier_trust_code,
    later.trust_code as later_trust_code,
    later.valid_from
from owners as earlier
inner join owners as later
    on
        earlier.site_code = later.site_code
        and earlier.party_code = later.party_code
        and earlier.valid_from < later.valid_from
where earlier.valid_to >= later.valid_from
