with metric_targets as (
    select
        metric_id,
        scope,
        comparator,
        target_value,
        unit,
        valid_from,
        valid_to,
        source,
        source_status
    from {{ ref('metric_targets') }}
)

select
    metric_id,
    scope,
    comparator,
    target_value,
    unit,
    valid_from,
    valid_to,
    source,
    source_status
from metric_targets
