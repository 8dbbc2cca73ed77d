with sessions as (
    select
        party_code,
        month_on,
        week_start_on,
        staff_group,
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

-- the most at once of each employer and staff group are different people
groups as (
    select
        party_code,
        month_on,
        staff_group,
        max(party_sessions_at_once) as reader_count
    from sessions
    group by party_code, month_on, staff_group
),

readers as (
    select
        case when grouping(party_code) = 0 then 'party' else 'network' end as org_level,
        case when grouping(party_code) = 0 then party_code else 'NETWORK' end as org_code,
        month_on,
        sum(reader_count) as reader_count
    from groups
    {{ roll_up(['month_on'], organisations=['party_code']) }}
),

party_weeks as (
    select distinct
        party_code,
        month_on,
        week_start_on
    from sessions
),

-- a week left out of the weekly output could be had from its month less the other weeks
months_shown as (
    select
        weeks_shown.org_level,
        weeks_shown.org_code,
        party_weeks.month_on,
        bool_and(weeks_shown.is_shown) filter (
            where weeks_shown.team = 'All'
        ) as is_every_week_shown,
        bool_and(weeks_shown.is_shown) as is_every_team_shown
    from weeks_shown
    inner join party_weeks
        on
            weeks_shown.week_start_on = party_weeks.week_start_on
            and weeks_shown.org_code in (party_weeks.party_code, 'NETWORK')
    group by weeks_shown.org_level, weeks_shown.org_code, party_weeks.month_on
),

judged as (
    select
        readers.org_level,
        readers.org_code,
        readers.month_on,
        readers.reader_count,
        months_shown.is_every_team_shown,
        readers.reader_count >= {{ var('min_people_count') }}
        and months_shown.is_every_week_shown as has_enough_readers
    from readers
    inner join months_shown
        on
            readers.org_level = months_shown.org_level
            and readers.org_code = months_shown.org_code
            and readers.month_on = months_shown.month_on
)

-- one small party could be had from the network less the others
select
    org_level,
    org_code,
    month_on,
    has_enough_readers
    and (
        org_level = 'network'
        or {{ rest_is_enough('reader_count', 'has_enough_readers', ['org_level', 'month_on']) }}
    ) as is_output_shown,
    is_every_team_shown
from judged
