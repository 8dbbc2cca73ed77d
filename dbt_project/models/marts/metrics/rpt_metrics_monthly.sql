{#- By relation: id of a metric, numerator, denominator (none: it is a count), what else holds.
    R06: where no report names who wrote it, nobody knows whether a supplier did. #}
{%- set computed = {
    'exams_performed': [
        ['T01', 'numerator', none],
    ],
    'waiting_by_modality': [
        ['W01', 'waiting_list_count', none],
        ['W02', 'waiting_6_plus_count', 'waiting_list_count'],
        ['W03', 'waiting_13_plus_count', none],
        ['W04', 'activity_count', none],
    ],
    'request_to_test_days': [
        ['W05', none, 'listed_count', {'percentile': 'listed_median_days'}],
        ['W05P90', none, 'listed_count', {'percentile': 'listed_p90_days'}],
        ['W05U', none, 'unadjusted_count', {'percentile': 'unadjusted_median_days'}],
        ['W05UP90', none, 'unadjusted_count', {'percentile': 'unadjusted_p90_days'}],
        ['W05E', none, 'unscheduled_count', {'percentile': 'unscheduled_median_days'}],
        ['W05EP90', none, 'unscheduled_count', {'percentile': 'unscheduled_p90_days'}],
    ],
    'waiting_parts': [
        ['W06', 'overdue_count', 'planned_count'],
        ['W07', 'clearing_count', 'weekly_tests'],
        ['W08', 'demand_balance', none],
        ['W09', 'reset_count', 'appointment_count'],
        ['W09H', 'hospital_cancellation_count', 'appointment_count'],
        ['W10', 'in_time_count', 'suspected_cancer_count'],
    ],
    'turnaround': [
        ['R02', 'reported_within_28_days_count', 'acquired_count', {'where': 'is_mature'}],
        ['R04', 'backlog_count', none],
        ['R05', 'backlog_over_28_days_count', 'backlog_count'],
    ],
    'reports_rolled_up': [
        ['R06', 'outsourced_count', 'report_count', {'where': 'known_report_count > 0'}],
        ['R08', 'cross_site_count', 'network_report_count'],
        ['R11', 'out_of_hours_count', 'timed_report_count'],
    ],
    'report_amendments': [
        ['R10', 'amended_report_count', 'verified_report_count'],
    ],
    'categories': [
        ['R03', 'within_count', 'exam_count'],
    ],
    'reporting_parts': [
        ['R07', 'extra_paid_report_count', 'rostered_report_count', {'where': 'is_output_shown'}],
        ['R09', 'weighted_minutes', 'rostered_hours', {'where': 'is_output_shown'}],
        ['R12', 'home_hours', 'placed_hours', {'where': 'is_output_shown'}],
        ['R13', 'unrostered_report_count', 'timed_report_count', {'where': 'is_output_shown'}],
    ],
    'stations_rolled_up': [
        ['U01', 'exam_in_staffed_count', 'staffed_hours'],
        ['U02', 'occupied_in_staffed_minutes', 'available_minutes'],
        ['U07', 'unplanned_downtime_hours', 'operational_hours'],
    ],
    'utilisation_parts': [
        ['U03', 'attended_slot_count', 'available_slot_count'],
        ['U04', 'missed_count', 'attended_or_missed_count'],
        ['U05', 'short_notice_count', 'booked_count'],
        ['U06', 'opening_hours', 'opening_weeks'],
        ['U08', 'scanner_exam_count', 'scanner_years'],
        ['U09', 'first_delay_minutes', 'used_session_count'],
        ['U10', 'mobile_exam_count', 'mobile_unit_years'],
        ['U11', 'idle_gap_minutes', 'used_session_count'],
    ],
    'sharing': [
        ['C01', 'prior_viewable_count', 'prior_known_count'],
        ['C02', 'repeat_28_count', 'repeat_28_checked_count'],
        ['C03', 'transfer_count', 'transfer_exam_count / 1000'],
        ['C05', 'meeting_case_with_images_count', 'meeting_case_count'],
        ['C08', 'repeat_7_count', 'repeat_7_checked_count'],
        ['C09', 'repeat_14_count', 'repeat_14_checked_count'],
    ],
    'record_views_rolled_up': [
        ['C04', 'view_count', 'thousand_exams'],
    ],
    'image_access_rolled_up': [
        ['C06', 'numerator', 'denominator', {'where': "measure = 'failed_launches'"}],
        ['C07', 'numerator', 'denominator', {'where': "measure = 'first_image_seconds'"}],
    ],
    'benefits': [
        ['F03', 'outsourced_spend_gbp', 'outsourced_report_count'],
        ['F04', 'held_tb', none],
        ['F05', 'image_system_cost_gbp', 'image_system_exam_count'],
        ['F06', 'media_cost_gbp', 'media_thousand_exams'],
        ['F07', 'contract_cost_gbp', 'contract_exam_count'],
        ['H01', 'bed_days', 'discharge_count'],
        ['P01', 'vacant_wte', 'establishment_wte'],
        ['P02', 'survey_score_sum', 'survey_answer_count'],
    ],
    'data_quality': [
        ['Q01', 'passing_count', 'checked_count', {'where': "metric_id = 'Q01'"}],
        ['Q02', 'failing_count', 'checked_count', {'where': "metric_id = 'Q02'"}],
        ['Q03', 'failing_count', 'checked_count', {'where': "metric_id = 'Q03'"}],
        ['Q04', 'failing_count', 'checked_count', {'where': "metric_id = 'Q04'"}],
        ['Q05', 'passing_count', 'checked_count', {'where': "metric_id = 'Q05'"}],
        ['Q06', 'failing_count', 'checked_count', {'where': "metric_id = 'Q06'"}],
        ['Q07', 'failing_count', 'checked_count', {'where': "metric_id = 'Q07'"}],
        ['Q10', 'passing_count', 'checked_count', {'where': "metric_id = 'Q10'"}],
    ],
    'quality_parts': [
        ['Q08', 'arrival_hours', 'timed_event_count'],
        ['Q09', 'late_event_count', 'event_count'],
    ],
} -%}
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
        activity_waiting_list_count + activity_planned_count + activity_unscheduled_count
            as activity_count
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

categories as (
    select
        org_level,
        org_code,
        modality_group,
        acquired_month_on as month_on,
        sum(acquired_count) as exam_count,
        sum(within_maximum_count) as within_count
    from {{ ref('rpt_report_categories_monthly') }}
    group by all
),

reporting_parts as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        timed_report_count,
        unrostered_report_count,
        rostered_report_count,
        extra_paid_report_count,
        rostered_hours,
        home_hours,
        placed_hours,
        weighted_minutes,
        is_output_shown
    from {{ ref('int_reporting_parts_monthly') }}
),

report_amendments as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        verified_report_count,
        amended_report_count
    from {{ ref('int_report_amendment_parts_monthly') }}
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

waiting_parts as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        request_count - removal_count - test_count as demand_balance,
        planned_count,
        overdue_count,
        clearing_count,
        recent_test_count / cast({{ var('clearance_weeks') }} as double) as weekly_tests,
        appointment_count,
        reset_count,
        hospital_cancellation_count,
        suspected_cancer_count,
        in_time_count
    from {{ ref('int_waiting_parts_monthly') }}
),

request_to_test_days as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        {%- for group in ['listed', 'unadjusted', 'unscheduled'] %}
            {{ group }}_count,
            {{ group }}_median_days,
            {{ group }}_p90_days{% if not loop.last %},{% endif %}
        {%- endfor %}
    from {{ ref('int_request_to_test_days_monthly') }}
),

utilisation_parts as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        attended_slot_count,
        available_slot_count,
        missed_count,
        attended_or_missed_count,
        short_notice_count,
        booked_count,
        opening_hours,
        opening_weeks,
        scanner_exam_count,
        scanner_years,
        mobile_exam_count,
        mobile_unit_years,
        first_delay_minutes,
        idle_gap_minutes,
        used_session_count
    from {{ ref('int_utilisation_parts_monthly') }}
),

quality_parts as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        arrival_hours,
        timed_event_count,
        late_event_count,
        event_count
    from {{ ref('int_quality_parts_monthly') }}
),

sharing as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        prior_known_count,
        prior_viewable_count,
        repeat_7_count,
        repeat_7_checked_count,
        repeat_14_count,
        repeat_14_checked_count,
        repeat_28_count,
        repeat_28_checked_count,
        transfer_count,
        transfer_exam_count,
        meeting_case_count,
        meeting_case_with_images_count
    from {{ ref('int_sharing_parts_monthly') }}
),

image_access as (
    select
        measure,
        org_code as party_code,
        month_on,
        numerator,
        denominator
    from {{ ref('rpt_image_access_monthly') }}
    where org_level = 'party' and access_context = 'All'
),

party_trusts as (
    select
        party_code,
        trust_code,
        valid_from,
        valid_to
    from {{ ref('int_party_trusts') }}
),

benefits as (
    select
        org_level,
        org_code,
        modality_group,
        month_on,
        outsourced_spend_gbp,
        outsourced_report_count,
        held_tb,
        image_system_cost_gbp,
        image_system_exam_count,
        media_cost_gbp,
        media_thousand_exams,
        contract_cost_gbp,
        contract_exam_count,
        vacant_wte,
        establishment_wte,
        survey_score_sum,
        survey_answer_count,
        bed_days,
        discharge_count
    from {{ ref('int_benefit_parts_monthly') }}
),

data_quality as (
    select
        org_level,
        org_code,
        metric_id,
        'All' as modality_group,
        period_start_on as month_on,
        sum(failing_count) as failing_count,
        sum(checked_count - failing_count) as passing_count,
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
        -- as with T01, of what was done before the first exam that is told nothing is known
        case
            when
                max(waiting_times.activity_count) over (
                    partition by waiting_times.org_level, waiting_times.org_code
                    order by waiting_times.month_on
                ) > 0
                then waiting_times.activity_count
        end as activity_count
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
        sum(staffed_seconds) / 3600 as staffed_hours,
        {{ minutes('sum(occupied_in_staffed_seconds)') }} as occupied_in_staffed_minutes,
        sum(exam_in_staffed_count) as exam_in_staffed_count,
        -- a downtime that nobody sent is not one that did not happen
        coalesce(sum(operational_seconds) filter (where is_downtime_known), 0) / 3600
            as operational_hours,
        coalesce(sum(unplanned_downtime_seconds) filter (where is_downtime_known), 0) / 3600
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
        sum(exam_count) / 1000 as thousand_exams
    from record_views
    {{ roll_up(['month_on'], or_all=['modality_group']) }}
),

image_access_placed as (
    select
        image_access.measure,
        image_access.party_code,
        coalesce(party_trusts.trust_code, 'Unknown') as trust_code,
        image_access.month_on,
        -- sums of fractions drift with their order: thousandths of a second do not
        cast(image_access.numerator as decimal(18, 3)) as numerator,
        image_access.denominator
    from image_access
    left join party_trusts
        on
            image_access.party_code = party_trusts.party_code
            and image_access.month_on between party_trusts.valid_from and party_trusts.valid_to
),

image_access_rolled_up as (
    select
        measure,
        {{ org_level() }} as org_level,
        {{ org_code() }} as org_code,
        'All' as modality_group,
        month_on,
        sum(numerator) as numerator,
        sum(denominator) as denominator
    from image_access_placed
    {{ roll_up(['measure', 'month_on']) }}
),

measured as (
    {{ metric_rows(computed) }}
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
        when measured.percentile is not null then measured.percentile
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
    and coalesce(measured.numerator, measured.percentile) is not null
