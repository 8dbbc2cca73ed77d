{{ config(meta={'kept': {
    'by': 'exam_key',
    'in_parts': True,
    'inputs': {
        'stg_ris__events': told_under_any_number(),
        'stg_reporting__reports': told_under_any_number(),
        'int_exam_aliases': {
            'touches': 'select alias_key from {changes} union all select exam_key from {changes}',
        },
    },
}}) }}

with ris_events as (
    select {{ event_columns() }}
    from {{ ref('stg_ris__events') }}
),

reports as (
    select {{ event_columns() }}
    from {{ ref('stg_reporting__reports') }}
),

assertions as (
    select {{ event_columns() }}
    from ris_events
    union all
    select {{ event_columns() }}
    from reports
),

-- few are, and all others need not be sorted
told_again as (
    select event_id
    from assertions
    where exam_key is not null
    group by event_id
    having count(*) > 1
),

-- The same event told again is one event; the latest assertion stands for it. Of one message told
-- twice the first arrival stands, and of two of its orders for one exam the first.
latest_told as (
    select {{ event_columns() }}
    from assertions
    where exam_key is not null and event_id in (select told_again.event_id from told_again)
    qualify row_number() over (
        partition by event_id
        order by asserted_at desc nulls last, content_sha, obr_set, arrived_at
    ) = 1
),

events as (
    select {{ event_columns() }}
    from assertions
    where exam_key is not null and event_id not in (select told_again.event_id from told_again)
    union all
    select {{ event_columns() }}
    from latest_told
),

aliases as (
    select
        alias_key,
        exam_key,
        why in ('accession_changed', 'moved_patient') as is_given_up
    from {{ ref('int_exam_aliases') }}
),

resolved as (
    select
        events.event_id,
        events.event_type,
        events.event_rank,
        events.feed_id,
        events.issuer_ods,
        -- a number given up is no longer the exam's
        case when not coalesce(aliases.is_given_up, false) then events.accession end as accession,
        coalesce(aliases.exam_key, events.exam_key) as exam_key,
        events.study_uid,
        events.patient_key,
        events.nhs_number_valid,
        events.sex,
        events.age_band,
        events.ethnic_category,
        events.deprivation_quintile,
        events.event_at,
        events.event_at_local,
        events.asserted_at,
        events.arrived_at,
        events.site_code,
        events.station_name,
        events.dicom_modality,
        events.exam_code,
        events.priority_code,
        events.source_setting,
        events.actor_org_code,
        events.scheduled_for,
        lower(trim(events.reason)) as reason,
        coalesce(events.ts_precision, '') = 'd' as is_date_only,
        coalesce(events.ts_flag, '') in ({{ unusable_time_flags() }}) as is_time_doubtful
    from events
    left join aliases on events.exam_key = aliases.alias_key
    -- a request cancelled under a number given up goes on under the one that stands for it
    where not (coalesce(aliases.is_given_up, false) and events.event_type = 'order_cancelled')
)

select
    event_id,
    event_type,
    event_rank,
    feed_id,
    issuer_ods,
    accession,
    exam_key,
    study_uid,
    patient_key,
    nhs_number_valid,
    sex,
    age_band,
    ethnic_category,
    deprivation_quintile,
    event_at,
    event_at_local,
    asserted_at,
    arrived_at,
    site_code,
    station_name,
    dicom_modality,
    exam_code,
    priority_code,
    source_setting,
    actor_org_code,
    scheduled_for,
    reason,
    is_date_only,
    is_time_doubtful,
    -- Higher means asserted later. Arrival order never decides, and the bare day of an exam
    -- never stands in the way of a time.
    row_number() over (
        partition by exam_key
        order by
            is_date_only and event_type in ('exam_started', 'exam_completed') desc,
            asserted_at asc nulls first, event_at asc nulls first, event_id asc
    ) as assertion_no
from resolved
