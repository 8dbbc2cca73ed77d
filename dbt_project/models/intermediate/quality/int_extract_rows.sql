{{ config(meta={'kept': {
    'by': 'source_sha',
    'inputs': {
        'stg_ris__events': 'source_sha',
        'receipts': 'source_sha',
        'stg_landing__receipts': 'source_sha',
    },
}}) }}

with ris_events as (
    select
        exam_key,
        site_code,
        feed_id,
        source_sha
    from {{ ref('stg_ris__events') }}
    -- every row tells when its exam was asked for, once
    where accession is not null and event_type = 'order_placed'
),

receipts as (
    select
        feed_kind,
        source_sha
    from {{ ref('stg_landing__receipts') }}
),

-- messages and audits tell of one exam many times; these tell of each once
extract_kinds as (
    select feed_kind
    from {{ ref('feed_needs') }}
    where subject_kind = 'metric' and subject_id = 'Q02'
)

select
    ris_events.exam_key,
    coalesce(ris_events.site_code, 'Unknown') as site_code,
    min(ris_events.feed_id) as feed_id,
    ris_events.source_sha,
    count(*) as row_count
from ris_events
inner join receipts on ris_events.source_sha = receipts.source_sha
inner join extract_kinds on receipts.feed_kind = extract_kinds.feed_kind
group by ris_events.exam_key, coalesce(ris_events.site_code, 'Unknown'), ris_events.source_sha
