{{ config(meta={'kept': {
    'by': 'old_key',
    'inputs': {
        'stg_ris__events': 'exam_key',
    },
}}) }}

with identity_events as (
    select
        event_id,
        event_type,
        issuer_ods,
        exam_key,
        prior_accession,
        placer_id,
        filler_id,
        coalesce(obr_set, 1) as obr_set,
        patient_key,
        event_at,
        asserted_at,
        content_sha,
        order_control
    from {{ ref('stg_identity__events') }}
),

ris_events as (
    select
        event_id,
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set,
        patient_key,
        asserted_at
    from {{ ref('stg_ris__events') }}
),

changes as (
    select
        issuer_ods,
        exam_key,
        prior_accession,
        placer_id,
        filler_id,
        obr_set,
        patient_key,
        event_at,
        asserted_at,
        order_control
    from identity_events
    where event_type = 'exam_reidentified' and exam_key is not null
    qualify row_number() over (
        partition by event_id
        order by asserted_at desc nulls last, content_sha
    ) = 1
),

-- The message tells both numbers.
told as (
    select
        issuer_ods || '|A|' || prior_accession as old_key,
        exam_key as new_key,
        patient_key,
        event_at,
        asserted_at
    from changes
    where prior_accession is not null
),

-- A message tells the number given up (RU) and the same or another message the one for it (RO);
-- the requester's number is the same. Where several are replaced, the first goes with the first.
halves as (
    select
        issuer_ods,
        placer_id,
        order_control,
        exam_key,
        max(patient_key) as patient_key,
        max(event_at) as event_at,
        max(asserted_at) as asserted_at,
        row_number() over (
            partition by issuer_ods, placer_id, order_control
            order by min(event_at) asc nulls last, min(obr_set) asc, exam_key asc
        ) as half_no,
        count(*) over (partition by issuer_ods, placer_id, order_control) as half_count
    from changes
    where order_control in ('RU', 'RO') and placer_id is not null
    group by issuer_ods, placer_id, order_control, exam_key
),

paired as (
    select
        given_up.exam_key as old_key,
        standing.exam_key as new_key,
        standing.patient_key,
        standing.event_at,
        standing.asserted_at
    from halves as given_up
    inner join halves as standing
        on
            given_up.issuer_ods = standing.issuer_ods
            and given_up.placer_id = standing.placer_id
            and given_up.half_no = standing.half_no
            and given_up.half_count = standing.half_count
    where given_up.order_control = 'RU' and standing.order_control = 'RO'
),

stated as (
    select
        old_key,
        new_key,
        patient_key,
        event_at,
        asserted_at
    from told
    union all
    select
        old_key,
        new_key,
        patient_key,
        event_at,
        asserted_at
    from paired
),

-- the few events that say anything of a change, read once
touched as (
    select
        event_id,
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        coalesce(obr_set, 1) as obr_set,
        patient_key,
        asserted_at
    from ris_events
    where
        exam_key in (select stated.old_key from stated)
        or filler_id in (select changes.filler_id from changes where changes.order_control = '')
),

-- The extract tells only the number of now; earlier ones told the order under another.
seen_before as (
    select
        touched.exam_key as old_key,
        changes.exam_key as new_key,
        changes.patient_key,
        changes.event_at,
        changes.asserted_at
    from changes
    inner join touched
        on
            changes.issuer_ods = touched.issuer_ods
            and changes.filler_id = touched.filler_id
            and changes.obr_set = touched.obr_set
            and changes.exam_key <> touched.exam_key
    where changes.order_control = '' and touched.accession is not null
    group by
        touched.exam_key,
        changes.exam_key,
        changes.patient_key,
        changes.event_at,
        changes.asserted_at
    having max(touched.asserted_at) < changes.asserted_at
),

every_change as (
    select
        old_key,
        new_key,
        patient_key,
        event_at,
        asserted_at
    from stated
    union all
    select
        old_key,
        new_key,
        patient_key,
        event_at,
        asserted_at
    from seen_before
),

latest_changes as (
    select
        old_key,
        new_key,
        patient_key,
        event_at
    from every_change
    where old_key <> new_key
    qualify row_number() over (
        partition by old_key
        order by asserted_at desc nulls last, event_at desc nulls last, new_key
    ) = 1
),

old_patients as (
    select
        exam_key,
        patient_key
    from touched
    where patient_key is not null
    qualify row_number() over (
        partition by exam_key
        order by asserted_at desc nulls last, event_id
    ) = 1
)

select
    latest_changes.old_key,
    latest_changes.new_key,
    old_patients.patient_key as old_patient_key,
    latest_changes.patient_key as new_patient_key,
    latest_changes.event_at as changed_at
from latest_changes
left join old_patients on latest_changes.old_key = old_patients.exam_key
