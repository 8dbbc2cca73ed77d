-- Failure: a system goes on to send events under a patient number that was merged into another.
-- They count for the patient who stands; ask the sender whether the merge was undone.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'int_patient_merges'}}}) }}
with given_up as (
    select
        loser_key,
        merged_at
    from {{ ref('int_patient_merges') }}
),

exam_events as (
    select
        patient_key,
        asserted_at
    from {{ ref('int_exam_events') }}
)

select
    given_up.loser_key,
    given_up.merged_at,
    max(exam_events.asserted_at) as last_told_at
from given_up
inner join exam_events on given_up.loser_key = exam_events.patient_key
-- what was on its way, and extracts of that day, still tell the number of before
where exam_events.asserted_at > {{ add_seconds('given_up.merged_at', 172800) }}
group by given_up.loser_key, given_up.merged_at
