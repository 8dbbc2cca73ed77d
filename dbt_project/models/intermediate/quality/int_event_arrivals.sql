{{ config(meta={'kept': {
    'by': 'event_id',
    'inputs': {
        'stg_ris__events': 'event_id',
        'stg_reporting__reports': 'event_id',
    },
}}) }}

{%- set columns = [
    'event_id', 'event_type', 'feed_id', 'event_at', 'event_at_local', 'ts_precision', 'ts_flag',
    'arrived_at'
] -%}
with ris_events as (
    select
        {{ columns | join(',
        ') }}
    from {{ ref('stg_ris__events') }}
    where exam_key is not null
),

reports as (
    select
        {{ columns | join(',
        ') }}
    from {{ ref('stg_reporting__reports') }}
    where exam_key is not null
),

feeds as (
    select
        feed_id,
        feed_kind,
        party_code
    from {{ ref('feeds') }}
),

months as (
    select
        month_on,
        census_at
    from {{ ref('int_months') }}
),

feeds_begun as (
    select
        feed_id,
        begins_at
    from {{ ref('int_feeds_begun') }}
),

assertions as (
    select
        {{ columns | join(',
        ') }}
    from ris_events
    union all
    select
        {{ columns | join(',
        ') }}
    from reports
),

told as (
    select
        assertions.event_id,
        assertions.feed_id,
        min(assertions.event_type) as event_type,
        min(assertions.event_at) as event_at,
        min(assertions.event_at_local) as event_at_local,
        bool_or(
            coalesce(assertions.ts_precision, '') = 'd'
            or coalesce(assertions.ts_flag, '') in ({{ unusable_time_flags() }})
        ) as is_time_doubtful,
        min(assertions.arrived_at) as arrived_at
    from assertions
    inner join feeds_begun on assertions.feed_id = feeds_begun.feed_id
    where assertions.event_at >= feeds_begun.begins_at
    group by assertions.event_id, assertions.feed_id
)

select
    told.event_id,
    told.feed_id,
    feeds.feed_kind,
    feeds.party_code,
    told.event_type,
    months.month_on,
    told.event_at,
    told.arrived_at,
    -- a time that is doubtful, or lies after its arrival, carries no hours
    case
        when not told.is_time_doubtful and told.arrived_at >= told.event_at
            then {{ seconds_between('told.event_at', 'told.arrived_at') }} / 3600
    end as arrival_hours,
    row_number() over (
        partition by told.event_id
        order by told.arrived_at, told.feed_id
    ) = 1 as is_first_told,
    told.arrived_at > {{ add_seconds(
        'months.census_at', 'cast(86400 as bigint) * ' ~ var('month_closes_after_days')
    ) }} as is_late
from told
inner join months on {{ month_of('told.event_at_local') }} = months.month_on
left join feeds on told.feed_id = feeds.feed_id
