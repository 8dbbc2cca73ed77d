{# Before the request and after the test there is no clock to restart. #}
{% macro clock_runs_on(rows, day) -%}
    {{ day }} between {{ rows }}.clock_start_on
    and coalesce({{ rows }}.started_on, date '9999-12-31')
{%- endmacro %}
