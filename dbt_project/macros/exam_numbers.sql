{% macro filler_key() -%}
    issuer_ods || '|F|' || filler_id || '|' || cast(coalesce(obr_set, 1) as string)
{%- endmacro %}
