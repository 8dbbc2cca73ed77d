{% macro left_join_owners(rows, day) -%}
    left join site_owners
        on
            {{ rows }}.site_code = site_owners.site_code
            and {{ rows }}.party_code = site_owners.party_code
            and {{ day }} between site_owners.valid_from and site_owners.valid_to
{%- endmacro %}
