{% macro image_type_value(position) -%}
    split_part(image_type, chr(92), {{ position }})
{%- endmacro %}
