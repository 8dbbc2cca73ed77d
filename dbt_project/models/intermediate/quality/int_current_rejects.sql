with rejects as (
    select
        feed_kind,
        feed_id,
        file_name,
        source_sha,
        row_no,
        rule,
        reason,
        column_name,
        scope,
        landed_at
    from {{ ref('stg_landing__rejects') }}
),

receipts as (
    select
        feed_kind,
        source_sha,
        landed_at
    from {{ ref('int_current_receipts') }}
),

-- a replay takes up every record its file had rejected: what it rejects again stands instead
replays as (
    select distinct
        feed_kind,
        replay_of as source_sha
    from {{ ref('int_current_receipts') }}
    where is_replay
)

select
    rejects.feed_kind,
    rejects.feed_id,
    rejects.file_name,
    rejects.source_sha,
    rejects.row_no,
    rejects.rule,
    rejects.reason,
    rejects.column_name,
    rejects.scope
from rejects
inner join receipts
    on
        rejects.feed_kind = receipts.feed_kind
        and rejects.source_sha = receipts.source_sha
        and rejects.landed_at = receipts.landed_at
left join replays
    on
        rejects.feed_kind = replays.feed_kind
        and rejects.source_sha = replays.source_sha
where replays.source_sha is null
