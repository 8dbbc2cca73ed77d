with sessions as (
    select
        party_code,
        week_start_on,
        team,
        hours
    from {{ ref('int_reporting_sessions') }}
),

reports as (
    select
        reported_party_code as party_code,
        team,
        cast(date_trunc('week', verified_on) as date) as week_start_on,
        count(*) as report_count,
        {{ exact_sum('minutes_per_report') }} as weighted_minutes
    from {{ ref('int_network_reports') }}
    group by reported_party_code, team, date_trunc('week', verified_on)
),

data_as_at as (
    select complete_until
    from {{ ref('int_data_as_at') }}
),

weeks as (
    select distinct sessions.week_start_on
    from sessions
    cross join data_as_at
    where
        {{ utc_from_local(add_days('sessions.week_start_on', 7)) }} <= data_as_at.complete_until
),

session_counts as (
    select
        party_code,
        team,
        week_start_on,
        count(*) as session_count,
        {{ exact_sum('hours') }} as rostered_hours,
        0 as report_count,
        0.0 as weighted_minutes
    from sessions
    group by party_code, team, week_start_on
    union all
    select
        party_code,
        team,
        week_start_on,
        0 as session_count,
        0.0 as rostered_hours,
        report_count,
        weighted_minutes
    from reports
),

rolled_up as (
    select
        case when grouping(party_code) = 0 then 'party' else 'network' end as org_level,
        case when grouping(party_code) = 0 then party_code else 'NETWORK' end as org_code,
        {{ or_all('team') }} as team,
        week_start_on,
        sum(session_count) as session_count,
        {{ exact_sum('rostered_hours') }} as rostered_hours,
        sum(report_count) as report_count,
        {{ exact_sum('weighted_minutes') }} as weighted_minutes
    from session_counts
    {{ roll_up(['week_start_on'], or_all=['team'], organisations=['party_code']) }}
),

shown as (
    select
        org_level,
        org_code,
        team,
        week_start_on,
        is_shown
    from {{ ref('int_reporting_readers_weekly') }}
)

select
    rolled_up.org_level,
    rolled_up.org_code,
    rolled_up.team,
    rolled_up.week_start_on,
    coalesce(shown.is_shown, false) as is_shown,
    case when shown.is_shown then cast(rolled_up.session_count as bigint) end as session_count,
    case when shown.is_shown then rolled_up.rostered_hours end as rostered_hours,
    case when shown.is_shown then cast(rolled_up.report_count as bigint) end as report_count,
    case when shown.is_shown then rolled_up.weighted_minutes end as weighted_minutes,
    case
        when shown.is_shown
            then {{ ratio('rolled_up.weighted_minutes', 'rolled_up.rostered_hours') }}
    end as minutes_per_rostered_hour
from rolled_up
inner join weeks on rolled_up.week_start_on = weeks.week_start_on
left join shown
    on
        rolled_up.org_level = shown.org_level
        and rolled_up.org_code = shown.org_code
        and rolled_up.team = shown.team
        and rolled_up.week_start_on = shown.week_start_on
