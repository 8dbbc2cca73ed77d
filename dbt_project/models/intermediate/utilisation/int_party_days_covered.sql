with operating_days as (
    select
        day_on,
        week_start_on,
        month_on
    from {{ ref('int_operating_days') }}
),

programme_parties as (
    select party_code
    from {{ ref('programme_parties') }}
),

scanner_register as (
    select
        station_name,
        site_code
    from {{ ref('scanner_register') }}
),

sites as (
    select
        site_code,
        party_code
    from {{ ref('sites') }}
),

rota_sessions as (
    select
        station_name,
        started_at_local
    from {{ ref('stg_reference__rota_sessions') }}
),

feeds as (
    select
        feed_id,
        party_code
    from {{ ref('feeds') }}
),

receipts as (
    select
        feed_id,
        arrived_at
    from {{ ref('int_current_receipts') }}
    where feed_kind = 'rota' and status = 'landed'
),

-- a rota file is about the coming week, even when nobody works in it
rota_files as (
    select
        feeds.party_code,
        {{ local_date('receipts.arrived_at') }} as first_day_on
    from receipts
    inner join feeds on receipts.feed_id = feeds.feed_id
),

-- one session of a party makes its week known for all scanners of the party
rota_weeks as (
    select distinct
        sites.party_code,
        cast(date_trunc('week', rota_sessions.started_at_local) as date) as week_start_on
    from rota_sessions
    inner join scanner_register on rota_sessions.station_name = scanner_register.station_name
    inner join sites on scanner_register.site_code = sites.site_code
),

-- downtimes come by the month
downtime_months as (
    select distinct
        party_code,
        month_on
    from {{ ref('stg_reference__downtimes') }}
),

rota_days as (
    select
        rota_weeks.party_code,
        operating_days.day_on
    from rota_weeks
    inner join operating_days on rota_weeks.week_start_on = operating_days.week_start_on
    union
    select
        rota_files.party_code,
        operating_days.day_on
    from rota_files
    inner join operating_days
        on
            operating_days.day_on >= rota_files.first_day_on
            and operating_days.day_on < {{ add_days('rota_files.first_day_on', 7) }}
)

select
    programme_parties.party_code,
    operating_days.day_on,
    rota_days.party_code is not null as is_rota_known,
    downtime_months.party_code is not null as is_downtime_known
from programme_parties
cross join operating_days
left join rota_days
    on
        programme_parties.party_code = rota_days.party_code
        and operating_days.day_on = rota_days.day_on
left join downtime_months
    on
        programme_parties.party_code = downtime_months.party_code
        and operating_days.month_on = downtime_months.month_on
