{% macro quality_rules(rules, rows) -%}
    {%- set sums, failing, checked, names = [], [], [], [] -%}
    {%- for metric_id, rule, flag in rules -%}
        {%- do sums.append(
            'count(*) filter (where ' ~ flag ~ '_checked and ' ~ flag ~ '_failing) as '
            ~ flag ~ '_failing_count'
        ) -%}
        {%- do sums.append(
            'count(*) filter (where ' ~ flag ~ '_checked) as ' ~ flag ~ '_checked_count'
        ) -%}
        {%- do failing.append("when '" ~ rule ~ "' then summed." ~ flag ~ '_failing_count') -%}
        {%- do checked.append("when '" ~ rule ~ "' then summed." ~ flag ~ '_checked_count') -%}
        {%- do names.append("('" ~ metric_id ~ "', '" ~ rule ~ "')") -%}
    {%- endfor -%}
    select
        summed.party_code,
        summed.trust_code,
        summed.month_on,
        rules.metric_id,
        rules.rule,
        case rules.rule {{ failing | join(' ') }} end as failing_count,
        case rules.rule {{ checked | join(' ') }} end as checked_count
    from (
        select
            party_code,
            trust_code,
            month_on,
            {{ sums | join(',\n            ') }}
        from {{ rows }}
        group by party_code, trust_code, month_on
    ) as summed
    cross join (values {{ names | join(', ') }}) as rules (metric_id, rule)
{%- endmacro %}
