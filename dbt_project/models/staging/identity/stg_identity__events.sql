{{ config(meta={'kept': {
    'by': 'source_sha',
    'inputs': {
        'imaging_events': whole_deliveries(),
    },
}}) }}

with assertions as (
    select * from {{ source('landing', 'imaging_events') }}
)

select
    event_id,
    event_type,
    feed_id,
    issuer_ods,
    exam_key,
    prior_accession,
    placer_id,
    filler_id,
    obr_set,
    patient_key,
    prior_patient_key,
    event_ts_utc as event_at,
    asserted_ts_utc as asserted_at,
    source_sha,
    content_sha,
    -- ORC-1 of messages: RU names the number given up, RO the one that stands for it
    regexp_extract(coalesce(status_raw, ''), 'ORC1=([^|]*)', 1) as order_control
from assertions
-- ranks from 200: patients merged, exams under another number
where event_rank >= 200
