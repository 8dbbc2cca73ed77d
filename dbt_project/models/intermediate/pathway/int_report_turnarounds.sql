{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_data_as_at': {
            'touches':
                'select exam_key from {int_exams_classified} '
                'where is_completed and first_verified_at is null',
        },
    },
}}) }}

-- The cohort of rpt_report_turnaround_monthly, exam by exam, with the exams still open: these
-- have waited until the data's as-at. Complete months only; an exam reported before its end is
-- a data-quality case and stays out of both.
with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        performed_on,
        completed_at,
        first_verified_at,
        is_reported_before_end
    from {{ ref('int_exams_classified') }}
    where is_completed
),

months as (
    select
        month_on,
        is_complete
    from {{ ref('int_months') }}
),

data_as_at as (
    select as_at
    from {{ ref('int_data_as_at') }}
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    months.month_on as acquired_month_on,
    exams.first_verified_at is not null as is_reported,
    -- never below 0: a time known only to the day reads as its midnight, and the images of an
    -- open exam may be younger than the last event of the RIS
    greatest(
        {{ seconds_between(
            'exams.completed_at', 'coalesce(exams.first_verified_at, data_as_at.as_at)'
        ) }} / 3600,
        0
    ) as hours
from exams
inner join months on {{ month_of('exams.performed_on') }} = months.month_on
cross join data_as_at
where months.is_complete and not exams.is_reported_before_end
