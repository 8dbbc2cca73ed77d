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
    study_uid,
    event_ts_utc as event_at,
    event_ts_local as event_at_local,
    ts_flag,
    asserted_ts_utc as asserted_at,
    received_at as arrived_at,
    source_sha,
    content_sha,
    actor_id as person_key,
    actor_org as person_org_code,
    aet as destination_ae_title,
    {{ json_text('attrs', 'source_aet') }} as source_ae_title,
    {{ json_text('attrs', 'audit_source') }} as audit_source_id,
    {{ json_text('attrs', 'audit_site') }} as audit_site_code,
    regexp_extract(status_raw, 'EventID=([^|]*)', 1) as event_code,
    regexp_extract(status_raw, 'Action=([^|]*)', 1) as action_code,
    cast({{ json_text('attrs', 'instances') }} as bigint) as instance_count,
    cast({{ json_text('attrs', 'seconds_to_first_image') }} as double) as first_image_seconds
from assertions
where source_kind = 'audit'
