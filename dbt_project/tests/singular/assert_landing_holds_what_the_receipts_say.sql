-- Failure: landing holds more or fewer rows of a source than its receipt says were written: a
-- file is missing, was landed twice, or was landed without a receipt.
{{ config(meta={'dagster': {'ref': {'name': 'stg_landing__receipts'}}}) }}
{%- set landing_tables = [
    'imaging_events', 'dicom_headers', 'dicom_series', 'rota_sessions', 'opening_hours',
    'downtime', 'go_lives', 'benefit_register', 'unit_costs',
    'meeting_lists', 'image_transfers', 'reporting_rota', 'outsourcing_invoices', 'storage',
    'contract_lines', 'workforce', 'admissions', 'staff_survey', 'booking_diary', 'time_studies',
    'monthly_workbook', 'dm01_extract'
] %}
with receipts as (
    select
        landing_table,
        source_sha,
        sum(rows_written) as row_count
    from {{ ref('stg_landing__receipts') }}
    group by landing_table, source_sha
),

landed as (
    {%- for landing_table in landing_tables %}
        select
            '{{ landing_table }}' as landing_table,
            source_sha,
            count(*) as row_count
        from {{ source('landing', landing_table) }}
        group by source_sha
        {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

select
    coalesce(receipts.landing_table, landed.landing_table) as landing_table,
    coalesce(receipts.source_sha, landed.source_sha) as source_sha,
    receipts.row_count as receipt_count,
    landed.row_count as landed_count
from receipts
full outer join landed
    on
        receipts.landing_table = landed.landing_table
        and receipts.source_sha = landed.source_sha
where coalesce(receipts.row_count, 0) <> coalesce(landed.row_count, 0)
