{% macro roll_up_totals(model, keys, column, where=none) -%}
    select
        '{{ column }}' as figure,
        concat_ws(' ', {{ keys | join(', ') }}) as row_key,
        sum(case when org_level = 'network' then {{ column }} else 0 end) as network_total,
        sum(case when org_level = 'party' then {{ column }} else 0 end) as party_total,
        sum(case when org_level = 'trust' then {{ column }} else 0 end) as trust_total
    from {{ model }}
    {%- if where %}
    where {{ where }}
    {%- endif %}
    group by all
{%- endmacro %}
