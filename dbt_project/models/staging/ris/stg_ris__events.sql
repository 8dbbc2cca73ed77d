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
    {{ renamed_event_columns() }}
from assertions
-- ranks below 70: order, appointment, attendance, acquisition
where event_rank < 70
