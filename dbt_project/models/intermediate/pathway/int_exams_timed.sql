{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_folded': 'exam_key',
        'int_studies_linked_to_exams': 'exam_key',
        'int_clock_resets': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        requested_at_local,
        received_at_local,
        started_at,
        started_at_local,
        completed_at,
        completed_at_local,
        first_verified_at,
        first_verified_at_local,
        cancelled_at_local,
        is_turnaround_date_only,
        is_turnaround_time_doubtful
    from {{ ref('int_exams_folded') }}
),

linked_studies as (
    select
        exam_key,
        started_at,
        ended_at
    from {{ ref('int_studies_linked_to_exams') }}
),

clock_resets as (
    select
        exam_key,
        reset_on
    from {{ ref('int_clock_resets') }}
),

-- The RIS says when an exam was done; where it is silent the images do.
performed as (
    select
        exams.exam_key,
        exams.requested_at_local,
        exams.received_at_local,
        exams.first_verified_at,
        exams.first_verified_at_local,
        exams.cancelled_at_local,
        exams.is_turnaround_date_only,
        exams.is_turnaround_time_doubtful,
        linked_studies.exam_key is not null as has_images,
        coalesce(exams.started_at, linked_studies.started_at) as started_at,
        coalesce(exams.started_at_local, {{ local_from_utc('linked_studies.started_at') }})
            as started_at_local,
        coalesce(exams.completed_at, linked_studies.ended_at) as completed_at,
        coalesce(exams.completed_at_local, {{ local_from_utc('linked_studies.ended_at') }})
            as completed_at_local,
        case
            when exams.completed_at is not null then 'ris'
            when linked_studies.ended_at is not null then 'dicom'
            else 'none'
        end as time_source
    from exams
    left join linked_studies on exams.exam_key = linked_studies.exam_key
),

dated as (
    select
        exam_key,
        has_images,
        started_at,
        started_at_local,
        completed_at,
        completed_at_local,
        time_source,
        first_verified_at,
        first_verified_at_local,
        is_turnaround_date_only,
        is_turnaround_time_doubtful,
        cast(coalesce(requested_at_local, received_at_local) as date) as clock_start_on,
        cast(started_at_local as date) as started_on,
        case
            when completed_at is not null
                then cast(coalesce(started_at_local, completed_at_local) as date)
        end as performed_on,
        cast(
            coalesce(
                started_at_local, completed_at_local, first_verified_at_local, cancelled_at_local
            ) as date
        ) as removed_on
    from performed
),

-- a reset after the exam cannot move the clock that the exam stopped
last_resets as (
    select
        dated.exam_key,
        max(clock_resets.reset_on) as reset_on
    from dated
    inner join clock_resets on dated.exam_key = clock_resets.exam_key
    where {{ clock_runs_on('dated', 'clock_resets.reset_on') }}
    group by dated.exam_key
)

select
    dated.exam_key,
    dated.has_images,
    dated.started_at,
    dated.started_at_local,
    dated.completed_at,
    dated.completed_at_local,
    dated.time_source,
    dated.clock_start_on,
    coalesce(last_resets.reset_on, dated.clock_start_on) as dm01_clock_start_on,
    dated.started_on,
    dated.performed_on,
    dated.removed_on,
    -- a report before the end of its exam is an error of the source, not a fast report
    case
        when dated.is_turnaround_date_only
            then
                cast(dated.first_verified_at_local as date)
                < cast(dated.completed_at_local as date)
        else dated.first_verified_at < dated.completed_at
    end as is_reported_before_end,
    case
        when
            not dated.is_turnaround_date_only
            and not dated.is_turnaround_time_doubtful
            and dated.first_verified_at >= dated.completed_at
            then {{ minutes_between('dated.completed_at', 'dated.first_verified_at') }}
    end as turnaround_minutes
from dated
left join last_resets on dated.exam_key = last_resets.exam_key
