{% macro holds_all_of(words, others) -%}
    {{ adapter.dispatch('holds_all_of', 'imaging')(words, others) }}
{%- endmacro %}

{% macro default__holds_all_of(words, others) -%}
    list_has_all(string_split({{ words }}, ' '), string_split({{ others }}, ' '))
{%- endmacro %}

{% macro spark__holds_all_of(words, others) -%}
    size(array_except(split({{ others }}, ' '), split({{ words }}, ' '))) = 0
{%- endmacro %}
