with data_as_at as (
    select
        first_event_on,
        as_at_on,
        complete_until
    from {{ ref('int_data_as_at') }}
),

months as (
    {{ date_spine(
        "date_trunc('month', first_event_on)", "date_trunc('month', as_at_on)", "month", "data_as_at"
    ) }}
),

bounds as (
    select
        day_on as month_on,
        cast(day_on + interval '1 month' as date) as next_month_on,
        {{ add_days("cast(day_on + interval '1 month' as date)", -1) }} as census_on
    from months
),

censuses as (
    select
        month_on,
        census_on,
        -- the census is taken at the midnight that ends the last day of the month
        {{ utc_from_local('next_month_on') }} as census_at
    from bounds
)

select
    censuses.month_on,
    censuses.census_on,
    censuses.census_at,
    coalesce(censuses.census_at <= data_as_at.complete_until, false) as is_complete,
    coalesce(
        {{ seconds_between('censuses.census_at', 'data_as_at.complete_until') }}
        >= 86400 * {{ var('report_limit_days') }},
        false
    ) as is_mature
from censuses
cross join data_as_at
