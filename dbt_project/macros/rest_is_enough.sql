{# What is hidden must hold nobody, or enough people: else the total less what is shown tells it. #}
{% macro rest_is_enough(people, is_enough, keys) -%}
    coalesce(
        sum({{ people }}) filter (where not {{ is_enough }}) over (
            partition by {{ keys | join(', ') }}
        ) >= {{ var('min_people_count') }},
        true
    )
{%- endmacro %}
