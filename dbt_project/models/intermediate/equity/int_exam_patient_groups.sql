{{ config(materialized='view') }}

with exams as (
    select
        exam_key,
        deprivation_quintile,
        -- the second character is local; 99 is a code of two
        case when ethnic_category = '99' then '99' else left(ethnic_category, 1) end
            as ethnic_category
    from {{ ref('int_exams_classified') }}
),

ethnic_categories as (
    select
        ethnic_category,
        ethnic_group,
        group_order,
        is_known
    from {{ ref('ethnic_categories') }}
)

select
    exam_key,
    'deprivation_quintile' as patient_group_kind,
    case
        when deprivation_quintile = 1 then '1 most deprived'
        when deprivation_quintile = 5 then '5 least deprived'
        else coalesce(cast(deprivation_quintile as string), 'Unknown')
    end as patient_group,
    coalesce(cast(deprivation_quintile as integer), 6) as group_order,
    deprivation_quintile is not null as is_group_known
from exams
union all
select
    exams.exam_key,
    'ethnic_group' as patient_group_kind,
    coalesce(ethnic_categories.ethnic_group, 'Not stated or not known') as patient_group,
    coalesce(ethnic_categories.group_order, 6) as group_order,
    coalesce(ethnic_categories.is_known, false) as is_group_known
from exams
left join ethnic_categories on exams.ethnic_category = ethnic_categories.ethnic_category
