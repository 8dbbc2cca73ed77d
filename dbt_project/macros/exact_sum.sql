{# In decimals: a sum of floats depends on the order of adding up, the more so the more rows. #}
{% macro exact_sum(amount) -%}
    cast(sum(cast({{ amount }} as decimal(28, 10))) as double)
{%- endmacro %}
