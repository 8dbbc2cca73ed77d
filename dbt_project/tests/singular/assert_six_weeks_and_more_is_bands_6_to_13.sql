-- Failure: the six-week breach count is not what the bands from six weeks on show, or more
-- people wait 13 weeks than six.
with waiting_times as (
    select
        org_level,
        org_code,
        dm01_test,
        census_on,
        waiting_6_plus_count,
        waiting_13_plus_count,
        {{ sum_of_bands(6, 13) }} as band_total
    from {{ ref('rpt_waiting_times_monthly') }}
)

select
    org_level,
    org_code,
    dm01_test,
    census_on,
    waiting_6_plus_count,
    band_total
from waiting_times
where band_total <> waiting_6_plus_count or waiting_13_plus_count > waiting_6_plus_count
