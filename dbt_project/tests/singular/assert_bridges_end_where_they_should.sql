-- Failure: on the page the steps of a bridge do not add up to its end.
select
    org_level,
    org_code,
    modality_group,
    station_name,
    month_on,
    bridge_no,
    sum(case when step_kind = 'to' then -step_minutes else step_minutes end) as rest_minutes
from {{ ref('rpt_utilisation_bridges_monthly') }}
group by org_level, org_code, modality_group, station_name, month_on, bridge_no
having abs(sum(case when step_kind = 'to' then -step_minutes else step_minutes end)) > 0.000001
