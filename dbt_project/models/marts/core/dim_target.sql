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
    source_status,
    -- of those that are in force and fit a series, the lowest number is the one it is held against
    cast(
        row_number() over (
            partition by metric_id
            order by
                case when scope in ('national', 'all', 'local') then 1 else 0 end,
                case when scope = 'local' then 0 else 1 end,
                case when source_status = 'verified' then 0 else 1 end,
                valid_from desc nulls last,
                target_value,
                scope,
                comparator
        ) as integer
    ) as preference
from metric_targets
