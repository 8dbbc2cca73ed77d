{{ config(meta={'kept': {
    'by': 'exam_key',
    'in_parts': True,
    'inputs': {
        'fct_exam': 'exam_key',
        'int_exam_clocks': 'exam_key',
        'int_studies_linked_to_exams': 'exam_key',
    },
}}) }}

{%- set clocks = [
    'requested', 'received', 'vetted', 'booked',
    'offered', 'cancelled', 'dna', 'arrived',
    'started', 'completed', 'images_available', 'assigned',
    'preliminary', 'first_verified', 'communicated', 'first_viewed',
] -%}
with exams as (
    select
        exam_key,
        party_code,
        trust_code,
        modality_group
    from {{ ref('fct_exam') }}
),

exam_clocks as (
    select
        exam_key,
        clock,
        event_at,
        event_at_local,
        source,
        precision
    from {{ ref('int_exam_clocks') }}
),

study_links as (
    select
        exam_key,
        link_method,
        is_link_against_number
    from {{ ref('int_studies_linked_to_exams') }}
),

pivoted as (
    select
        exam_key,
        {%- for clock in clocks %}
            max(event_at) filter (where clock = '{{ clock }}') as {{ clock }}_at,
            max(event_at_local) filter (where clock = '{{ clock }}') as {{ clock }}_at_local,
            max(source) filter (where clock = '{{ clock }}') as {{ clock }}_source,
            max(precision) filter (where clock = '{{ clock }}') as {{ clock }}_precision
            {%- if not loop.last %},{% endif %}
        {%- endfor %}
    from exam_clocks
    group by exam_key
)

select
    exams.exam_key,
    exams.party_code,
    exams.trust_code,
    exams.modality_group,
    {%- for clock in clocks %}
        pivoted.{{ clock }}_at,
        pivoted.{{ clock }}_at_local,
        pivoted.{{ clock }}_source,
        pivoted.{{ clock }}_precision,
    {%- endfor %}
    study_links.link_method,
    study_links.is_link_against_number
from exams
left join pivoted on exams.exam_key = pivoted.exam_key
left join study_links on exams.exam_key = study_links.exam_key
