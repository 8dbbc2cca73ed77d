{% macro percentile_of_enough(column, share) -%}
    case
        when count({{ column }}) >= {{ var('percentile_min_count') }}
            then percentile_cont({{ share }}) within group (order by {{ column }})
    end
{%- endmacro %}
