with accesses as (
    select
        event_id,
        coalesce(subject_key, lower(hex(event_id))) as subject_key,
        event_at,
        event_at_local,
        source_party_code,
        destination_party_code,
        instance_count
    from {{ ref('int_image_accesses') }}
    where access_class = 'transfer'
),

-- sender and receiver may both tell, and a study may go in several associations
gaps as (
    select
        event_id,
        subject_key,
        event_at,
        event_at_local,
        source_party_code,
        destination_party_code,
        instance_count,
        lag(event_at) over (
            partition by subject_key, source_party_code, destination_party_code
            order by event_at, event_id
        ) as previous_at
    from accesses
)

select
    event_id as transfer_id,
    subject_key,
    event_at as sent_at,
    event_at_local as sent_at_local,
    {{ month_of('event_at_local') }} as month_on,
    source_party_code,
    destination_party_code,
    instance_count as first_instance_count
from gaps
where
    previous_at is null
    or {{ seconds_between('previous_at', 'event_at') }} >= 60 * {{ var('view_gap_minutes') }}
