-- Failure: two tables tell two times of one exam.
select
    exams.exam_key,
    exams.started_at,
    pathways.started_at as pathway_started_at
from {{ ref('fct_exam') }} as exams
inner join {{ ref('fct_exam_pathway') }} as pathways on exams.exam_key = pathways.exam_key
where
    exams.requested_at is distinct from pathways.requested_at
    or exams.received_at is distinct from pathways.received_at
    or exams.booked_at is distinct from pathways.booked_at
    or exams.started_at is distinct from pathways.started_at
    or exams.completed_at is distinct from pathways.completed_at
    or exams.first_verified_at is distinct from pathways.first_verified_at
    or exams.cancelled_at is distinct from pathways.cancelled_at
