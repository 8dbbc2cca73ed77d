with go_lives as (
    select
        party_code,
        go_live_type,
        go_live_on,
        source,
        source_status
    from {{ ref('stg_reference__go_lives') }}
),

programme_events as (
    select
        event_on,
        ends_on,
        scope_code,
        event_type,
        label,
        source,
        source_status
    from {{ ref('programme_events') }}
),

parties as (
    select
        party_code,
        short_name
    from {{ ref('dim_party') }}
),

events as (
    select
        go_lives.party_code as scope_code,
        'go_live_' || go_lives.go_live_type as event_type,
        go_lives.go_live_on as event_on,
        cast(null as date) as ends_on,
        coalesce(parties.short_name, go_lives.party_code)
        || ': '
        || replace(go_lives.go_live_type, '_', ' ')
        || ' go-live' as label,
        go_lives.source,
        go_lives.source_status
    from go_lives
    left join parties on go_lives.party_code = parties.party_code
    union all
    select
        scope_code,
        event_type,
        event_on,
        ends_on,
        label,
        source,
        source_status
    from programme_events
)

select
    event_type || '|' || scope_code || '|' || cast(event_on as string) as event_key,
    scope_code,
    event_type,
    event_on,
    ends_on,
    label,
    source,
    source_status
from events
