{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_appointments_not_kept': 'exam_key',
        'fct_exam': 'exam_key',
    },
}}) }}

with appointments_not_kept as (
    select
        event_id,
        exam_key,
        event_type,
        feed_id,
        event_at,
        event_at_local,
        asserted_at,
        slot_on,
        rule,
        cause,
        resets_clock
    from {{ ref('int_appointments_not_kept') }}
),

exams as (
    select
        fct_exam.exam_key,
        fct_exam.site_code,
        fct_exam.party_code,
        fct_exam.trust_code,
        fct_exam.modality_group,
        fct_exam.dm01_test,
        fct_exam.activity_category,
        {{ waits_from('fct_exam') }} as clock_start_on,
        cast(fct_exam.started_at_local as date) as started_on
    from {{ ref('fct_exam') }} as fct_exam
),

told as (
    select
        appointments_not_kept.event_id,
        appointments_not_kept.exam_key,
        exams.site_code,
        exams.party_code,
        exams.trust_code,
        exams.modality_group,
        exams.dm01_test,
        exams.activity_category,
        appointments_not_kept.event_type,
        appointments_not_kept.feed_id,
        appointments_not_kept.event_at,
        appointments_not_kept.event_at_local,
        appointments_not_kept.asserted_at,
        appointments_not_kept.slot_on,
        appointments_not_kept.rule,
        appointments_not_kept.cause,
        exams.clock_start_on,
        appointments_not_kept.resets_clock
        and coalesce(
            {{ clock_runs_on('exams', 'appointments_not_kept.slot_on') }}, false
        ) as resets_clock
    from appointments_not_kept
    inner join exams on appointments_not_kept.exam_key = exams.exam_key
),

-- the clock as it ran before: from the request, or from the reset of an earlier day
clocked as (
    select
        told.event_id,
        coalesce(max(earlier.slot_on), told.clock_start_on) as clock_before_on
    from told
    left join told as earlier
        on
            told.exam_key = earlier.exam_key
            and told.slot_on > earlier.slot_on
            and earlier.resets_clock
    group by told.event_id, told.clock_start_on
)

select
    lower(hex(told.event_id)) as event_id,
    told.exam_key,
    told.site_code,
    told.party_code,
    told.trust_code,
    told.modality_group,
    told.dm01_test,
    told.activity_category,
    told.event_type,
    told.cause,
    told.rule,
    told.event_at,
    told.event_at_local,
    told.asserted_at,
    told.feed_id,
    told.slot_on,
    told.clock_start_on,
    clocked.clock_before_on,
    told.resets_clock,
    case
        -- a miss that two systems tell is one reset: its days stand in one row
        when
            told.resets_clock
            and row_number() over (
                partition by told.exam_key, told.slot_on, told.resets_clock order by told.event_id
            ) = 1
            then cast({{ days_between('clocked.clock_before_on', 'told.slot_on') }} as integer)
        else 0
    end as reset_days
from told
inner join clocked on told.event_id = clocked.event_id
