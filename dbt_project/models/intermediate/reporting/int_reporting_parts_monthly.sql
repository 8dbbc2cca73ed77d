with exams as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        is_within_maximum
    from {{ ref('int_report_categories') }}
),

reports as (
    select
        reported_party_code as party_code,
        -- of a rota, and of a reporter, the party is told and not the trust
        'Unknown' as trust_code,
        modality_group,
        month_on,
        session_count,
        extra_paid_part
    from {{ ref('int_reports_against_rota') }}
),

sessions as (
    select
        party_code,
        team,
        month_on,
        week_start_on,
        staff_group,
        place,
        hours,
        party_sessions_at_once
    from {{ ref('int_reporting_sessions') }}
),

weeks_shown as (
    select
        org_level,
        org_code,
        team,
        week_start_on,
        is_shown
    from {{ ref('int_reporting_readers_weekly') }}
),

rostered_months as (
    select distinct
        party_code,
        team,
        month_on
    from sessions
),

-- reports of a month without a rota of their team have no hours to be set against
weighted_reports as (
    select
        rostered_months.party_code,
        rostered_months.month_on,
        sum(network_reports.minutes_per_report) as weighted_minutes
    from {{ ref('int_network_reports') }} as network_reports
    inner join rostered_months
        on
            network_reports.reported_party_code = rostered_months.party_code
            and network_reports.team = rostered_months.team
            and network_reports.month_on = rostered_months.month_on
    group by rostered_months.party_code, rostered_months.month_on
),

rostered as (
    select
        party_code,
        month_on,
        staff_group,
        sum(hours) as rostered_hours,
        sum(hours) filter (where place = 'home') as home_hours,
        sum(hours) filter (where place is not null) as placed_hours,
        max(party_sessions_at_once) as reader_count
    from sessions
    group by party_code, month_on, staff_group
),

output as (
    select
        rostered.party_code,
        'Unknown' as trust_code,
        'All' as modality_group,
        rostered.month_on,
        sum(rostered.rostered_hours) as rostered_hours,
        coalesce(sum(rostered.home_hours), 0) as home_hours,
        coalesce(sum(rostered.placed_hours), 0) as placed_hours,
        sum(rostered.reader_count) as reader_count,
        coalesce(max(weighted_reports.weighted_minutes), 0) as weighted_minutes
    from rostered
    left join weighted_reports
        on
            rostered.party_code = weighted_reports.party_code
            and rostered.month_on = weighted_reports.month_on
    group by rostered.party_code, rostered.month_on
),

categories_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        count(*) as categorised_count,
        count(*) filter (where is_within_maximum) as within_maximum_count
    from exams
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

reports_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        count(*) as timed_report_count,
        count(*) filter (where session_count = 0) as unrostered_report_count,
        count(*) filter (where session_count > 0) as rostered_report_count,
        -- ten decimals: the last digits of a float depend on the order of adding up
        round(coalesce(sum(extra_paid_part), 0), 10) as extra_paid_report_count
    from reports
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

output_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        'All' as modality_group,
        month_on,
        round(sum(rostered_hours), 10) as rostered_hours,
        round(sum(home_hours), 10) as home_hours,
        round(sum(placed_hours), 10) as placed_hours,
        round(sum(weighted_minutes), 10) as weighted_minutes,
        sum(reader_count) as reader_count
    from output
    {{ roll_up(['month_on']) }}
),

party_weeks as (
    select distinct
        party_code,
        'Unknown' as trust_code,
        month_on,
        week_start_on
    from sessions
),

weeks_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        month_on,
        week_start_on
    from party_weeks
    {{ roll_up(['month_on', 'week_start_on']) }}
),

-- a week left out of the weekly output could be had from its month less the other weeks
months_shown as (
    select
        org_weeks.org_level,
        org_weeks.org_code,
        org_weeks.month_on,
        bool_and(weeks_shown.is_shown) filter (
            where weeks_shown.team = 'All'
        ) as is_every_week_shown,
        bool_and(weeks_shown.is_shown) as is_every_team_shown
    from weeks_rolled_up as org_weeks
    inner join weeks_shown
        on
            org_weeks.week_start_on = weeks_shown.week_start_on
            -- the only trust is that of all parties: Unknown
            and case when org_weeks.org_level = 'trust' then 'NETWORK' else org_weeks.org_code end
            = weeks_shown.org_code
    group by org_weeks.org_level, org_weeks.org_code, org_weeks.month_on
),

judged as (
    select
        output_rolled_up.org_level,
        output_rolled_up.org_code,
        output_rolled_up.month_on,
        output_rolled_up.reader_count,
        months_shown.is_every_team_shown,
        output_rolled_up.reader_count >= {{ var('min_people_count') }}
        and months_shown.is_every_week_shown as has_enough_readers
    from output_rolled_up
    inner join months_shown
        on
            output_rolled_up.org_level = months_shown.org_level
            and output_rolled_up.org_code = months_shown.org_code
            and output_rolled_up.month_on = months_shown.month_on
),

-- one small party could be had from the network less the others
shown as (
    select
        org_level,
        org_code,
        month_on,
        is_every_team_shown,
        has_enough_readers
        and (
            org_level <> 'party'
            or {{ rest_is_enough('reader_count', 'has_enough_readers', ['org_level', 'month_on']) }}
        ) as is_output_shown
    from judged
),

keys as (
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from categories_rolled_up
    union
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from reports_rolled_up
    union
    select
        org_level,
        org_code,
        modality_group,
        month_on
    from output_rolled_up
)

select
    keys.org_level,
    keys.org_code,
    keys.modality_group,
    keys.month_on,
    categories_rolled_up.categorised_count,
    categories_rolled_up.within_maximum_count,
    reports_rolled_up.timed_report_count,
    reports_rolled_up.unrostered_report_count,
    reports_rolled_up.rostered_report_count,
    reports_rolled_up.extra_paid_report_count,
    output_rolled_up.rostered_hours,
    output_rolled_up.home_hours,
    output_rolled_up.placed_hours,
    output_rolled_up.weighted_minutes,
    -- the reports of a modality group are those of the readers of one team
    shown.is_output_shown
    and (keys.modality_group = 'All' or shown.is_every_team_shown) as is_output_shown
from keys
left join categories_rolled_up
    on
        keys.org_level = categories_rolled_up.org_level
        and keys.org_code = categories_rolled_up.org_code
        and keys.modality_group = categories_rolled_up.modality_group
        and keys.month_on = categories_rolled_up.month_on
left join reports_rolled_up
    on
        keys.org_level = reports_rolled_up.org_level
        and keys.org_code = reports_rolled_up.org_code
        and keys.modality_group = reports_rolled_up.modality_group
        and keys.month_on = reports_rolled_up.month_on
left join output_rolled_up
    on
        keys.org_level = output_rolled_up.org_level
        and keys.org_code = output_rolled_up.org_code
        and keys.modality_group = output_rolled_up.modality_group
        and keys.month_on = output_rolled_up.month_on
left join shown
    on
        keys.org_level = shown.org_level
        and keys.org_code = shown.org_code
        and keys.month_on = shown.month_on
