with accesses as (
    select
        event_id,
        -- what names no study and no exam stands for itself
        coalesce(subject_key, lower(hex(event_id))) as subject_key,
        person_key,
        access_class,
        event_at,
        event_at_local,
        access_context,
        viewing_party_code,
        acquired_party_code,
        acquired_trust_code,
        modality_group,
        acquirer_source,
        first_image_seconds,
        lag(event_at) over (
            partition by
                person_key, coalesce(subject_key, lower(hex(event_id))), access_class
            order by event_at, event_id
        ) as previous_at
    from {{ ref('int_image_accesses') }}
    where access_class in ('view', 'failed_launch')
),

-- a sitting goes on while the same person comes back to the same study within the gap
sittings as (
    select
        event_id,
        subject_key,
        person_key,
        access_class,
        event_at,
        first_image_seconds,
        sum(
            case
                when
                    previous_at is null
                    or {{ seconds_between('previous_at', 'event_at') }}
                    >= 60 * {{ var('view_gap_minutes') }}
                    then 1
                else 0
            end
        ) over (
            partition by person_key, subject_key, access_class
            order by event_at, event_id
            rows between unbounded preceding and current row
        ) as sitting_no
    from accesses
),

numbered as (
    select
        event_id,
        row_number() over (
            partition by person_key, subject_key, access_class, sitting_no
            order by event_at, event_id
        ) as access_no,
        count(*) over (
            partition by person_key, subject_key, access_class, sitting_no
        ) as access_count,
        max(event_at) over (
            partition by person_key, subject_key, access_class, sitting_no
        ) as ended_at,
        -- a viewer notes the time once, with the access that launched it
        {{ first_known('first_image_seconds') }} over (
            partition by person_key, subject_key, access_class, sitting_no
            order by event_at, event_id
            rows between unbounded preceding and unbounded following
        ) as first_image_seconds
    from sittings
)

select
    accesses.event_id as view_id,
    accesses.person_key,
    accesses.subject_key,
    accesses.access_class = 'failed_launch' as is_failed,
    accesses.event_at as started_at,
    accesses.event_at_local as started_at_local,
    {{ month_of('accesses.event_at_local') }} as month_on,
    numbered.ended_at,
    numbered.access_count,
    accesses.access_context,
    accesses.viewing_party_code,
    accesses.acquired_party_code,
    accesses.acquired_trust_code,
    accesses.modality_group,
    accesses.acquirer_source,
    case
        when accesses.acquired_party_code <> 'Unknown' and accesses.viewing_party_code <> 'Unknown'
            then accesses.acquired_party_code <> accesses.viewing_party_code
    end as is_cross_party,
    case when accesses.access_class = 'view' then numbered.first_image_seconds end
        as first_image_seconds
from accesses
inner join numbered on accesses.event_id = numbered.event_id
where numbered.access_no = 1
