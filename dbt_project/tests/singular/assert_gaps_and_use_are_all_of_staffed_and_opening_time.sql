-- Failure: minutes of a scanner are in no class, or in two.
select
    org_level,
    org_code,
    modality_group,
    station_name,
    week_start_on,
    time_basis
from {{ ref('rpt_station_gaps_weekly') }}
where
    abs(
        total_minutes
        - occupied_minutes
        - changeover_minutes
        - idle_minutes
        - late_start_minutes
        - early_finish_minutes
        - planned_downtime_minutes
        - unplanned_downtime_minutes
        - quality_assurance_minutes
        - not_staffed_minutes
        - no_rota_known_minutes
    ) > 0.000001
    or (time_basis = 'staffed' and not_staffed_minutes + no_rota_known_minutes > 0)
