{% macro latest_asserted(column, event_type=none) -%}
    {%- set of_type = "and event_type = '" ~ event_type ~ "' and event_at is not null" -%}
    max_by({{ column }}, assertion_no) filter (
        where {{ column }} is not null {{ of_type if event_type else '' }}
    )
{%- endmacro %}

{% macro earliest_event(column, event_type) -%}
    -- a day without a time counts as its end: it never comes before a time of the same day
    min_by(
        {{ column }},
        case when is_date_only then {{ add_seconds('event_at', 86399) }} else event_at end
    ) filter (where event_type = '{{ event_type }}' and event_at is not null)
{%- endmacro %}
