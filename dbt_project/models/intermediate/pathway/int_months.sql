with data_as_at as (
    select
        first_event_on,
        as_at_on
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
)

select
    bounds.month_on,
    bounds.census_on,
    -- the census is taken at the midnight that ends the last day of the month
    {{ utc_from_local('bounds.next_month_on') }} as census_at,
    bounds.census_on <= data_as_at.as_at_on as is_complete,
    {{ add_days('bounds.census_on', var('report_limit_days')) }} <= data_as_at.as_at_on
        as is_mature
from bounds
cross join data_as_at
