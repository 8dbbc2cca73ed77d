{% macro each_of(name, columns, rows) -%}
    {{ adapter.dispatch('each_of', 'imaging')(name, columns, rows) }}
{%- endmacro %}

{% macro default__each_of(name, columns, rows) -%}
    {%- set tuples = [] -%}
    {%- for row in rows -%}
        {%- do tuples.append('(' ~ row | join(', ') ~ ')') -%}
    {%- endfor -%}
    cross join lateral (
        values {{ tuples | join(', ') }}
    ) as {{ name }} ({{ columns | join(', ') }})
{%- endmacro %}

{# Rows of `stack` would not get one type per column on Spark; structs in a list do. #}
{% macro spark__each_of(name, columns, rows) -%}
    {%- set structs = [] -%}
    {%- for row in rows -%}
        {%- set fields = [] -%}
        {%- for value in row -%}
            {%- do fields.append("'" ~ columns[loop.index0] ~ "', " ~ value) -%}
        {%- endfor -%}
        {%- do structs.append('named_struct(' ~ fields | join(', ') ~ ')') -%}
    {%- endfor -%}
    cross join lateral inline(
        array({{ structs | join(', ') }})
    ) as {{ name }} ({{ columns | join(', ') }})
{%- endmacro %}
