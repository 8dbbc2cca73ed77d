with censuses as (
    select
        party_code,
        trust_code,
        dm01_test,
        month_on
    from {{ ref('int_waiting_list_censuses') }}
),

exams as (
    select
        party_code,
        performed_on
    from {{ ref('int_exams_classified') }}
    where is_completed
),

list_tests as (
    select
        site_code,
        party_code,
        dm01_test,
        performed_on
    from {{ ref('int_waiting_list_exams') }}
    -- done is done: also where the request is dated after it and so never waited
    where is_completed
),

dm01_tests as (
    select
        dm01_test,
        modality_group
    from {{ ref('dm01_tests') }}
),

months as (
    select
        month_on,
        census_on,
        {{ add_days('census_on', 1 - 7 * (var('clearance_weeks') | int)) }} as weeks_from_on
    from {{ ref('int_months') }}
    where is_complete
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

first_tests as (
    select
        party_code,
        min(performed_on) as first_on
    from exams
    group by party_code
),

-- weeks of which a party told nothing yet are no weeks without a test
party_months as (
    select
        first_tests.party_code,
        months.month_on,
        months.census_on,
        months.weeks_from_on
    from first_tests
    inner join months on first_tests.first_on <= months.weeks_from_on
),

tests_by_day as (
    select
        list_tests.site_code,
        list_tests.party_code,
        dm01_tests.modality_group,
        list_tests.performed_on,
        count(*) as test_count
    from list_tests
    inner join dm01_tests on list_tests.dm01_test = dm01_tests.dm01_test
    group by
        list_tests.site_code,
        list_tests.party_code,
        dm01_tests.modality_group,
        list_tests.performed_on
),

counted as (
    select
        censuses.party_code,
        censuses.trust_code,
        dm01_tests.modality_group,
        censuses.month_on,
        1 as waiting_count,
        0 as test_count
    from censuses
    inner join dm01_tests on censuses.dm01_test = dm01_tests.dm01_test
    inner join party_months
        on
            censuses.party_code = party_months.party_code
            and censuses.month_on = party_months.month_on
    union all
    select
        tests_by_day.party_code,
        -- the tests of a site belong to whoever has its list at the census
        coalesce(site_owners.trust_code, 'Unknown') as trust_code,
        tests_by_day.modality_group,
        party_months.month_on,
        0 as waiting_count,
        tests_by_day.test_count
    from tests_by_day
    inner join party_months
        on
            tests_by_day.party_code = party_months.party_code
            and tests_by_day.performed_on
            between party_months.weeks_from_on and party_months.census_on
    {{ left_join_owners('tests_by_day', 'party_months.census_on') }}
)

select
    party_code,
    trust_code,
    modality_group,
    month_on,
    cast(sum(waiting_count) as bigint) as waiting_count,
    cast(sum(test_count) as bigint) as test_count
from counted
group by party_code, trust_code, modality_group, month_on
