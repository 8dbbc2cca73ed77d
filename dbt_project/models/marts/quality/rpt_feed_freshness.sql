with feeds as (
    select
        feed_id,
        feed_kind,
        party_code,
        coverage
    from {{ ref('feeds') }}
),

receipts as (
    select
        feed_id,
        feed_kind,
        arrived_at,
        status
    from {{ ref('int_current_receipts') }}
    where not is_replay
),

exam_events as (
    select
        feed_id,
        max(event_at) as as_at
    from {{ ref('int_exam_events') }}
    where event_at <= arrived_at + interval '{{ var("future_tolerance_hours") }} hours'
    group by feed_id
),

acquisitions as (
    select
        feed_id,
        'dicom' as feed_kind,
        started_at,
        arrived_at
    from {{ ref('stg_dicom__instances') }}
    union all
    select
        feed_id,
        'dicom_series' as feed_kind,
        started_at,
        arrived_at
    from {{ ref('stg_dicom__series') }}
),

newest_acquisitions as (
    select
        feed_id,
        feed_kind,
        max(started_at) as as_at
    from acquisitions
    where started_at <= arrived_at + interval '{{ var("future_tolerance_hours") }} hours'
    group by feed_id, feed_kind
),

files as (
    select
        feed_id,
        feed_kind,
        max(arrived_at) as last_received_at,
        max(arrived_at) filter (where status = 'landed') as last_landed_at,
        count(*) as file_count,
        count(*) filter (where status = 'quarantined') as quarantined_file_count
    from receipts
    group by feed_id, feed_kind
),

-- An archive may deliver files, series lists or both under one entry of the registry: each that
-- came has a row of its own, and the kind of the registry stands only where nothing came.
known as (
    select
        coalesce(feeds.feed_id, files.feed_id) as feed_id,
        coalesce(files.feed_kind, feeds.feed_kind) as feed_kind,
        coalesce(feeds.party_code, 'NETWORK') as party_code,
        -- what came once, and will not come again by this way
        coalesce(feeds.coverage = 'history', false) and files.last_landed_at is not null
            as is_finished,
        files.last_received_at,
        files.last_landed_at,
        coalesce(files.file_count, 0) as file_count,
        coalesce(files.quarantined_file_count, 0) as quarantined_file_count
    from feeds
    full outer join files on feeds.feed_id = files.feed_id
),

dated as (
    select
        known.party_code,
        known.feed_id,
        known.feed_kind,
        known.is_finished,
        coalesce(newest_acquisitions.as_at, exam_events.as_at) is not null as tells_of_exams,
        -- a list is as new as the last file of it that landed: a rota is about days to come
        coalesce(newest_acquisitions.as_at, exam_events.as_at, known.last_landed_at) as as_at,
        known.last_received_at,
        known.file_count,
        known.quarantined_file_count
    from known
    left join exam_events on known.feed_id = exam_events.feed_id
    left join newest_acquisitions
        on
            known.feed_id = newest_acquisitions.feed_id
            and known.feed_kind = newest_acquisitions.feed_kind
)

select
    party_code,
    feed_id,
    feed_kind,
    as_at,
    {{ local_from_utc('as_at') }} as as_at_local,
    last_received_at,
    tells_of_exams,
    file_count,
    quarantined_file_count,
    -- against its own kind: one silent feed shows even when the whole network is days old, and a
    -- kind that nobody sends is behind nobody
    not is_finished
    and max(as_at) over (partition by feed_kind) is not null
    and coalesce(
        as_at < max(as_at) over (partition by feed_kind)
        - interval '{{ var("late_after_hours") }} hours',
        true
    ) as is_late
from dated
