with receipts as (
    select
        feed_id,
        feed_kind,
        {{ local_date('arrived_at') }} as arrived_on
    from {{ ref('stg_landing__receipts') }}
    where landing_table = 'imaging_events' and status = 'landed'
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

feed_needs as (
    select feed_kind
    from {{ ref('feed_needs') }}
    where subject_kind = 'metric' and subject_id = 'U05'
)

-- An extract tells of no appointment that was given up; messages do. By deliveries and not by
-- their messages: which file of a sender has a message decides nothing.
select
    feeds.party_code,
    min(receipts.arrived_on) as first_day_on,
    max(receipts.arrived_on) as last_day_on
from receipts
inner join feeds on receipts.feed_id = feeds.feed_id
inner join feed_needs on receipts.feed_kind = feed_needs.feed_kind
group by feeds.party_code
