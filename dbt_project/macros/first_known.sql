{# To be followed by `over`. #}
{% macro first_known(column) -%}
    {{ adapter.dispatch('first_known', 'imaging')(column) }}
{%- endmacro %}

{% macro default__first_known(column) -%}
    first_value({{ column }} ignore nulls)
{%- endmacro %}

{% macro spark__first_known(column) -%}
    first_value({{ column }}) ignore nulls
{%- endmacro %}
