{% macro unusable_time_flags() -%}
    '{{ var('unusable_time_flags') | join("', '") }}'
{%- endmacro %}
