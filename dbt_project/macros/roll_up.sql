{% macro org_level() -%}
    case
        when grouping(party_code) = 0 then 'party'
        when grouping(trust_code) = 0 then 'trust'
        else 'network'
    end
{%- endmacro %}

{% macro org_code() -%}
    case
        when grouping(party_code) = 0 then party_code
        when grouping(trust_code) = 0 then trust_code
        else 'NETWORK'
    end
{%- endmacro %}

{% macro or_all(column) -%}
    case when grouping({{ column }}) = 0 then {{ column }} else 'All' end
{%- endmacro %}

{% macro roll_up(
    keys, or_all=[], organisations=['party_code', 'trust_code'], nested=false
) -%}
    {%- set options = [[]] -%}
    {%- for column in or_all -%}
        {%- for option in (options[-1:] if nested else options | list) -%}
            {%- do options.append(option + [column]) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set column_sets = [] -%}
    {%- for option in options -%}
        {%- do column_sets.append((keys + option) | join(', ')) -%}
        {%- for organisation in organisations -%}
            {%- do column_sets.append((keys + [organisation] + option) | join(', ')) -%}
        {%- endfor -%}
    {%- endfor -%}
    group by grouping sets (
        ({{ column_sets | join('),\n        (') }})
    )
{%- endmacro %}

{% macro station_levels() -%}
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    {{ or_all('station_name') }} as station_name,
    case when grouping(station_name) = 0 then min(site_code) else 'All' end as site_code
{%- endmacro %}

{% macro roll_up_stations(keys) -%}
    {{ roll_up(keys, or_all=['modality_group', 'station_name'], nested=true) }}
{%- endmacro %}

{% macro ratio(numerator, denominator) -%}
    (cast({{ numerator }} as double) / nullif({{ denominator }}, 0))
{%- endmacro %}

{% macro every_month(rows, months, closures, keys) -%}
    select
        seen.org_level,
        seen.org_code,
        seen.{{ keys | join(', seen.') }},
        {{ months }}.month_on
    from (
        select
            org_level,
            org_code,
            {{ keys | join(', ') }},
            min(month_on) as first_month_on
        from {{ rows }}
        group by all
    ) as seen
    inner join {{ months }}
        on seen.first_month_on <= {{ months }}.month_on
    left join {{ closures }}
        on seen.org_level = 'trust' and seen.org_code = {{ closures }}.trust_code
    where
        {{ months }}.is_complete
        and ({{ closures }}.closed_on is null or {{ months }}.month_on <= {{ closures }}.closed_on)
{%- endmacro %}
