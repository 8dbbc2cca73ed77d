with receipts as (
    select
        feed_kind,
        feed_id,
        rows_received,
        rows_landed,
        rows_rejected,
        rows_written,
        status,
        is_replay
    from {{ ref('int_current_receipts') }}
)

select
    feed_kind,
    feed_id,
    -- the records of a replay came with their file, and were rejected there: those that land
    -- now are taken off the rejects
    cast(sum(case when is_replay then 0 else rows_received end) as bigint) as rows_received,
    cast(sum(rows_landed) as bigint) as rows_landed,
    cast(sum(case when is_replay then -rows_landed else rows_rejected end) as bigint)
        as rows_rejected,
    cast(sum(rows_written) as bigint) as rows_written,
    count(*) filter (where not is_replay) as file_count,
    count(*) filter (where not is_replay and status = 'quarantined') as quarantined_file_count,
    -- every single file must add up; two errors may not cancel out in the total
    bool_and(
        coalesce(rows_received = rows_landed + rows_rejected, false)
    ) as is_reconciled
from receipts
group by feed_kind, feed_id
