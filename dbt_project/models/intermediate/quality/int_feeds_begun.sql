with receipts as (
    select
        feed_id,
        arrived_at
    from {{ ref('int_current_receipts') }}
    where status = 'landed' and not is_replay
)

-- what a feed tells of the days before its first delivery is history, not late
select
    feed_id,
    {{ utc_from_local(local_date('min(arrived_at)')) }} as begins_at
from receipts
group by feed_id
