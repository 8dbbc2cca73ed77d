{% macro date_spine(first_day, last_day, step, from_relation) -%}
    {{ adapter.dispatch('date_spine', 'imaging')(first_day, last_day, step, from_relation) }}
{%- endmacro %}

{% macro default__date_spine(first_day, last_day, step, from_relation) -%}
    select cast(unnest(
        generate_series({{ first_day }}, {{ last_day }}, interval '1 {{ step }}')
    ) as date) as day_on
    from {{ from_relation }}
{%- endmacro %}

{% macro spark__date_spine(first_day, last_day, step, from_relation) -%}
    select
        explode(sequence(
            cast({{ first_day }} as date), cast({{ last_day }} as date), interval '1 {{ step }}'
        )) as day_on
    from {{ from_relation }}
{%- endmacro %}
