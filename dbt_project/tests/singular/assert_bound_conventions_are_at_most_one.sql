-- Failure: a convention that cannot exceed 1 does: its numerator counts minutes twice.
select
    org_level,
    org_code,
    modality_group,
    station_name,
    month_on,
    convention
from {{ ref('rpt_utilisation_conventions_monthly') }}
where is_at_most_one and utilisation_rate > 1.000001
