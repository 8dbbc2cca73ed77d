with protections as (
    select
        protection,
        sort_order,
        statement,
        people,
        source,
        source_status,
        tested_by
    from {{ ref('staff_protections') }}
),

survey as (
    select min(smallest_group_count) as least_people_count
    from {{ ref('staff_survey_questions') }}
)

-- the numbers are those that the models apply, never told a second time
select
    protections.protection,
    protections.sort_order,
    protections.statement,
    protections.people,
    case protections.protection
        when 'rota_readers' then cast({{ var('min_people_count') }} as integer)
        when 'survey_answers' then survey.least_people_count
    end as least_people_count,
    protections.source,
    protections.source_status,
    protections.tested_by
from protections
cross join survey
