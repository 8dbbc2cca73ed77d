{% macro metric_rows(computed) -%}
    {%- set blocks = [] -%}
    {%- for relation, metrics in computed.items() -%}
        {%- for metric in metrics -%}
            {%- do blocks.append(rows_of_metric(relation, *metric[:3], **(metric[3] or {}))) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ blocks | join('\n    union all\n    ') }}
{%- endmacro %}

{% macro rows_of_metric(
    rows, metric_id, numerator, denominator, where=none, percentile=none, kept=[]
) -%}
    select
        '{{ metric_id }}' as metric_id,
        org_level,
        org_code,
        modality_group,
        {{ kept | join(', ') }}{{ ',' if kept }}
        month_on,
        cast({{ numerator or 'null' }} as double) as numerator,
        cast({{ denominator or 'null' }} as double) as denominator,
        cast({{ percentile or 'null' }} as double) as percentile
    from {{ rows }}
    {%- if where %}
    where {{ where }}
    {%- endif %}
{%- endmacro %}
