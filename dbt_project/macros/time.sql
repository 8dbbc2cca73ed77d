{% macro seconds_between(earlier, later) -%}
    {{ adapter.dispatch('seconds_between', 'imaging')(earlier, later) }}
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    date_diff('second', {{ earlier }}, {{ later }})
{%- endmacro %}

{# The seconds begun between the two, as date_diff counts them; timestampdiff drops fractions. #}
{% macro spark__seconds_between(earlier, later) -%}
    (
        unix_seconds(cast({{ later }} as timestamp))
        - unix_seconds(cast({{ earlier }} as timestamp))
    )
{%- endmacro %}

{% macro minutes_between(earlier, later) -%}
    {{ minutes(seconds_between(earlier, later)) }}
{%- endmacro %}

{% macro minutes(seconds) -%}
    (cast({{ seconds }} as double) / 60)
{%- endmacro %}

{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between', 'imaging')(earlier, later) }}
{%- endmacro %}

{% macro default__days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{% macro add_seconds(instant, seconds) -%}
    {{ adapter.dispatch('add_seconds', 'imaging')(instant, seconds) }}
{%- endmacro %}

{% macro default__add_seconds(instant, seconds) -%}
    ({{ instant }} + to_microseconds(cast(1000000 * cast({{ seconds }} as double) as bigint)))
{%- endmacro %}

{# A cast to bigint rounds on DuckDB and cuts off on Spark, where 16.4 s would be 16,399,999 us. #}
{% macro spark__add_seconds(instant, seconds) -%}
    timestampadd(
        microsecond,
        cast(rint(1000000 * cast({{ seconds }} as double)) as bigint),
        {{ instant }}
    )
{%- endmacro %}

{% macro add_days(day, days) -%}
    cast({{ day }} + interval '{{ days }} days' as date)
{%- endmacro %}

{% macro local_from_utc(instant) -%}
    {{ adapter.dispatch('local_from_utc', 'imaging')(instant) }}
{%- endmacro %}

{% macro default__local_from_utc(instant) -%}
    timezone('{{ var("time_zone") }}', {{ instant }})
{%- endmacro %}

{% macro spark__local_from_utc(instant) -%}
    cast(from_utc_timestamp({{ instant }}, '{{ var("time_zone") }}') as timestamp_ntz)
{%- endmacro %}

{% macro utc_from_local(wall_clock) -%}
    {{ adapter.dispatch('utc_from_local', 'imaging')(wall_clock) }}
{%- endmacro %}

{% macro default__utc_from_local(wall_clock) -%}
    timezone('{{ var("time_zone") }}', cast({{ wall_clock }} as timestamp))
{%- endmacro %}

{% macro spark__utc_from_local(wall_clock) -%}
    to_utc_timestamp(cast({{ wall_clock }} as timestamp), '{{ var("time_zone") }}')
{%- endmacro %}

{% macro local_date(instant) -%}
    cast({{ local_from_utc(instant) }} as date)
{%- endmacro %}

{% macro hours_ahead_of_utc(instant) -%}
    ({{ seconds_between('cast(' ~ instant ~ ' as timestamp)', local_from_utc(instant)) }} / 3600)
{%- endmacro %}

{% macro month_of(day) -%}
    cast(date_trunc('month', {{ day }}) as date)
{%- endmacro %}

{% macro iso_weekday(day) -%}
    {{ adapter.dispatch('iso_weekday', 'imaging')(day) }}
{%- endmacro %}

{% macro default__iso_weekday(day) -%}
    isodow({{ day }})
{%- endmacro %}

{% macro spark__iso_weekday(day) -%}
    extract(dayofweek_iso from {{ day }})
{%- endmacro %}
