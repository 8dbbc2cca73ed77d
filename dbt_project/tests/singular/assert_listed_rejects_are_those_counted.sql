-- Failure: the list of rejects and the reconciliation disagree: a reject is counted twice, or has
-- no reason that a reader could look up.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_reconciliation'}}}) }}
with listed as (
    select
        feed_kind,
        feed_id,
        sum(reject_count) as reject_count
    from {{ ref('rpt_rejects') }}
    group by feed_kind, feed_id
),

counted as (
    select
        feed_kind,
        feed_id,
        rows_rejected
    from {{ ref('rpt_reconciliation') }}
)

select
    counted.feed_kind,
    counted.feed_id,
    counted.rows_rejected,
    listed.reject_count
from counted
full outer join listed
    on
        counted.feed_kind = listed.feed_kind
        and counted.feed_id = listed.feed_id
where coalesce(counted.rows_rejected, 0) <> coalesce(listed.reject_count, 0)
