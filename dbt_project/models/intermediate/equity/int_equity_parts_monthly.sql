{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_exams_classified': {
            'touches':
                'select month_on from (select ' ~ month_of('performed_on') ~ ' as month_on '
                'from {changes} union all select month_on from {int_waiting_list_censuses} '
                'where exam_key in (select exam_key from {changes})) where month_on is not null',
        },
        'int_waiting_list_censuses': 'month_on',
        'int_request_to_test_days': {'only': 'month_on in {keys}'},
    },
}}) }}

{%- set group = ['patient_group_kind', 'patient_group', 'group_order', 'is_group_known'] -%}

with censuses as (
    select
        exam_key,
        trust_code,
        dm01_test,
        month_on,
        week_band
    from {{ ref('int_waiting_list_censuses') }}
),

days as (
    select
        exam_key,
        trust_code,
        modality_group,
        month_on,
        listed_days
    from {{ ref('int_request_to_test_days') }}
    where listed_days is not null
),

patient_groups as (
    select
        exam_key,
        {{ group | join(',\n        ') }}
    from {{ ref('int_exam_patient_groups') }}
),

dm01_tests as (
    select
        dm01_test,
        modality_group
    from {{ ref('dm01_tests') }}
),

counted as (
    select
        censuses.exam_key,
        censuses.trust_code,
        dm01_tests.modality_group,
        censuses.month_on,
        censuses.week_band,
        null as listed_days
    from censuses
    inner join dm01_tests on censuses.dm01_test = dm01_tests.dm01_test
    union all
    select
        exam_key,
        trust_code,
        modality_group,
        month_on,
        null as week_band,
        listed_days
    from days
),

grouped as (
    select
        counted.trust_code,
        counted.modality_group,
        patient_groups.{{ group | join(',\n        patient_groups.') }},
        counted.month_on,
        counted.week_band,
        counted.listed_days
    from counted
    inner join patient_groups on counted.exam_key = patient_groups.exam_key
),

-- No row by party: parties and trusts overlap, so one would tell what is withheld of the other.
rolled_up as (
    select
        case when grouping(trust_code) = 0 then 'trust' else 'network' end as org_level,
        case when grouping(trust_code) = 0 then trust_code else 'NETWORK' end as org_code,
        {{ or_all('modality_group') }} as modality_group,
        {{ group | join(',\n        ') }},
        month_on,
        {%- for band in range(14) %}
            count(*) filter (where week_band = {{ band }}) as band_{{ '%02d' % band }},
        {%- endfor %}
        count(listed_days) as listed_count,
        {%- for name, share in [('median', 0.5), ('p90', 0.9)] %}
            {{ percentile_of_enough('listed_days', share) }} as listed_{{ name }}_days
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from grouped
    {{ roll_up(group + ['month_on'], or_all=['modality_group'], organisations=['trust_code']) }}
)

select
    org_level,
    org_code,
    modality_group,
    {{ group | join(',\n    ') }},
    month_on,
    {{ sum_of_bands(0, 13) }} as waiting_list_count,
    {{ sum_of_bands(6, 13) }} as waiting_6_plus_count,
    listed_count,
    listed_median_days,
    listed_p90_days
from rolled_up
