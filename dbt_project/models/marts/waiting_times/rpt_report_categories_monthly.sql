{{ config(meta={'kept': {
    'by': 'acquired_month_on',
    'inputs': {
        'int_report_categories': 'month_on',
    },
}}) }}

with exams as (
    select
        party_code,
        trust_code,
        modality_group,
        category,
        category_name,
        sort_order,
        max_hours,
        source_status,
        month_on,
        is_within_maximum
    from {{ ref('int_report_categories') }}
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        category,
        max_hours,
        month_on,
        max(category_name) as category_name,
        max(sort_order) as sort_order,
        max(source_status) as source_status,
        count(*) as acquired_count,
        count(*) filter (where is_within_maximum) as within_maximum_count
    from exams
    {{ roll_up(['month_on', 'category', 'max_hours'], or_all=['modality_group']) }}
)

select
    org_level,
    org_code,
    modality_group,
    category,
    category_name,
    sort_order,
    max_hours,
    source_status,
    month_on as acquired_month_on,
    acquired_count,
    within_maximum_count,
    {{ ratio('within_maximum_count', 'acquired_count') }} as within_maximum_rate
from rolled_up
