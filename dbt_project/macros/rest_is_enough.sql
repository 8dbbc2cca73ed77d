{# What is hidden must hold nobody, or enough people: else the total less what is shown tells it. #}
{% macro rest_is_enough(people, is_enough, keys) -%}
    coalesce(
        sum(case when not {{ is_enough }} then {{ people }} end) over (
            partition by {{ keys | join(', ') }}
        ) >= {{ var('min_people_count') }},
        true
    )
{%- endmacro %}
