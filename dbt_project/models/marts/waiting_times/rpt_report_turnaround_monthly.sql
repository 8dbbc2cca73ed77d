with exams as (
    select
        exam_key,
        site_code,
        party_code,
        trust_code,
        modality_group,
        priority_group,
        performed_on,
        completed_at,
        first_verified_at,
        cast(first_verified_at_local as date) as first_verified_on,
        is_reported_before_end
    from {{ ref('fct_exam') }}
    where is_completed
),

months as (
    select
        month_on,
        census_on,
        census_at,
        is_complete,
        is_mature
    from {{ ref('int_months') }}
),

site_owners as (
    select
        site_code,
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_site_owners') }}
),

trust_closures as (
    select
        trust_code,
        closed_on
    from {{ ref('int_trust_closures') }}
),

-- the cohort: exams acquired in the month, with the ones still open; an exam reported
-- before its end is counted beside it, never inside
acquired as (
    select
        party_code,
        trust_code,
        modality_group,
        priority_group,
        {{ month_of('performed_on') }} as month_on,
        count(*) filter (where not is_reported_before_end) as acquired_count,
        count(*) filter (where not is_reported_before_end and first_verified_at is not null)
            as reported_count,
        count(*) filter (
            where
            not is_reported_before_end
            and {{ seconds_between('completed_at', 'first_verified_at') }}
            <= 86400 * {{ var('report_limit_days') }}
        ) as reported_within_28_days_count,
        count(*) filter (where is_reported_before_end) as quarantined_count
    from exams
    group by
        party_code, trust_code, modality_group, priority_group, {{ month_of('performed_on') }}
),

-- most exams are reported within their month, and are on no backlog
left_over as (
    select
        site_code,
        party_code,
        modality_group,
        priority_group,
        performed_on,
        completed_at,
        coalesce(first_verified_on, date '9999-12-31') as first_verified_on
    from exams
    where
        not is_reported_before_end
        and coalesce({{ month_of('first_verified_on') }}, date '9999-12-01')
        > {{ month_of('performed_on') }}
),

-- the backlog: acquired and unreported at the midnight that ends the month
unreported as (
    select
        left_over.site_code,
        left_over.party_code,
        left_over.modality_group,
        left_over.priority_group,
        months.month_on,
        months.census_on,
        count(*) as backlog_count,
        count(*) filter (
            where
            {{ seconds_between('left_over.completed_at', 'months.census_at') }}
            > 86400 * {{ var('report_limit_days') }}
        ) as backlog_over_28_days_count
    from left_over
    inner join months
        on
            left_over.performed_on <= months.census_on
            and left_over.first_verified_on > months.census_on
    where months.is_complete
    group by
        left_over.site_code,
        left_over.party_code,
        left_over.modality_group,
        left_over.priority_group,
        months.month_on,
        months.census_on
),

counted as (
    select
        party_code,
        trust_code,
        modality_group,
        priority_group,
        month_on,
        acquired_count,
        reported_count,
        reported_within_28_days_count,
        quarantined_count,
        0 as backlog_count,
        0 as backlog_over_28_days_count
    from acquired
    union all
    select
        unreported.party_code,
        coalesce(site_owners.trust_code, 'Unknown') as trust_code,
        unreported.modality_group,
        unreported.priority_group,
        unreported.month_on,
        0 as acquired_count,
        0 as reported_count,
        0 as reported_within_28_days_count,
        0 as quarantined_count,
        unreported.backlog_count,
        unreported.backlog_over_28_days_count
    from unreported
    {{ left_join_owners('unreported', 'unreported.census_on') }}
),

rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        {{ or_all('priority_group') }} as priority_group,
        month_on,
        sum(acquired_count) as acquired_count,
        sum(reported_count) as reported_count,
        sum(reported_within_28_days_count) as reported_within_28_days_count,
        sum(quarantined_count) as quarantined_count,
        sum(backlog_count) as backlog_count,
        sum(backlog_over_28_days_count) as backlog_over_28_days_count
    from counted
    {{ roll_up(['month_on'], or_all=['modality_group', 'priority_group']) }}
),

every_month as (
    {{ every_month('rolled_up', 'months', 'trust_closures', ['modality_group', 'priority_group']) }}
),

filled as (
    select
        every_month.org_level,
        every_month.org_code,
        every_month.modality_group,
        every_month.priority_group,
        every_month.month_on,
        cast(coalesce(rolled_up.acquired_count, 0) as bigint) as acquired_count,
        cast(coalesce(rolled_up.reported_count, 0) as bigint) as reported_count,
        cast(coalesce(rolled_up.reported_within_28_days_count, 0) as bigint)
            as reported_within_28_days_count,
        cast(coalesce(rolled_up.quarantined_count, 0) as bigint) as quarantined_count,
        cast(coalesce(rolled_up.backlog_count, 0) as bigint) as backlog_count,
        cast(coalesce(rolled_up.backlog_over_28_days_count, 0) as bigint)
            as backlog_over_28_days_count
    from every_month
    left join rolled_up
        on
            every_month.org_level = rolled_up.org_level
            and every_month.org_code = rolled_up.org_code
            and every_month.modality_group = rolled_up.modality_group
            and every_month.priority_group = rolled_up.priority_group
            and every_month.month_on = rolled_up.month_on
)

select
    filled.org_level,
    filled.org_code,
    filled.modality_group,
    filled.priority_group,
    filled.month_on as acquired_month_on,
    filled.acquired_count,
    filled.reported_count,
    filled.acquired_count - filled.reported_count as open_count,
    filled.reported_within_28_days_count,
    -- the youngest exam of the month must have had its 28 days
    case
        when months.is_mature
            then {{ ratio('filled.reported_within_28_days_count', 'filled.acquired_count') }}
    end as within_28_days_rate,
    months.is_mature,
    filled.quarantined_count,
    filled.backlog_count,
    filled.backlog_over_28_days_count
from filled
inner join months on filled.month_on = months.month_on
