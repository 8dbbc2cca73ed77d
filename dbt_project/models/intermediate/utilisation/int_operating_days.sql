with data_as_at as (
    select as_at_on
    from {{ ref('int_data_as_at') }}
),

-- Scanner time is known from the local day on which the first header or series list arrived, or on
-- which the first rota session began, whichever is earlier. What counts is when images arrived, not
-- when they were made: a series made before that day, such as an old study moved into the archive
-- or a history that was asked for, falls on no day here.
header_days as (
    select min(first_arrived_at) as first_at
    from {{ ref('int_dicom_series') }}
),

rota_days as (
    select min(started_at) as first_at
    from {{ ref('stg_reference__rota_sessions') }}
),

bounds as (
    select
        {{ local_date('least(header_days.first_at, rota_days.first_at)') }} as first_day_on,
        data_as_at.as_at_on
    from data_as_at
    cross join header_days
    cross join rota_days
),

days as (
    {{ date_spine('first_day_on', 'as_at_on', 'day', 'bounds') }}
)

select
    day_on,
    cast(date_trunc('week', day_on) as date) as week_start_on,
    {{ month_of('day_on') }} as month_on,
    {{ utc_from_local('day_on') }} as starts_at,
    {{ utc_from_local(add_days('day_on', 1)) }} as ends_at
from days
