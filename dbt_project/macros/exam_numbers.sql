{% macro filler_key() -%}
    issuer_ods || '|F|' || filler_id || '|' || cast(coalesce(obr_set, 1) as string)
{%- endmacro %}

{% macro touched_under_any_number() -%}
    select coalesce(aliases.exam_key, changed.exam_key)
    from {changes} as changed
    left join {int_exam_aliases} as aliases on changed.exam_key = aliases.alias_key
    where changed.exam_key is not null
{%- endmacro %}

{% macro told_under_any_number() -%}
    (
        exam_key in {keys}
        or exam_key in (select alias_key from {int_exam_aliases} where exam_key in {keys})
    )
{%- endmacro %}
