with extract_rows as (
    select
        month_on,
        provider_code,
        dm01_test,
        {%- for band in range(14) %}
            band_{{ '%02d' % band }},
        {%- endfor %}
        activity_waiting_list_count,
        activity_planned_count,
        activity_unscheduled_count
    from {{ ref('stg_national__published_waits') }}
),

seed_rows as (
    select
        {{ month_of('period_end') }} as month_on,
        trust_code as provider_code,
        dm01_test,
        {%- for band in range(14) %}
            wl_band_{{ '%02d' % band }} as band_{{ '%02d' % band }},
        {%- endfor %}
        act_waiting_list as activity_waiting_list_count,
        act_planned as activity_planned_count,
        act_unscheduled as activity_unscheduled_count
    from {{ ref('dm01_published') }}
),

-- the total of the tests is computed here, over imaging alone
imaging_tests as (
    select dm01_test
    from {{ ref('dm01_tests') }}
),

trusts as (
    select distinct trust_code
    from {{ ref('dim_trust') }}
),

extract_months as (
    select distinct month_on
    from extract_rows
),

published as (
    select
        'extract' as source,
        extract_rows.*
    from extract_rows
    union all
    select
        'seed' as source,
        seed_rows.*
    from seed_rows
    left join extract_months on seed_rows.month_on = extract_months.month_on
    where extract_months.month_on is null
),

of_organisations as (
    select
        published.*,
        trusts.trust_code,
        trusts.trust_code is not null as is_of_network
    from published
    inner join imaging_tests on published.dm01_test = imaging_tests.dm01_test
    left join trusts on published.provider_code = trusts.trust_code
),

-- the seed knows the network's trusts alone: a sum of them is not the country
levels as (
    select
        'trust' as org_level,
        trust_code as org_code,
        of_organisations.*
    from of_organisations
    where is_of_network
    union all
    select
        'network' as org_level,
        'NETWORK' as org_code,
        of_organisations.*
    from of_organisations
    where is_of_network
    union all
    select
        'country' as org_level,
        'ENGLAND' as org_code,
        of_organisations.*
    from of_organisations
    where source = 'extract'
),

summed as (
    select
        org_level,
        org_code,
        {{ or_all('dm01_test') }} as dm01_test,
        month_on,
        min(source) as source,
        count(distinct provider_code) as provider_count,
        {%- for band in range(14) %}
            cast(sum(band_{{ '%02d' % band }}) as bigint) as band_{{ '%02d' % band }},
        {%- endfor %}
        cast(sum(activity_waiting_list_count) as bigint) as activity_waiting_list_count,
        cast(sum(activity_planned_count) as bigint) as activity_planned_count,
        cast(sum(activity_unscheduled_count) as bigint) as activity_unscheduled_count
    from levels
    {{ roll_up(['org_level', 'org_code', 'month_on'], or_all=['dm01_test'], organisations=[]) }}
),

added_up as (
    select
        summed.*,
        {{ sum_of_bands(0, 13) }} as waiting_list_count,
        {{ sum_of_bands(6, 13) }} as waiting_6_plus_count,
        band_13 as waiting_13_plus_count
    from summed
)

select
    org_level,
    org_code,
    dm01_test,
    {{ add_days("cast(month_on + interval '1 month' as date)", -1) }} as census_on,
    source,
    provider_count,
    {%- for band in range(14) %}
        band_{{ '%02d' % band }},
    {%- endfor %}
    waiting_list_count,
    waiting_6_plus_count,
    waiting_13_plus_count,
    {{ ratio('waiting_6_plus_count', 'waiting_list_count') }} as waiting_6_plus_rate,
    activity_waiting_list_count,
    activity_planned_count,
    activity_unscheduled_count
from added_up
