with censuses as (
    select
        party_code,
        trust_code,
        dm01_test,
        month_on,
        week_band
    from {{ ref('int_waiting_list_censuses') }}
),

exams as (
    select
        party_code,
        trust_code,
        dm01_test,
        activity_category,
        performed_on
    from {{ ref('fct_exam') }}
    where is_completed and dm01_test is not null
),

parties_without_list as (
    select party_code
    from {{ ref('int_parties_without_list') }}
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
        is_complete
    from {{ ref('int_months') }}
),

trust_closures as (
    select
        trust_code,
        closed_on
    from {{ ref('int_trust_closures') }}
),

counted as (
    select
        party_code,
        trust_code,
        dm01_test,
        month_on,
        {%- for band in range(14) %}
            count(*) filter (where week_band = {{ band }}) as band_{{ '%02d' % band }},
        {%- endfor %}
        true as is_list_known,
        0 as activity_waiting_list_count,
        0 as activity_planned_count,
        0 as activity_unscheduled_count
    from censuses
    group by party_code, trust_code, dm01_test, month_on
    union all
    select
        exams.party_code,
        exams.trust_code,
        exams.dm01_test,
        {{ month_of('exams.performed_on') }} as month_on,
        {%- for band in range(14) %}
            0 as band_{{ '%02d' % band }},
        {%- endfor %}
        bool_and(parties_without_list.party_code is null) as is_list_known,
        count(*) filter (where exams.activity_category = 'waiting_list')
            as activity_waiting_list_count,
        count(*) filter (where exams.activity_category = 'planned') as activity_planned_count,
        count(*) filter (where exams.activity_category = 'unscheduled')
            as activity_unscheduled_count
    from exams
    left join parties_without_list on exams.party_code = parties_without_list.party_code
    group by
        exams.party_code, exams.trust_code, exams.dm01_test, {{ month_of('exams.performed_on') }}
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('dm01_test') }} as dm01_test,
        month_on,
        {%- for band in range(14) %}
            sum(band_{{ '%02d' % band }}) as band_{{ '%02d' % band }},
        {%- endfor %}
        bool_or(is_list_known) as is_list_known,
        sum(activity_waiting_list_count) as activity_waiting_list_count,
        sum(activity_planned_count) as activity_planned_count,
        sum(activity_unscheduled_count) as activity_unscheduled_count
    from counted
    {{ roll_up(['month_on'], or_all=['dm01_test']) }}
),

-- a list of which nobody tells is not a list of 0
known as (
    select
        org_level,
        org_code,
        bool_or(is_list_known) as is_list_known
    from rolled_up
    group by org_level, org_code
),

-- an empty list is a list of 0, not a missing month
every_month as (
    {{ every_month('rolled_up', 'months', 'trust_closures', ['dm01_test']) }}
),

filled as (
    select
        every_month.org_level,
        every_month.org_code,
        every_month.dm01_test,
        months.census_on,
        {%- for band in range(14) %}
            case
                when known.is_list_known
                    then cast(coalesce(rolled_up.band_{{ '%02d' % band }}, 0) as bigint)
            end as band_{{ '%02d' % band }},
        {%- endfor %}
        cast(coalesce(rolled_up.activity_waiting_list_count, 0) as bigint)
            as activity_waiting_list_count,
        cast(coalesce(rolled_up.activity_planned_count, 0) as bigint)
            as activity_planned_count,
        cast(coalesce(rolled_up.activity_unscheduled_count, 0) as bigint)
            as activity_unscheduled_count
    from every_month
    inner join months on every_month.month_on = months.month_on
    inner join known
        on every_month.org_level = known.org_level and every_month.org_code = known.org_code
    left join rolled_up
        on
            every_month.org_level = rolled_up.org_level
            and every_month.org_code = rolled_up.org_code
            and every_month.dm01_test = rolled_up.dm01_test
            and every_month.month_on = rolled_up.month_on
),

summed as (
    select
        org_level,
        org_code,
        dm01_test,
        census_on,
        {%- for band in range(14) %}
            band_{{ '%02d' % band }},
        {%- endfor %}
        {{ sum_of_bands(0, 13) }} as waiting_list_count,
        {{ sum_of_bands(6, 13) }} as waiting_6_plus_count,
        band_13 as waiting_13_plus_count,
        activity_waiting_list_count,
        activity_planned_count,
        activity_unscheduled_count
    from filled
)

select
    summed.org_level,
    summed.org_code,
    summed.dm01_test,
    coalesce(dm01_tests.modality_group, 'All') as modality_group,
    summed.census_on,
    {%- for band in range(14) %}
        summed.band_{{ '%02d' % band }},
    {%- endfor %}
    summed.waiting_list_count,
    summed.waiting_6_plus_count,
    summed.waiting_13_plus_count,
    {{ ratio('summed.waiting_6_plus_count', 'summed.waiting_list_count') }} as waiting_6_plus_rate,
    summed.activity_waiting_list_count,
    summed.activity_planned_count,
    summed.activity_unscheduled_count
from summed
left join dm01_tests on summed.dm01_test = dm01_tests.dm01_test
