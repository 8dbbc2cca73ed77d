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
        source_status,
        metric_ids
    from {{ ref('programme_events') }}
),

downtimes as (
    select
        party_code,
        asset_type,
        is_planned,
        cast(started_at_local as date) as began_on,
        cast(ended_at_local as date) as ended_on,
        {{ minutes_between('started_at', 'ended_at') }} as down_minutes
    from {{ ref('stg_reference__downtimes') }}
),

parties as (
    select
        party_code,
        short_name
    from {{ ref('dim_party') }}
),

-- of several on one day one line is drawn
outages as (
    select
        party_code,
        began_on,
        max(ended_on) as ended_on,
        max(down_minutes) as down_minutes
    from downtimes
    where
        asset_type in ('PACS', 'VNA')
        and not is_planned
        and down_minutes >= 60 * {{ var('outage_marked_from_hours') }}
    group by party_code, began_on
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
        go_lives.source_status,
        cast(null as string) as metric_ids
    from go_lives
    left join parties on go_lives.party_code = parties.party_code
    union all
    select
        outages.party_code as scope_code,
        'outage' as event_type,
        outages.began_on as event_on,
        outages.ended_on as ends_on,
        coalesce(parties.short_name, outages.party_code)
        || ': image system down for '
        || cast(cast(floor(outages.down_minutes / 60) as int) as string)
        || ' hours' as label,
        'downtime feed' as source,
        'delivered' as source_status,
        cast(null as string) as metric_ids
    from outages
    left join parties on outages.party_code = parties.party_code
    union all
    select
        scope_code,
        event_type,
        event_on,
        ends_on,
        label,
        source,
        source_status,
        metric_ids
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
    source_status,
    metric_ids
from events
