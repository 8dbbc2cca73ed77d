{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_appointments_not_kept': 'exam_key',
    },
}}) }}

with appointments_not_kept as (
    select
        exam_key,
        slot_on,
        resets_clock
    from {{ ref('int_appointments_not_kept') }}
)

-- The clock restarts on the day of the appointment that was missed or given up.
select distinct
    exam_key,
    slot_on as reset_on
from appointments_not_kept
where resets_clock
