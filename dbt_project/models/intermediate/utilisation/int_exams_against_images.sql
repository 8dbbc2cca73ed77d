{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_exams_folded': 'exam_key',
        'int_exam_events': 'exam_key',
        'int_studies_linked_to_exams': 'exam_key',
        'int_exam_study_links': 'exam_key',
        'int_dicom_series': images_of_linked_studies(),
        'int_image_coverage': {
            'touches':
                'select exam_key from {int_exams_classified} where exists (select 1 from {changes} '
                'group by party_code, modality_group '
                'having count(*) < 2 or min(first_day_on) <> max(first_day_on)) '
                'union all select exams.exam_key from {int_exams_classified} as exams '
                'inner join {changes} as moved on exams.party_code = moved.party_code '
                'and exams.modality_group = moved.modality_group '
                'and coalesce(exams.performed_on, ' ~ local_date('exams.scheduled_for') ~ ') '
                '> moved.last_day_on',
        },
    },
}}) }}

with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        performed_on,
        scheduled_for,
        cancelled_at,
        dna_count
    from {{ ref('int_exams_classified') }}
),

ris_times as (
    select
        exam_key,
        started_at,
        completed_at
    from {{ ref('int_exams_folded') }}
),

exam_events as (
    select
        exam_key,
        bool_or(is_date_only or is_time_doubtful) filter (where event_type = 'exam_started')
            as is_start_doubtful,
        bool_or(is_date_only or is_time_doubtful) filter (where event_type = 'exam_completed')
            as is_end_doubtful
    from {{ ref('int_exam_events') }}
    where event_type in ('exam_started', 'exam_completed')
    group by exam_key
),

linked_studies as (
    select
        exam_key,
        started_at,
        ended_at,
        link_method,
        is_link_against_number
    from {{ ref('int_studies_linked_to_exams') }}
),

links as (
    select
        exam_key,
        study_uid
    from {{ ref('int_exam_study_links') }}
),

imaged_groups as (
    select distinct
        study_uid,
        modality_group
    from {{ ref('int_dicom_series') }}
    where is_timed and modality_group is not null
),

exam_groups as (
    select distinct
        links.exam_key,
        imaged_groups.modality_group
    from links
    inner join imaged_groups on links.study_uid = imaged_groups.study_uid
),

imaged_exams as (
    select distinct exam_key
    from exam_groups
),

coverage as (
    select
        party_code,
        modality_group,
        first_day_on,
        last_day_on
    from {{ ref('int_image_coverage') }}
),

first_covered_month as (
    select {{ month_of('min(first_day_on)') }} as month_on
    from coverage
),

dated as (
    select
        exams.exam_key,
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        coalesce(exams.performed_on, {{ local_date('exams.scheduled_for') }}) as day_on,
        exams.scheduled_for is not null as is_booked,
        exams.cancelled_at is not null or coalesce(exams.dna_count, 0) > 0 as is_given_up,
        ris_times.completed_at is not null as is_in_ris,
        ris_times.started_at as ris_started_at,
        ris_times.completed_at as ris_completed_at,
        coalesce(exam_events.is_start_doubtful, false) as is_start_doubtful,
        coalesce(exam_events.is_end_doubtful, false) as is_end_doubtful,
        linked_studies.exam_key is not null as has_images,
        linked_studies.started_at as image_started_at,
        linked_studies.ended_at as image_ended_at,
        linked_studies.link_method,
        linked_studies.is_link_against_number
    from exams
    inner join ris_times on exams.exam_key = ris_times.exam_key
    left join exam_events on exams.exam_key = exam_events.exam_key
    left join linked_studies on exams.exam_key = linked_studies.exam_key
)

select
    dated.exam_key,
    dated.party_code,
    dated.trust_code,
    dated.modality_group,
    {{ month_of('dated.day_on') }} as month_on,
    coverage.party_code is not null as is_covered,
    dated.is_in_ris,
    dated.is_booked,
    dated.is_booked
    and not dated.is_given_up
    and not dated.is_in_ris
    and dated.ris_started_at is null
    and not dated.has_images as is_booking_without_outcome,
    dated.has_images,
    dated.link_method,
    coalesce(dated.is_link_against_number, false) as is_link_against_number,
    imaged_exams.exam_key is not null and dated.modality_group <> 'Unknown'
        as is_modality_compared,
    exam_groups.exam_key is not null as is_modality_equal,
    case
        when not dated.is_start_doubtful
            then {{ minutes_between('dated.ris_started_at', 'dated.image_started_at') }}
    end as start_difference_minutes,
    case
        when not dated.is_end_doubtful
            then {{ minutes_between('dated.ris_completed_at', 'dated.image_ended_at') }}
    end as end_difference_minutes
from dated
inner join first_covered_month
    on dated.day_on >= first_covered_month.month_on
left join coverage
    on
        dated.party_code = coverage.party_code
        and dated.modality_group = coverage.modality_group
        and dated.day_on between coverage.first_day_on and coverage.last_day_on
left join exam_groups
    on dated.exam_key = exam_groups.exam_key and dated.modality_group = exam_groups.modality_group
left join imaged_exams on dated.exam_key = imaged_exams.exam_key
