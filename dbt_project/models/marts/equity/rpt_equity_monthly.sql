{%- set group = ['patient_group_kind', 'patient_group', 'group_order', 'is_group_known'] -%}
{%- set computed = {
    'parts': [
        ['W02', 'waiting_6_plus_count', 'waiting_list_count', {'kept': group}],
        ['W05', none, 'listed_count', {'percentile': 'listed_median_days', 'kept': group}],
        ['W05P90', none, 'listed_count', {'percentile': 'listed_p90_days', 'kept': group}],
    ],
} -%}
{%- set all_groups = [
    'metric_id', 'org_level', 'org_code', 'modality_group', 'patient_group_kind', 'month_on',
] -%}

with parts as (
    select
        org_level,
        org_code,
        modality_group,
        {{ group | join(',\n        ') }},
        month_on,
        waiting_list_count,
        waiting_6_plus_count,
        listed_count,
        listed_median_days,
        listed_p90_days
    from {{ ref('int_equity_parts_monthly') }}
),

measured as (
    {{ metric_rows(computed) }}
),

valued as (
    select
        metric_id,
        org_level,
        org_code,
        modality_group,
        {{ group | join(',\n        ') }},
        month_on,
        numerator,
        denominator,
        case when numerator is null then percentile else {{ ratio('numerator', 'denominator') }} end
            as value
    from measured
    where denominator > 0
),

-- the whole of an organisation, and its least deprived fifth, stand beside each of its groups
compared as (
    select
        metric_id,
        org_level,
        org_code,
        modality_group,
        {{ group | join(',\n        ') }},
        month_on,
        numerator,
        denominator,
        value,
        sum(case when is_group_known then denominator else 0 end)
            over (partition by {{ all_groups | join(', ') }}) as known_denominator,
        sum(denominator) over (partition by {{ all_groups | join(', ') }}) as whole_denominator,
        max(case when patient_group = '5 least deprived' then value end)
            over (partition by {{ all_groups | join(', ') }}) as least_deprived_value,
        max(case when patient_group = '5 least deprived' then denominator end)
            over (partition by {{ all_groups | join(', ') }}) as least_deprived_denominator
    from valued
)

select
    metric_id,
    org_level,
    org_code,
    modality_group,
    {{ group | join(',\n    ') }},
    month_on as period_start_on,
    numerator,
    denominator,
    value,
    {{ ratio('known_denominator', 'whole_denominator') }} as known_rate,
    case when is_group_known then value - least_deprived_value end as gap_to_least_deprived,
    case when is_group_known then least_deprived_denominator end as least_deprived_denominator,
    false as is_withheld
from compared
