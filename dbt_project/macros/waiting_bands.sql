{% macro sum_of_bands(first_band, last_band) -%}
    {%- for band in range(first_band, last_band + 1) -%}
        {{ 'band_%02d' % band }}{% if not loop.last %} + {% endif %}
    {%- endfor -%}
{%- endmacro %}
