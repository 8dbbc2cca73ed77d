{{ config(meta={'kept': {
    'by': 'month_on',
    'inputs': {
        'int_exams_classified': {
            'touches':
                'select ' ~ month_of('performed_on') ~ ' from {changes} '
                'where performed_on is not null',
        },
        'int_request_to_test_days': {'only': 'month_on in {keys}'},
    },
}}) }}

with waited as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        listed_days,
        unadjusted_days,
        unscheduled_days
    from {{ ref('int_request_to_test_days') }}
)

select
    {{ org_level() }} as org_level,
    {{ org_code() }} as org_code,
    {{ or_all('modality_group') }} as modality_group,
    month_on,
    {%- for group in ['listed', 'unadjusted', 'unscheduled'] %}
        count({{ group }}_days) as {{ group }}_count,
        {%- for name, share in [('median', 0.5), ('p90', 0.9)] %}
            {{ percentile_of_enough(group ~ '_days', share) }} as {{ group }}_{{ name }}_days
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
        {%- if not loop.last %},{% endif %}
    {%- endfor %}
from waited
{{ roll_up(['month_on'], or_all=['modality_group']) }}
