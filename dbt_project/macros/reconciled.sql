{% macro reconciled(cases, rows) -%}
    {%- set sums, found, judged, names = [], [], [], [] -%}
    {%- for finding, band_no, is_judged, is_found in cases -%}
        {%- set n = loop.index -%}
        {%- do sums.append(
            'count(*) filter (where (' ~ is_judged ~ ') and (' ~ is_found ~ ')) as found_' ~ n
        ) -%}
        {%- do sums.append('count(*) filter (where ' ~ is_judged ~ ') as judged_' ~ n) -%}
        {%- do found.append('when ' ~ n ~ ' then summed.found_' ~ n) -%}
        {%- do judged.append('when ' ~ n ~ ' then summed.judged_' ~ n) -%}
        {%- do names.append('(' ~ n ~ ", '" ~ finding ~ "', " ~ band_no ~ ')') -%}
    {%- endfor -%}
    select
        summed.party_code,
        summed.trust_code,
        summed.modality_group,
        summed.month_on,
        cases.finding,
        cases.band_no,
        case cases.case_no {{ found | join(' ') }} end as finding_count,
        case cases.case_no {{ judged | join(' ') }} end as judged_count
    from (
        select
            party_code,
            trust_code,
            modality_group,
            month_on,
            {{ sums | join(',\n            ') }}
        from {{ rows }}
        group by party_code, trust_code, modality_group, month_on
    ) as summed
    cross join (values {{ names | join(', ') }}) as cases (case_no, finding, band_no)
{%- endmacro %}
