{% macro flag_against_arrival(flag, instant, arrived_at) -%}
    case
        when
            {{ instant }} > {{ add_seconds(
                arrived_at, 'cast(3600 as bigint) * ' ~ var('future_tolerance_hours')
            ) }}
            then 'implausible'
        else {{ flag }}
    end
{%- endmacro %}
