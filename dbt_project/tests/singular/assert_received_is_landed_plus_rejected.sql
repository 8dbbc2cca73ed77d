-- Failure: records of a file were neither landed nor rejected: data are lost without trace.
select
    feed_id,
    file_name,
    rows_received,
    rows_landed,
    rows_rejected
from {{ ref('stg_landing__receipts') }}
where coalesce(rows_received <> rows_landed + rows_rejected, true)
