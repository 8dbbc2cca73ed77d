{# Before the request and after the test there is no clock to restart. #}
{% macro clock_runs_on(rows, day) -%}
    {{ day }} between {{ rows }}.clock_start_on
    and coalesce({{ rows }}.started_on, date '9999-12-31')
{%- endmacro %}

{# The date of a planned test was agreed, so nobody waits before it; from then on they do. #}
{% macro waits_from(rows) -%}
    case
        when {{ rows }}.activity_category <> 'planned' then {{ rows }}.clock_start_on
        when {{ rows }}.due_on is not null
            then greatest({{ rows }}.clock_start_on, {{ rows }}.due_on)
    end
{%- endmacro %}
