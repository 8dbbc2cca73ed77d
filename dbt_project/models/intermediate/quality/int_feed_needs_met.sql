with needs as (
    select
        subject_kind,
        subject_id,
        subject_name,
        need_group,
        feed_kind
    from {{ ref('feed_needs') }}
),

parties as (
    select party_code
    from {{ ref('programme_parties') }}
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

receipts as (
    select distinct
        feed_id,
        feed_kind
    from {{ ref('int_current_receipts') }}
    where rows_landed > 0
),

-- a feed of the whole network speaks for every party
held as (
    select distinct
        parties.party_code,
        receipts.feed_kind
    from receipts
    inner join feeds on receipts.feed_id = feeds.feed_id
    inner join parties on feeds.party_code = parties.party_code or feeds.party_code is null
),

asked as (
    select
        parties.party_code,
        needs.subject_kind,
        needs.subject_id,
        needs.subject_name,
        needs.need_group,
        needs.feed_kind,
        held.feed_kind is not null as is_held
    from needs
    cross join parties
    left join held
        on
            parties.party_code = held.party_code
            and needs.feed_kind = held.feed_kind
)

-- of a group any one kind is enough
select
    party_code,
    subject_kind,
    subject_id,
    subject_name,
    need_group,
    {{ listed('feed_kind', "' or '", 'feed_kind') }} as needed,
    {{ listed('feed_kind', "', '", 'feed_kind', where='is_held') }} as held,
    bool_or(is_held) as is_met
from asked
group by party_code, subject_kind, subject_id, subject_name, need_group
