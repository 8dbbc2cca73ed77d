{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
    },
}}) }}

with parties_without_list as (
    select party_code
    from {{ ref('int_parties_without_list') }}
),

exams as (
    select
        classified.exam_key,
        classified.site_code,
        classified.party_code,
        classified.modality_group,
        classified.clock_start_on,
        classified.removed_on,
        classified.due_on
    from {{ ref('int_exams_classified') }} as classified
    left join parties_without_list on classified.party_code = parties_without_list.party_code
    -- Any test, in the return or not: surveillance outside it is late all the same. Whether a test
    -- is late cannot be told of one whose due date nobody tells.
    where
        classified.activity_category = 'planned'
        and classified.due_on is not null
        and parties_without_list.party_code is null
),

months as (
    select
        month_on,
        census_on
    from {{ ref('int_months') }}
    where is_complete
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
)

select
    exams.exam_key,
    exams.party_code,
    coalesce(site_owners.trust_code, 'Unknown') as trust_code,
    exams.modality_group,
    months.month_on,
    months.census_on,
    -- the census is at midnight: the due day itself is over
    exams.due_on <= months.census_on as is_overdue
from exams
inner join months
    on
        exams.clock_start_on <= months.census_on
        and coalesce(exams.removed_on, date '9999-12-31') > months.census_on
{{ left_join_owners('exams', 'months.census_on') }}
