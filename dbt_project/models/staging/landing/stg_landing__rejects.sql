with rejects as (
    select * from {{ source('landing', 'rejects') }}
)

select
    feed_id,
    feed_kind,
    file_name,
    source_sha,
    row_no,
    rule,
    reason,
    column_name,
    scope,
    landed_at
from rejects
