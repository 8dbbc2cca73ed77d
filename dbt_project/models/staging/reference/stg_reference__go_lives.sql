with go_lives as (
    select * from {{ source('landing', 'go_lives') }}
)

select
    party_code,
    go_live_type,
    go_live_on,
    source,
    source_status,
    note,
    feed_id,
    received_at as arrived_at
from go_lives
qualify row_number() over (
    partition by party_code, go_live_type
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
