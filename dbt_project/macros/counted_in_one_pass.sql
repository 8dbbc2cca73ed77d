{% macro counted_in_one_pass(rows, keys, labels, cases, judged_as, found_as) -%}
    {%- set sums, judged, found, names = [], [], [], [] -%}
    {%- for values, is_judged, is_found in cases -%}
        {%- set n = loop.index -%}
        {%- do sums.append('count(*) filter (where ' ~ is_judged ~ ') as judged_' ~ n) -%}
        {%- do sums.append(
            'count(*) filter (where (' ~ is_judged ~ ') and (' ~ is_found ~ ')) as found_' ~ n
        ) -%}
        {%- do judged.append('when ' ~ n ~ ' then summed.judged_' ~ n) -%}
        {%- do found.append('when ' ~ n ~ ' then summed.found_' ~ n) -%}
        {%- do names.append('(' ~ n ~ ', ' ~ values | join(', ') ~ ')') -%}
    {%- endfor -%}
    select
        summed.{{ keys | join(',\n        summed.') }},
        cases.{{ labels | join(',\n        cases.') }},
        case cases.case_no {{ found | join(' ') }} end as {{ found_as }},
        case cases.case_no {{ judged | join(' ') }} end as {{ judged_as }}
    from (
        select
            {{ keys | join(',\n            ') }},
            {{ sums | join(',\n            ') }}
        from {{ rows }}
        group by {{ keys | join(', ') }}
    ) as summed
    cross join (values {{ names | join(', ') }}) as cases (case_no, {{ labels | join(', ') }})
{%- endmacro %}
