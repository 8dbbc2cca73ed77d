{{ config(meta={'kept': {
    'by': 'exam_key',
    'in_parts': True,
    'inputs': {
        'int_exam_events': 'exam_key',
        'int_exams_folded': 'exam_key',
        'int_exams_timed': 'exam_key',
        'int_exam_study_links': 'exam_key',
        'int_dicom_series': images_of_linked_studies(),
        'int_image_accesses': {
            'touches':
                'select exam_key from {changes} where exam_key is not null '
                'union all select exam_key from {int_exams_folded} '
                'where study_uid in (select study_uid from {changes})',
            'only':
                '(exam_key in {keys} or study_uid in '
                '(select study_uid from {int_exams_folded} where exam_key in {keys}))',
        },
    },
}}) }}

with exam_events as (
    select
        exam_key,
        assertion_no,
        event_type,
        event_at,
        event_at_local,
        feed_id,
        scheduled_for,
        is_date_only,
        is_time_doubtful
    from {{ ref('int_exam_events') }}
    where event_at is not null
),

pathway_clocks as (
    select
        clock,
        event_type,
        fold_rule
    from {{ ref('pathway_clocks') }}
),

exams as (
    select
        folded.exam_key,
        folded.study_uid,
        folded.cancelled_at,
        timed.started_at,
        timed.started_at_local,
        timed.completed_at,
        timed.completed_at_local
    from {{ ref('int_exams_folded') }} as folded
    inner join {{ ref('int_exams_timed') }} as timed on folded.exam_key = timed.exam_key
),

study_links as (
    select
        exam_key,
        study_uid
    from {{ ref('int_exam_study_links') }}
),

series as (
    select
        study_uid,
        archive_received_at
    from {{ ref('int_dicom_series') }}
    where not is_migrated
),

image_accesses as (
    select
        exam_key,
        study_uid,
        event_at
    from {{ ref('int_image_accesses') }}
    where access_class = 'view'
),

-- one event of each clock: which one, its rule of folding says
events as (
    select
        exam_events.exam_key,
        pathway_clocks.clock,
        exam_events.event_at,
        exam_events.event_at_local,
        exam_events.feed_id,
        exam_events.scheduled_for,
        exam_events.is_date_only,
        exam_events.is_time_doubtful
    from exam_events
    inner join pathway_clocks on exam_events.event_type = pathway_clocks.event_type
    qualify row_number() over (
        partition by exam_events.exam_key, pathway_clocks.clock
        order by
            -- a day without a time counts as its end
            case
                when pathway_clocks.fold_rule <> 'earliest' then null
                when exam_events.is_date_only
                    then {{ add_seconds('exam_events.event_at', 86399) }}
                else exam_events.event_at
            end asc,
            case when pathway_clocks.fold_rule = 'latest' then exam_events.event_at end desc,
            exam_events.assertion_no desc
    ) = 1
),

told as (
    select
        events.exam_key,
        events.clock,
        events.event_at,
        events.event_at_local,
        events.feed_id,
        case
            when events.is_date_only then 'day'
            when events.is_time_doubtful then 'doubtful'
            else 'time'
        end as precision
    from events
    inner join exams on events.exam_key = exams.exam_key
    -- a request that lives again is not cancelled
    where events.clock <> 'cancelled' or exams.cancelled_at is not null
    union all
    -- what the first booking offered
    select
        events.exam_key,
        'offered' as clock,
        events.scheduled_for as event_at,
        {{ local_from_utc('events.scheduled_for') }} as event_at_local,
        events.feed_id,
        'time' as precision
    from events
    inner join exams on events.exam_key = exams.exam_key
    where events.clock = 'booked' and events.scheduled_for is not null
),

-- of the images, where the radiology system is silent
imaged as (
    select
        exam_key,
        'started' as clock,
        started_at as event_at,
        started_at_local as event_at_local
    from exams
    where started_at is not null
    union all
    select
        exam_key,
        'completed' as clock,
        completed_at as event_at,
        completed_at_local as event_at_local
    from exams
    where completed_at is not null
    union all
    -- the last of its series that the archive received
    select
        study_links.exam_key,
        'images_available' as clock,
        max(series.archive_received_at) as event_at,
        {{ local_from_utc('max(series.archive_received_at)') }} as event_at_local
    from study_links
    inner join series on study_links.study_uid = series.study_uid
    where series.archive_received_at is not null
    group by study_links.exam_key
),

-- two exams of one scan share its views
viewed as (
    select
        exams.exam_key,
        image_accesses.event_at
    from image_accesses
    inner join exams on image_accesses.study_uid = exams.study_uid
    union all
    select
        exams.exam_key,
        image_accesses.event_at
    from image_accesses
    inner join exams on image_accesses.exam_key = exams.exam_key
),

every_clock as (
    select
        exam_key,
        clock,
        event_at,
        event_at_local,
        feed_id,
        'ris' as source,
        precision
    from told
    union all
    select
        imaged.exam_key,
        imaged.clock,
        imaged.event_at,
        imaged.event_at_local,
        cast(null as string) as feed_id,
        'dicom' as source,
        'time' as precision
    from imaged
    left join told on imaged.exam_key = told.exam_key and imaged.clock = told.clock
    where told.exam_key is null
    union all
    select
        exam_key,
        'first_viewed' as clock,
        min(event_at) as event_at,
        {{ local_from_utc('min(event_at)') }} as event_at_local,
        cast(null as string) as feed_id,
        'audit' as source,
        'time' as precision
    from viewed
    group by exam_key
)

select
    exam_key,
    clock,
    event_at,
    event_at_local,
    feed_id,
    source,
    precision
from every_clock
