{# Rules of kept models (materializations/kept.sql) that several models have. #}

{# Of a file all rows come with it: its keys are those of the file. #}
{% macro whole_deliveries() -%}
    {{ return({'touches': 'select source_sha from {changes}', 'only': 'changes'}) }}
{%- endmacro %}

{# Of a model by exam: the images of the studies that are linked to its exams. #}
{% macro images_of_linked_studies() -%}
    {{ return({
        'touches':
            'select exam_key from {int_exam_study_links} '
            'where study_uid in (select study_uid from {changes})',
        'only':
            'study_uid in (select study_uid from {int_exam_study_links} where exam_key in {keys})',
    }) }}
{%- endmacro %}

{# Of a model by exam: the comparable exams of the same person. #}
{% macro exams_of_the_same_person() -%}
    {{ return({
        'touches':
            'select exam_key from {changes} union all select exam_key from {int_comparable_exams} '
            'where person_key in (select person_key from {changes})',
        'only':
            'person_key in (select person_key from {int_comparable_exams} where exam_key in {keys})',
    }) }}
{%- endmacro %}

{# Of a model by filler number: what was told under it. #}
{% macro told_under_a_filler() -%}
    {{ return({
        'touches': 'select ' ~ filler_key() ~ ' from {changes} where filler_id is not null',
        'only': 'filler_id is not null and ' ~ filler_key() ~ ' in {keys}',
    }) }}
{%- endmacro %}

{# Of a model by exam: what was told under any number of it. #}
{% macro told_under_any_number() -%}
    {{ return({
        'touches':
            'select coalesce(aliases.exam_key, changed.exam_key) from {changes} as changed '
            'left join {int_exam_aliases} as aliases on changed.exam_key = aliases.alias_key '
            'where changed.exam_key is not null',
        'only':
            'exam_key in (select kept_key from {keys} as keys union all '
            'select alias_key from {int_exam_aliases} where exam_key in {keys})',
    }) }}
{%- endmacro %}
