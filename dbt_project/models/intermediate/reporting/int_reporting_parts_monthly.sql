with reports as (
    select
        reported_party_code as party_code,
        modality_group,
        month_on,
        session_count,
        extra_paid_part
    from {{ ref('int_reports_against_rota') }}
),

sessions as (
    select
        party_code,
        month_on,
        place,
        hours
    from {{ ref('int_reporting_sessions') }}
),

weighted_reports as (
    select
        reported_party_code as party_code,
        month_on,
        {{ exact_sum('minutes_per_report') }} as weighted_minutes
    from {{ ref('int_network_reports') }}
    group by reported_party_code, month_on
),

months_shown as (
    select
        org_code,
        month_on,
        is_output_shown,
        is_every_team_shown
    from {{ ref('int_reporting_months_shown') }}
),

-- of a rota, and of a reporter, the party is told and not the trust
parts as (
    select
        party_code,
        'Unknown' as trust_code,
        modality_group,
        month_on,
        1 as timed_report_count,
        case when session_count = 0 then 1 else 0 end as unrostered_report_count,
        case when session_count > 0 then 1 else 0 end as rostered_report_count,
        coalesce(extra_paid_part, 0) as extra_paid_report_count,
        null as rostered_hours,
        null as home_hours,
        null as placed_hours,
        null as weighted_minutes
    from reports
    union all
    -- hours are of no one modality: they, and what is set against them, stand under All only
    select
        party_code,
        'Unknown' as trust_code,
        null as modality_group,
        month_on,
        null as timed_report_count,
        null as unrostered_report_count,
        null as rostered_report_count,
        null as extra_paid_report_count,
        hours as rostered_hours,
        case when place = 'home' then hours else 0 end as home_hours,
        case when place is not null then hours else 0 end as placed_hours,
        0 as weighted_minutes
    from sessions
    union all
    select
        party_code,
        'Unknown' as trust_code,
        null as modality_group,
        month_on,
        null as timed_report_count,
        null as unrostered_report_count,
        null as rostered_report_count,
        null as extra_paid_report_count,
        null as rostered_hours,
        null as home_hours,
        null as placed_hours,
        weighted_minutes
    from weighted_reports
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        sum(timed_report_count) as timed_report_count,
        sum(unrostered_report_count) as unrostered_report_count,
        sum(rostered_report_count) as rostered_report_count,
        {{ exact_sum('extra_paid_report_count') }} as extra_paid_report_count,
        {{ exact_sum('rostered_hours') }} as rostered_hours,
        {{ exact_sum('home_hours') }} as home_hours,
        {{ exact_sum('placed_hours') }} as placed_hours,
        {{ exact_sum('weighted_minutes') }} as weighted_minutes
    from parts
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
)

select
    rolled_up.org_level,
    rolled_up.org_code,
    rolled_up.modality_group,
    rolled_up.month_on,
    rolled_up.timed_report_count,
    rolled_up.unrostered_report_count,
    rolled_up.rostered_report_count,
    rolled_up.extra_paid_report_count,
    rolled_up.rostered_hours,
    rolled_up.home_hours,
    rolled_up.placed_hours,
    rolled_up.weighted_minutes,
    -- the reports of a modality group are those of the readers of one team
    months_shown.is_output_shown
    and (
        rolled_up.modality_group = 'All' or months_shown.is_every_team_shown
    ) as is_output_shown
from rolled_up
inner join months_shown
    on
        rolled_up.month_on = months_shown.month_on
        -- the only trust is that of all parties: Unknown
        and case when rolled_up.org_level = 'trust' then 'NETWORK' else rolled_up.org_code end
        = months_shown.org_code
-- what is of no one modality stands under All only
where rolled_up.modality_group is not null
