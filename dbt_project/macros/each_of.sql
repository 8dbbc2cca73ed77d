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

{% macro spark__each_of(name, columns, rows) -%}
    {%- set values = [] -%}
    {%- for row in rows -%}
        {%- do values.append(row | join(', ')) -%}
    {%- endfor -%}
    lateral view stack({{ rows | length }}, {{ values | join(', ') }}) {{ name }}
    as {{ columns | join(', ') }}
{%- endmacro %}
