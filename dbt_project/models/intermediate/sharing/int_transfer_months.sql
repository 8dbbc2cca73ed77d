with months as (
    select month_on
    from {{ ref('int_months') }}
    where is_complete
),

transfers as (
    select distinct
        from_party_code as party_code,
        {{ month_of('requested_at_local') }} as month_on
    from {{ ref('stg_operations__image_transfers') }}
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

files as (
    select
        feeds.party_code,
        receipts.file_name,
        {{ month_of(local_from_utc('receipts.arrived_at')) }} as came_month_on
    from {{ ref('stg_landing__receipts') }} as receipts
    inner join feeds on receipts.feed_id = feeds.feed_id
    where
        receipts.feed_kind = 'image_transfers'
        and receipts.status = 'landed'
        -- rows tell their months themselves, and rejected ones are not nothing
        and receipts.rows_received = 0
),

-- an empty file says that nothing was sent: in the month of its name, else in that before it came
file_months as (
    select
        files.party_code,
        months.month_on
    from files
    inner join months
        on
            files.file_name like '%' || left(cast(months.month_on as string), 7) || '%'
            or (
                months.month_on = cast(files.came_month_on - interval '1 month' as date)
                -- '20yy-mm' in the name: the file is of that month and tells of no other
                and files.file_name not like '%20__-__%'
            )
)

select
    transfers.party_code,
    transfers.month_on
from transfers
inner join months on transfers.month_on = months.month_on
union
select
    party_code,
    month_on
from file_months
