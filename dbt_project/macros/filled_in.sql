{% macro filled_in(text, figures) -%}
    {%- set parts = namespace(filled=text) -%}
    {%- for figure in figures -%}
        {%- set value = "'{" ~ figure ~ "}', '" ~ var(figure) ~ "'" -%}
        {%- set parts.filled = "replace(" ~ parts.filled ~ ", " ~ value ~ ")" -%}
    {%- endfor -%}
    {{ parts.filled }}
{%- endmacro %}
