with parts as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        request_count,
        removal_count,
        test_count,
        handed_in_count,
        handed_out_count
    from {{ ref('int_waiting_parts_monthly') }}
    where request_count is not null
),

waiting_times as (
    select
        org_level,
        org_code,
        dm01_test,
        {{ month_of('census_on') }} as month_on,
        census_on,
        waiting_list_count
    from {{ ref('rpt_waiting_times_monthly') }}
    where waiting_list_count is not null
),

dm01_tests as (
    select
        dm01_test,
        modality_group
    from {{ ref('dm01_tests') }}
),

lists as (
    select
        waiting_times.org_level,
        waiting_times.org_code,
        coalesce(dm01_tests.modality_group, 'All') as modality_group,
        waiting_times.month_on,
        waiting_times.census_on,
        waiting_times.waiting_list_count
    from waiting_times
    left join dm01_tests on waiting_times.dm01_test = dm01_tests.dm01_test
)

select
    parts.org_level,
    parts.org_code,
    parts.modality_group,
    lists.census_on,
    earlier.waiting_list_count as opening_count,
    parts.request_count,
    parts.removal_count,
    parts.test_count,
    parts.handed_in_count,
    parts.handed_out_count,
    lists.waiting_list_count as closing_count
from parts
inner join lists
    on
        parts.org_level = lists.org_level
        and parts.org_code = lists.org_code
        and parts.modality_group = lists.modality_group
        and parts.month_on = lists.month_on
left join lists as earlier
    on
        parts.org_level = earlier.org_level
        and parts.org_code = earlier.org_code
        and parts.modality_group = earlier.modality_group
        and earlier.census_on = {{ add_days('parts.month_on', -1) }}
