{% macro whole_sum(column, among='true') -%}
    case
        when count(*) filter (where {{ among }} and {{ column }} is null) = 0
            then sum({{ column }}) filter (where {{ among }})
    end
{%- endmacro %}
