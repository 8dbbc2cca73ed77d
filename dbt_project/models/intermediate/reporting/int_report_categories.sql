{{ config(meta={'kept': {
    'by': 'exam_key',
    'inputs': {
        'int_exams_classified': 'exam_key',
        'int_exams_folded': 'exam_key',
    },
}}) }}

with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group,
        setting_group,
        priority_group,
        performed_on,
        completed_at,
        first_verified_at
    from {{ ref('int_exams_classified') }}
    where is_completed and not is_reported_before_end
),

date_only as (
    select exam_key
    from {{ ref('int_exams_folded') }}
    where is_turnaround_date_only
),

months as (
    select month_on
    from {{ ref('int_months') }}
    -- all exams of the month have had the longest maximum
    where is_mature
),

report_categories as (
    select
        setting_group,
        priority_group,
        category
    from {{ ref('report_categories') }}
),

report_maxima as (
    select
        category,
        category_name,
        sort_order,
        max_hours,
        valid_from,
        valid_to,
        source_status
    from {{ ref('report_maxima') }}
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    report_categories.category,
    report_maxima.category_name,
    report_maxima.sort_order,
    report_maxima.max_hours,
    report_maxima.source_status,
    months.month_on,
    coalesce(
        {{ seconds_between('exams.completed_at', 'exams.first_verified_at') }}
        <= 3600 * report_maxima.max_hours,
        false
    ) as is_within_maximum
from exams
inner join months on {{ month_of('exams.performed_on') }} = months.month_on
inner join report_categories
    on
        exams.setting_group = report_categories.setting_group
        and exams.priority_group = report_categories.priority_group
inner join report_maxima
    on
        report_categories.category = report_maxima.category
        and exams.performed_on
        between coalesce(report_maxima.valid_from, date '1900-01-01')
        and coalesce(report_maxima.valid_to, date '9999-12-31')
left join date_only on exams.exam_key = date_only.exam_key
-- of times known to the day only, a maximum of a day or less cannot be judged
where date_only.exam_key is null or report_maxima.max_hours > 24
