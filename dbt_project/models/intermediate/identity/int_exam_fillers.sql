{{ config(meta={'kept': {
    'by': 'alias_key',
    'inputs': {
        'stg_ris__events': told_under_a_filler(),
        'stg_reporting__reports': told_under_a_filler(),
    },
}}) }}

with ris_events as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from {{ ref('stg_ris__events') }}
),

reports as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from {{ ref('stg_reporting__reports') }}
),

events as (
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from ris_events
    union all
    select
        exam_key,
        issuer_ods,
        accession,
        filler_id,
        obr_set
    from reports
)

-- An appointment message knows only the filler number. Any message that shows both
-- numbers tells which exam that filler number means.
select
    {{ filler_key() }} as alias_key,
    min(exam_key) as exam_key
from events
where accession is not null and filler_id is not null
group by alias_key
