with receipts as (
    select feed_id
    from {{ ref('stg_landing__receipts') }}
    -- what is known of image access says nothing of who waits
    where
        landing_table = 'imaging_events'
        and status = 'landed'
        and feed_kind is distinct from 'image_access'
),

feeds as (
    select
        feed_id,
        party_code,
        coverage
    from {{ ref('feeds') }}
)

-- whoever tells only of exams that were done cannot tell who still waits
select feeds.party_code
from receipts
inner join feeds on receipts.feed_id = feeds.feed_id
where feeds.party_code is not null
group by feeds.party_code
having bool_and(feeds.coverage = 'performed')
