{{ config(meta={'kept': {
    'by': 'source_sha',
    'inputs': {
        'imaging_events': whole_deliveries(),
    },
}}) }}

with assertions as (
    select * from {{ source('landing', 'imaging_events') }}
)

select
    {{ renamed_event_columns() }},
    actor_role,
    result_hash,
    report_lines,
    report_words as word_count
from assertions
-- ranks 70 to 99: reading, report, communication of the result
where event_rank between 70 and 99
