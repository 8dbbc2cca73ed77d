-- Failure: a clock reset made a wait longer than the wait from the request.
select
    exam_key,
    clock_start_on,
    dm01_clock_start_on,
    unadjusted_wait_days,
    dm01_wait_days
from {{ ref('fct_exam') }}
where dm01_wait_days > unadjusted_wait_days or dm01_clock_start_on < clock_start_on
