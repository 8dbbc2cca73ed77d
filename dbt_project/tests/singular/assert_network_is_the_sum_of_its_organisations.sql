-- Failure: parties, or trusts, do not add up to the network: somebody is counted twice or
-- not at all, and every comparison between organisations is wrong.
{{ config(meta={'dagster': {'ref': {'name': 'rpt_throughput_daily'}}}) }}
{%- set throughput = ref('rpt_throughput_daily') %}
{%- set waiting_times = ref('rpt_waiting_times_monthly') %}
{%- set turnaround = ref('rpt_report_turnaround_monthly') %}
{%- set utilisation = ref('rpt_scanner_utilisation_weekly') %}
{%- set data_quality = ref('rpt_data_quality_monthly') %}
{#- Views are set against exams of the same month: who had views and no exam has no rate, no row. #}
{%- set metrics = "(select * from " ~ ref('rpt_metrics_monthly') ~ " where metric_id <> 'C04')" %}
{%- set sharing = ref('int_sharing_parts_monthly') %}
{%- set benefits = ref('int_benefit_parts_monthly') %}
{%- set cohort = ['modality_group', 'priority_group', 'acquired_month_on'] %}
{%- set scanner = ['modality_group', 'station_name', 'week_start_on'] %}

with totals as (
    {{ roll_up_totals(throughput, ['modality_group', 'day_on'], 'request_count') }}
    union all
    {{ roll_up_totals(throughput, ['modality_group', 'day_on'], 'exam_count') }}
    union all
    {{ roll_up_totals(throughput, ['modality_group', 'day_on'], 'report_count') }}
    union all
    {{ roll_up_totals(waiting_times, ['dm01_test', 'census_on'], 'waiting_list_count') }}
    union all
    {{ roll_up_totals(waiting_times, ['dm01_test', 'census_on'], 'waiting_6_plus_count') }}
    union all
    {{ roll_up_totals(turnaround, cohort, 'acquired_count') }}
    union all
    {{ roll_up_totals(turnaround, cohort, 'backlog_count') }}
    union all
    {{ roll_up_totals(utilisation, scanner, 'staffed_minutes') }}
    union all
    {{ roll_up_totals(utilisation, scanner, 'occupied_minutes') }}
    union all
    {{ roll_up_totals(data_quality, ['metric_id', 'rule', 'period_start_on'], 'checked_count') }}
    union all
    {{ roll_up_totals(sharing, ['modality_group', 'month_on'], 'transfer_count') }}
    union all
    {{ roll_up_totals(benefits, ['modality_group', 'month_on'], 'outsourced_spend_gbp') }}
    union all
    -- a party without exams, or with credits only, has no rate and counts in that of the network
    -- (C03, F03); of R07, R09, R12 and R13 small parties are not shown; who tests nobody has no
    -- weeks (W07)
    {{ roll_up_totals(
        metrics,
        ['metric_id', 'modality_group', 'period_start_on'],
        'numerator',
        where="metric_id not in ('C03', 'F03', 'R07', 'R09', 'R12', 'R13', 'W07')"
    ) }}
)

select
    figure,
    row_key,
    network_total,
    party_total,
    trust_total
from totals
where
    abs(network_total - party_total) > 0.000001
    or abs(network_total - trust_total) > 0.000001
