{{ config(materialized='view') }}

with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        {{ month_of('performed_on') }} as month_on,
        activity_category,
        dm01_wait_days,
        unadjusted_wait_days
    from {{ ref('int_exams_classified') }}
    -- The return alone: walk-in plain film, done the day it is asked for, would pull waits to 0.
    -- All parties, not only those of int_waiting_list_exams: who tells only of exams that were done
    -- tells how long those took.
    where is_completed and dm01_test is not null
),

months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
)

-- the date of a planned test was agreed, so nobody waited for it; whoever came unplanned is
-- shown apart, because most are scanned the same day and would hide the list
select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    exams.month_on,
    case when exams.activity_category = 'waiting_list' then exams.dm01_wait_days end
        as listed_days,
    case when exams.activity_category = 'waiting_list' then exams.unadjusted_wait_days end
        as unadjusted_days,
    case when exams.activity_category = 'unscheduled' then exams.unadjusted_wait_days end
        as unscheduled_days
from exams
inner join months on exams.month_on = months.month_on
