-- Failure: a scanner would be busy for longer than it was staffed: minutes count twice.
select
    org_level,
    org_code,
    station_name,
    week_start_on,
    utilisation_rate
from {{ ref('rpt_scanner_utilisation_weekly') }}
where
    utilisation_rate > 1.000001
    or occupied_in_staffed_minutes > occupied_minutes + 0.000001
    or acquisition_minutes > occupied_minutes + 0.000001
