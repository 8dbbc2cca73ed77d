with rejects as (
    select
        feed_kind,
        feed_id,
        file_name,
        rule,
        reason,
        scope
    from {{ ref('int_current_rejects') }}
)

select
    feed_kind,
    feed_id,
    file_name,
    rule,
    min(reason) as reason_example,
    scope,
    count(*) as reject_count
from rejects
group by feed_kind, feed_id, file_name, rule, scope
