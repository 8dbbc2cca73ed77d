{% macro quality_rules(rules, rows) -%}
    {%- set cases = [] -%}
    {%- for metric_id, rule, flag in rules -%}
        {%- do cases.append((
            ["'" ~ metric_id ~ "'", "'" ~ rule ~ "'"], flag ~ '_checked', flag ~ '_failing'
        )) -%}
    {%- endfor -%}
    {{ counted_in_one_pass(
        rows, ['party_code', 'trust_code', 'month_on'], ['metric_id', 'rule'], cases,
        judged_as='checked_count', found_as='failing_count'
    ) }}
{%- endmacro %}
