{# Ten decimals: the last digits of a float depend on the order of adding up. #}
{% macro whole_sum(column, among='true') -%}
    case
        when count(*) filter (where {{ among }} and {{ column }} is null) = 0
            then round(sum({{ column }}) filter (where {{ among }}), 10)
    end
{%- endmacro %}
