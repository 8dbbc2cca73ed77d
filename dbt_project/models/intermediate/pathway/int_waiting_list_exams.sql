{{ config(materialized='view') }}

with exams as (
    select
        exam_key,
        site_code,
        party_code,
        modality_group,
        dm01_test,
        activity_category,
        clock_start_on,
        due_on,
        started_at,
        cast(started_at_local as date) as started_on,
        performed_on,
        removed_on,
        is_completed,
        is_reported
    from {{ ref('int_exams_classified') }}
),

parties_without_list as (
    select party_code
    from {{ ref('int_parties_without_list') }}
),

clocked as (
    select
        exams.exam_key,
        exams.site_code,
        exams.party_code,
        exams.modality_group,
        exams.dm01_test,
        exams.activity_category,
        exams.started_at,
        exams.started_on,
        exams.performed_on,
        exams.removed_on,
        exams.is_completed,
        exams.is_reported,
        {{ waits_from('exams') }} as list_start_on
    from exams
)

select
    clocked.exam_key,
    clocked.site_code,
    clocked.party_code,
    clocked.modality_group,
    clocked.dm01_test,
    clocked.activity_category = 'planned' as is_planned,
    clocked.list_start_on as clock_start_on,
    clocked.started_on,
    clocked.performed_on,
    clocked.removed_on,
    clocked.is_completed,
    -- a report without a known test tells that there was one
    clocked.started_at is not null or clocked.is_completed or clocked.is_reported as is_tested
from clocked
left join parties_without_list on clocked.party_code = parties_without_list.party_code
where
    clocked.dm01_test is not null
    and parties_without_list.party_code is null
    -- who comes unplanned and at once is activity, never a wait
    and (
        clocked.activity_category = 'waiting_list'
        -- a planned test without a due date, or done or given up by then, never waited
        or (
            {{ var('overdue_planned_on_list') }}
            and clocked.activity_category = 'planned'
            and coalesce(clocked.removed_on, date '9999-12-31') > clocked.list_start_on
        )
    )
