{% macro reconciled(rows, finding, is_judged, is_found, band_no=0) -%}
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        '{{ finding }}' as finding,
        {{ band_no }} as band_no,
        count(*) filter (where {{ is_found }}) as finding_count,
        count(*) as judged_count
    from {{ rows }}
    where {{ is_judged }}
    group by party_code, trust_code, modality_group, month_on
{%- endmacro %}
