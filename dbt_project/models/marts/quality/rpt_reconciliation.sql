with receipts as (
    select
        feed_kind,
        feed_id,
        rows_received,
        rows_landed,
        rows_rejected,
        rows_written,
        status
    from {{ ref('stg_landing__receipts') }}
)

select
    feed_kind,
    feed_id,
    cast(sum(rows_received) as bigint) as rows_received,
    cast(sum(rows_landed) as bigint) as rows_landed,
    cast(sum(rows_rejected) as bigint) as rows_rejected,
    cast(sum(rows_written) as bigint) as rows_written,
    count(*) as file_count,
    count(*) filter (where status = 'quarantined') as quarantined_file_count,
    -- every single file must add up; two errors may not cancel out in the total
    bool_and(
        coalesce(rows_received = rows_landed + rows_rejected, false)
    ) as is_reconciled
from receipts
group by feed_kind, feed_id
