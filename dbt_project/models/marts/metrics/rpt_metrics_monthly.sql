with throughput as (
    select
        org_level,
        org_code,
        modality_group,
        {{ month_of('day_on') }} as month_on,
        sum(exam_count) as exam_count
    from {{ ref('rpt_throughput_daily') }}
    group by org_level, org_code, modality_group, {{ month_of('day_on') }}
    -- before the first exam stand months of requests alone: of what was done then, nothing is known
    having sum(exam_count) > 0
),

months as (
    select
        month_on,
        is_complete
    from {{ ref('int_months') }}
),

trust_closures as (
    select
        trust_code,
        closed_on
    from {{ ref('int_trust_closures') }}
),

waiting_times as (
    select
        org_level,
        org_code,
        dm01_test,
        {{ month_of('census_on') }} as month_on,
        waiting_list_count,
        waiting_6_plus_count,
        waiting_13_plus_count,
        activity_waiting_list_count,
        activity_planned_count,
        activity_unscheduled_count
    from {{ ref('rpt_waiting_times_monthly') }}
),

dm01_tests as (
    select
        dm01_test,
        modality_group
    from {{ ref('dm01_tests') }}
),

turnaround as (
    select
        org_level,
        org_code,
        modality_group,
        acquired_month_on as month_on,
        acquired_count,
        reported_within_28_days_count,
        is_mature,
        backlog_count,
        backlog_over_28_days_count
    from {{ ref('rpt_report_turnaround_monthly') }}
    where priority_group = 'All'
),

reports as (
    select
        acquired_party_code as party_code,
        acquired_trust_code as trust_code,
        modality_group,
        {{ month_of('verified_at_local') }} as month_on,
        organisation_type,
        is_cross_site,
        is_out_of_hours
    from {{ ref('fct_report') }}
),

station_days as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        staffed_seconds,
        available_seconds,
        occupied_in_staffed_seconds,
        exam_in_staffed_count,
        is_downtime_known,
        operational_seconds,
        unplanned_downtime_seconds
    from {{ ref('int_station_days') }}
),

record_views as (
    select
        party_code,
        trust_code,
        modality_group,
        month_on,
        exam_count,
        view_count
    from {{ ref('int_record_views_monthly') }}
),

data_quality as (
    select
        org_level,
        org_code,
        metric_id,
        'All' as modality_group,
        period_start_on as month_on,
        sum(failing_count) as failing_count,
        sum(checked_count) as checked_count
    from {{ ref('rpt_data_quality_monthly') }}
    group by org_level, org_code, metric_id, period_start_on
),

-- a month without an exam is a month of 0
throughput_every_month as (
    {{ every_month('throughput', 'months', 'trust_closures', ['modality_group']) }}
),

exams_performed as (
    select
        'T01' as metric_id,
        every_month.org_level,
        every_month.org_code,
        every_month.modality_group,
        every_month.month_on,
        coalesce(throughput.exam_count, 0) as numerator,
        cast(null as bigint) as denominator
    from throughput_every_month as every_month
    left join throughput
        on
            every_month.org_level = throughput.org_level
            and every_month.org_code = throughput.org_code
            and every_month.modality_group = throughput.modality_group
            and every_month.month_on = throughput.month_on
),

waiting_by_modality as (
    select
        waiting_times.org_level,
        waiting_times.org_code,
        coalesce(dm01_tests.modality_group, 'All') as modality_group,
        waiting_times.month_on,
        waiting_times.waiting_list_count,
        waiting_times.waiting_6_plus_count,
        waiting_times.waiting_13_plus_count,
        waiting_times.activity_waiting_list_count
        + waiting_times.activity_planned_count
        + waiting_times.activity_unscheduled_count as activity_count
    from waiting_times
    left join dm01_tests on waiting_times.dm01_test = dm01_tests.dm01_test
),

reports_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        count(*) as report_count,
        count(*) filter (where organisation_type <> 'unknown') as known_report_count,
        count(is_out_of_hours) as timed_report_count,
        count(*) filter (where organisation_type = 'network') as network_report_count,
        count(*) filter (where organisation_type = 'outsource') as outsourced_count,
        count(*) filter (where is_cross_site) as cross_site_count,
        count(*) filter (where is_out_of_hours) as out_of_hours_count
    from reports
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

stations_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        {{ minutes('sum(available_seconds)') }} as available_minutes,
        sum(staffed_seconds) / 3600.0 as staffed_hours,
        {{ minutes('sum(occupied_in_staffed_seconds)') }} as occupied_in_staffed_minutes,
        sum(exam_in_staffed_count) as exam_in_staffed_count,
        -- a downtime that nobody sent is not one that did not happen
        coalesce(sum(operational_seconds) filter (where is_downtime_known), 0) / 3600.0
            as operational_hours,
        coalesce(sum(unplanned_downtime_seconds) filter (where is_downtime_known), 0) / 3600.0
            as unplanned_downtime_hours
    from station_days
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

record_views_rolled_up as (
    select
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        {{ or_all('modality_group') }} as modality_group,
        month_on,
        sum(view_count) as view_count,
        sum(exam_count) / 1000.0 as thousand_exams
    from record_views
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

measured as (
    {{ metric_rows('exams_performed', 'T01', 'numerator', none) }}
    union all
    {{ metric_rows('waiting_by_modality', 'W01', 'waiting_list_count', none) }}
    union all
    {{ metric_rows('waiting_by_modality', 'W02', 'waiting_6_plus_count', 'waiting_list_count') }}
    union all
    {{ metric_rows('waiting_by_modality', 'W03', 'waiting_13_plus_count', none) }}
    union all
    {{ metric_rows('waiting_by_modality', 'W04', 'activity_count', none) }}
    union all
    {{ metric_rows(
        'turnaround', 'R02', 'reported_within_28_days_count', 'acquired_count', where='is_mature'
    ) }}
    union all
    {{ metric_rows('turnaround', 'R04', 'backlog_count', none) }}
    union all
    {{ metric_rows('turnaround', 'R05', 'backlog_over_28_days_count', 'backlog_count') }}
    union all
    -- where no report names who wrote it, nobody knows whether a supplier did
    {{ metric_rows(
        'reports_rolled_up', 'R06', 'outsourced_count', 'report_count', where='known_report_count > 0'
    ) }}
    union all
    {{ metric_rows('reports_rolled_up', 'R08', 'cross_site_count', 'network_report_count') }}
    union all
    {{ metric_rows('reports_rolled_up', 'R11', 'out_of_hours_count', 'timed_report_count') }}
    union all
    {{ metric_rows('stations_rolled_up', 'U01', 'exam_in_staffed_count', 'staffed_hours') }}
    union all
    {{ metric_rows(
        'stations_rolled_up', 'U02', 'occupied_in_staffed_minutes', 'available_minutes'
    ) }}
    union all
    {{ metric_rows(
        'stations_rolled_up', 'U07', 'unplanned_downtime_hours', 'operational_hours'
    ) }}
    union all
    {{ metric_rows('record_views_rolled_up', 'C04', 'view_count', 'thousand_exams') }}
    union all
    {{ metric_rows(
        'data_quality', 'Q01', 'checked_count - failing_count', 'checked_count', where="metric_id = 'Q01'"
    ) }}
    union all
    {{ metric_rows(
        'data_quality', 'Q03', 'failing_count', 'checked_count', where="metric_id = 'Q03'"
    ) }}
    union all
    {{ metric_rows(
        'data_quality', 'Q04', 'failing_count', 'checked_count', where="metric_id = 'Q04'"
    ) }}
    union all
    {{ metric_rows(
        'data_quality', 'Q05', 'checked_count - failing_count', 'checked_count', where="metric_id = 'Q05'"
    ) }}
    union all
    {{ metric_rows(
        'data_quality', 'Q10', 'checked_count - failing_count', 'checked_count', where="metric_id = 'Q10'"
    ) }}
)

select
    measured.metric_id,
    measured.org_level,
    measured.org_code,
    measured.modality_group,
    measured.month_on as period_start_on,
    measured.numerator,
    measured.denominator,
    case
        when measured.denominator is null then measured.numerator
        else {{ ratio('measured.numerator', 'measured.denominator') }}
    end as value
from measured
inner join months on measured.month_on = months.month_on
-- a rate over nothing is not a point of the series
where
    months.is_complete
    and coalesce(measured.denominator, 1) > 0
    -- what nobody tells is no 0
    and measured.numerator is not null
