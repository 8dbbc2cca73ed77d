{% macro quality_rule(metric_id, rule, flag, rows='judged') -%}
    select
        party_code,
        trust_code,
        month_on,
        '{{ metric_id }}' as metric_id,
        '{{ rule }}' as rule,
        count(*) filter (where {{ flag }}_checked and {{ flag }}_failing) as failing_count,
        count(*) filter (where {{ flag }}_checked) as checked_count
    from {{ rows }}
    group by party_code, trust_code, month_on
{%- endmacro %}
