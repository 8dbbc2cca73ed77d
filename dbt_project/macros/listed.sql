{% macro listed(column, separator, ordered_by, where=none) -%}
    {{ adapter.dispatch('listed', 'imaging')(column, separator, ordered_by, where) }}
{%- endmacro %}

{% macro default__listed(column, separator, ordered_by, where) -%}
    string_agg({{ column }}, {{ separator }} order by {{ ordered_by }})
    {%- if where %} filter (where {{ where }}){% endif %}
{%- endmacro %}

{% macro spark__listed(column, separator, ordered_by, where) -%}
    listagg({{ column }}, {{ separator }}) within group (order by {{ ordered_by }})
    {%- if where %} filter (where {{ where }}){% endif %}
{%- endmacro %}
