with opening_hours as (
    select
        station_name,
        coalesce(valid_from, date '1900-01-01') as first_day_on,
        coalesce(valid_to, date '9999-12-31') as last_day_on
    from {{ ref('stg_reference__opening_hours') }}
),

operating_days as (
    select day_on
    from {{ ref('int_operating_days') }}
)

-- a day between two periods is not told of: a scanner without hours is not known to be closed
select distinct
    opening_hours.station_name,
    operating_days.day_on
from opening_hours
inner join operating_days
    on operating_days.day_on between opening_hours.first_day_on and opening_hours.last_day_on
