with receipts as (
    select * from {{ source('landing', 'receipts') }}
)

select
    feed_id,
    feed_kind,
    file_name,
    source_sha,
    delivered_on,
    received_at as arrived_at,
    landed_at,
    parser_version,
    landing_table,
    rows_received,
    rows_landed,
    rows_rejected,
    rows_written,
    status,
    failed_rule,
    detail
from receipts
