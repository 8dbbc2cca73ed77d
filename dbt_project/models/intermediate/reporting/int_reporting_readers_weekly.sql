with sessions as (
    select
        party_code,
        week_start_on,
        team,
        staff_group,
        party_sessions_at_once,
        team_sessions_at_once
    from {{ ref('int_reporting_sessions') }}
),

-- the most at once of each employer and staff group are different people
groups as (
    select
        party_code,
        week_start_on,
        staff_group,
        team,
        max(team_sessions_at_once) as reader_count
    from sessions
    group by party_code, week_start_on, staff_group, team
    union all
    select
        party_code,
        week_start_on,
        staff_group,
        'All' as team,
        max(party_sessions_at_once) as reader_count
    from sessions
    group by party_code, week_start_on, staff_group
),

readers as (
    select
        case when grouping(party_code) = 0 then 'party' else 'network' end as org_level,
        case when grouping(party_code) = 0 then party_code else 'NETWORK' end as org_code,
        team,
        week_start_on,
        sum(reader_count) as reader_count
    from groups
    {{ roll_up(['week_start_on', 'team'], organisations=['party_code']) }}
),

-- one small team could be had from All less the others: its count stands for all of them
judged as (
    select
        org_level,
        org_code,
        team,
        week_start_on,
        min(reader_count) over (
            partition by org_level, org_code, week_start_on, team = 'All'
        ) as fewest_readers
    from readers
),

enough as (
    select
        org_level,
        org_code,
        team,
        week_start_on,
        fewest_readers,
        fewest_readers >= {{ var('min_people_count') }} as has_enough_readers
    from judged
)

-- and one small party from the network less the others
select
    org_level,
    org_code,
    team,
    week_start_on,
    has_enough_readers
    and (
        org_level = 'network'
        or {{ rest_is_enough('fewest_readers', 'has_enough_readers',
            ['org_level', 'team', 'week_start_on']) }}
    ) as is_shown
from enough
