{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_event_arrivals': 'month_on',
        'int_exam_events': {
            'touches':
                'select month_on from {int_event_arrivals} '
                'where event_id in (select event_id from {changes})',
        },
        'int_exams_classified': {
            'touches':
                'select month_on from {int_event_arrivals} where event_id in (select event_id '
                'from {int_exam_events} where exam_key in (select exam_key from {changes}))',
        },
    },
}}) }}

with event_arrivals as (
    select
        event_id,
        month_on,
        arrival_hours,
        is_late
    from {{ ref('int_event_arrivals') }}
    where is_first_told
),

exam_events as (
    select
        event_id,
        exam_key
    from {{ ref('int_exam_events') }}
),

exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group
    from {{ ref('int_exams_classified') }}
),

placed as (
    select
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        event_arrivals.month_on,
        event_arrivals.arrival_hours,
        event_arrivals.is_late
    from event_arrivals
    inner join exam_events on event_arrivals.event_id = exam_events.event_id
    inner join exams on exam_events.exam_key = exams.exam_key
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    month_on,
    -- whole seconds: the last digits of a sum of fractions depend on the order of adding up
    sum(round(3600 * arrival_hours)) / 3600 as arrival_hours,
    count(arrival_hours) as timed_event_count,
    count(*) filter (where is_late) as late_event_count,
    count(*) as event_count
from placed
{{ roll_up(['month_on'], or_all=['modality_group']) }}
