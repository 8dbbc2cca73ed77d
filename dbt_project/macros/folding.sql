{% macro latest_asserted(column, event_type=none) -%}
    {%- set of_type = "and event_type = '" ~ event_type ~ "' and event_at is not null" -%}
    max_by({{ column }}, assertion_no) filter (
        where {{ column }} is not null {{ of_type if event_type else '' }}
    )
{%- endmacro %}

{% macro earliest_event(column, event_type) -%}
    min({{ column }}) filter (where event_type = '{{ event_type }}')
{%- endmacro %}
