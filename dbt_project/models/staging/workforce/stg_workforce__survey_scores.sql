with staff_survey as (
    select * from {{ source('landing', 'staff_survey') }}
)

select
    party_code,
    survey_year,
    month_on,
    staff_group,
    question,
    score,
    respondents_count,
    feed_id,
    received_at as arrived_at
from staff_survey
qualify row_number() over (
    partition by party_code, survey_year, staff_group, question
    order by received_at desc nulls last, landed_at desc nulls last, source_sha, row_no desc
) = 1
