with receipts as (
    select
        feed_kind,
        feed_id,
        source_sha,
        replay_of,
        arrived_at,
        landed_at,
        rows_received,
        rows_landed,
        rows_rejected,
        rows_written,
        status
    from {{ ref('stg_landing__receipts') }}
)

select
    receipts.feed_kind,
    receipts.feed_id,
    receipts.source_sha,
    receipts.replay_of,
    receipts.arrived_at,
    receipts.landed_at,
    receipts.rows_received,
    receipts.rows_landed,
    receipts.rows_rejected,
    receipts.rows_written,
    receipts.status,
    -- a refused file replayed whole has its own hash, and is a reading like any other
    coalesce(receipts.replay_of <> receipts.source_sha, false) as is_replay
from receipts
left join receipts as replayed
    on
        receipts.feed_kind = replayed.feed_kind
        and receipts.replay_of = replayed.source_sha
-- when the file was read again after the replay, that reading took these records along
where coalesce(receipts.landed_at >= replayed.landed_at, true)
