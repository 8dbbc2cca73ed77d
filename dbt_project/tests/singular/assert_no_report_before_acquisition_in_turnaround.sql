-- Failure: reports dated before the end of their exam count as very fast reports.
select
    exam_key,
    completed_at,
    first_verified_at,
    turnaround_minutes
from {{ ref('fct_exam') }}
where
    turnaround_minutes is not null
    and (first_verified_at < completed_at or turnaround_minutes < 0)
