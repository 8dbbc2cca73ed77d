{#- DuckDB 2.0.0 cannot bind split_part in a condition on a stored column that holds only nulls. -#}
{% macro image_type_value(position) -%}
    split_part(coalesce(image_type, ''), chr(92), {{ position }})
{%- endmacro %}
