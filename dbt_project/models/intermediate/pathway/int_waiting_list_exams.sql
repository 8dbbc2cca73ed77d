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
)

select
    exams.exam_key,
    exams.site_code,
    exams.party_code,
    exams.modality_group,
    exams.dm01_test,
    exams.clock_start_on,
    exams.started_on,
    exams.performed_on,
    exams.removed_on,
    exams.is_completed,
    -- a report without a known test tells that there was one
    exams.started_at is not null or exams.is_completed or exams.is_reported as is_tested
from exams
left join parties_without_list on exams.party_code = parties_without_list.party_code
-- planned and unscheduled tests are activity, never a wait
where
    exams.activity_category = 'waiting_list'
    and exams.dm01_test is not null
    and parties_without_list.party_code is null
