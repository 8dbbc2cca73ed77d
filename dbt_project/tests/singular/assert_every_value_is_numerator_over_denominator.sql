-- Failure: a published rate cannot be recomputed from its own parts: it was averaged.
select
    metric_id,
    org_level,
    org_code,
    modality_group,
    period_start_on,
    numerator,
    denominator,
    value
from {{ ref('rpt_metrics_monthly') }}
where
    value is null
    or abs(value - numerator / coalesce(denominator, 1)) > 0.000000001
