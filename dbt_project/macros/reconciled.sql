{% macro reconciled(findings, rows) -%}
    {%- set cases = [] -%}
    {%- for finding, band_no, is_judged, is_found in findings -%}
        {%- do cases.append((["'" ~ finding ~ "'", band_no], is_judged, is_found)) -%}
    {%- endfor -%}
    {{ counted_in_one_pass(
        rows, ['party_code', 'trust_code', 'modality_group', 'month_on'], ['finding', 'band_no'], cases,
        judged_as='judged_count', found_as='finding_count'
    ) }}
{%- endmacro %}
