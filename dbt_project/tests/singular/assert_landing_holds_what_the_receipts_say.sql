-- Failure: landing holds more or fewer events than the receipts say were written: a file is
-- missing, or was landed twice.
{{ config(meta={'dagster': {'ref': {'name': 'stg_landing__receipts'}}}) }}
with receipts as (
    select sum(rows_written) as row_count
    from {{ ref('stg_landing__receipts') }}
    where landing_table = 'imaging_events'
),

landed as (
    select count(*) as row_count
    from {{ source('landing', 'imaging_events') }}
)

select
    receipts.row_count as receipt_count,
    landed.row_count as landed_count
from receipts
cross join landed
where coalesce(receipts.row_count, 0) <> landed.row_count
