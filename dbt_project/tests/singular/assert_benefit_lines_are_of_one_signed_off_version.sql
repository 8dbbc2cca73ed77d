-- Failure: lines of the benefit register are of several versions, or nobody signed them off.
select count(*) as line_count
from {{ ref('benefit_lines') }}
having
    count(distinct register_version) > 1
    or count(distinct signed_off_by_role) > 1
    or count(distinct signed_off_on) > 1
    or count(register_version) < count(*)
    or count(signed_off_by_role) < count(*)
    or count(signed_off_on) < count(*)
