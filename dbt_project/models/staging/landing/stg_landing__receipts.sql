with receipts as (
    select * from {{ source('landing', 'receipts') }}
)

select
    feed_id,
    feed_kind,
    file_name,
    source_sha,
    -- Rejected records keep their bytes, and so their hash, however often they are replayed: they
    -- stay those of the file that they came with, which their first replay names.
    case
        when replay_of = source_sha
            then
                coalesce(
                    max(nullif(replay_of, source_sha)) over (partition by feed_kind, source_sha),
                    replay_of
                )
        else replay_of
    end as replay_of,
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
-- the same bytes read again (a replay of a refused file, a newer reader): the last reading counts
qualify row_number() over (
    partition by feed_kind, source_sha
    order by landed_at desc nulls last, file_name
) = 1
