with opening_hours as (
    select
        station_name,
        iso_weekday,
        opens_local,
        closes_local,
        valid_from,
        valid_to
    from {{ ref('stg_reference__opening_hours') }}
),

operating_days as (
    select day_on
    from {{ ref('int_operating_days') }}
),

wall_clock as (
    select
        opening_hours.station_name,
        operating_days.day_on,
        opening_hours.valid_from,
        cast(
            cast(operating_days.day_on as string) || ' ' || opening_hours.opens_local as timestamp
        ) as opens_at_local,
        -- closing at or before opening, or at 24:00, means the next day
        case
            when opening_hours.closes_local = '24:00'
                then cast(operating_days.day_on as timestamp) + interval '1 day'
            when opening_hours.closes_local <= opening_hours.opens_local
                then
                    cast(
                        cast(operating_days.day_on as string)
                        || ' '
                        || opening_hours.closes_local as timestamp
                    )
                    + interval '1 day'
            else
                cast(
                    cast(operating_days.day_on as string)
                    || ' '
                    || opening_hours.closes_local as timestamp
                )
        end as closes_at_local
    from opening_hours
    inner join operating_days
        on
            opening_hours.iso_weekday = {{ iso_weekday('operating_days.day_on') }}
            and operating_days.day_on >= coalesce(opening_hours.valid_from, date '1900-01-01')
            and operating_days.day_on <= coalesce(opening_hours.valid_to, date '9999-12-31')
)

select
    station_name,
    day_on,
    {{ utc_from_local('opens_at_local') }} as opens_at,
    {{ utc_from_local('closes_at_local') }} as closes_at
from wall_clock
-- two rows valid on one day: the newer one is the correction
qualify row_number() over (
    partition by station_name, day_on
    order by valid_from desc nulls last
) = 1
