-- Failure: the clock of a wait was restarted and no event says why, or an event claims a reset
-- that the clock does not show.
with told as (
    select
        exam_key,
        max(slot_on) as reset_on
    from {{ ref('fct_clock_reset') }}
    where resets_clock
    group by exam_key
)

select
    exams.exam_key,
    exams.clock_start_on,
    exams.dm01_clock_start_on,
    told.reset_on
from {{ ref('fct_exam') }} as exams
left join told on exams.exam_key = told.exam_key
where exams.dm01_clock_start_on is distinct from coalesce(told.reset_on, {{ waits_from('exams') }})
