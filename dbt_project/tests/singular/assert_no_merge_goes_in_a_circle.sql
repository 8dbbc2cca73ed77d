-- Failure: patient numbers, or accession numbers, were merged into each other and back. The latest
-- change decides; ask the sender which number stands.
{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'int_patient_merges'}}}) }}
select
    loser_key as old_key,
    survivor_key as new_key
from {{ ref('int_patient_merges') }}
where is_in_circle
union all
select
    alias_key as old_key,
    exam_key as new_key
from {{ ref('int_exam_aliases') }}
where is_in_circle
