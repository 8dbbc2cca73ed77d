"""The benefit register, and reporting shared across the network."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read


def summary(build: Build) -> pl.DataFrame:
    """One row per line of the benefit register, cash-releasing first, then by benefit id."""
    return read(
        build,
        f"""
        select
            {marker(build, "benefits")}
            benefits.benefit_id,
            benefits.title,
            benefits.benefit_class,
            benefits.promise,
            benefits.owner_role,
            benefits.measure_metric_id,
            metrics.name as measure_name,
            benefits.unit,
            benefits.improvement,
            benefits.baseline_from,
            benefits.baseline_to,
            benefits.metric_baseline_value,
            benefits.metric_latest_value,
            benefits.metric_latest_on,
            benefits.metric_change,
            benefits.is_measured,
            benefits.evidence_status,
            benefits.evidence,
            benefits.needed_feeds,
            benefits.missing_feeds,
            benefits.movement,
            benefits.target_value,
            benefits.target_on,
            benefits.is_target_met,
            benefits.planned_value_gbp_per_year,
            benefits.optimism_rate,
            benefits.optimism_source,
            benefits.optimism_source_status,
            benefits.planned_adjusted_gbp_per_year,
            ledger.planned_to_date_gbp,
            ledger.planned_compared_gbp,
            ledger.planned_adjusted_compared_gbp,
            ledger.realised_to_date_gbp,
            ledger.realised_low_gbp,
            ledger.realised_high_gbp,
            ledger.realised_from_on,
            ledger.realised_until_on,
            ledger.price_year,
            ledger.evidence as evidence_grade,
            ledger.verdict,
            ledger.empty_because,
            ledger.shadowed_by,
            benefits.double_count_group,
            benefits.unit_cost_source_status,
            benefits.source_status,
            benefits.status,
        from marts.rpt_benefits_summary as benefits
        left join statistics.benefit_ledger as ledger
            on benefits.benefit_id = ledger.benefit_id
        left join catalogue.metrics as metrics
            on benefits.measure_metric_id = metrics.metric_id
        order by
            case benefits.benefit_class when 'CRB' then 1 when 'NCRB' then 2 else 3 end,
            benefits.benefit_class,
            benefits.benefit_id
        """,
    )


def overview(build: Build) -> pl.DataFrame:
    """One row: how many lines have evidence, which way they moved, how many targets are met."""
    return read(
        build,
        """
        select
            line_count,
            measured_count,
            as_promised_count,
            against_promise_count,
            no_change_count,
            no_baseline_count,
            no_evidence_count,
            no_metric_count,
            target_judged_count,
            target_met_count,
        from marts.rpt_benefits_overview
        """,
    )


def appraisal(build: Build) -> pl.DataFrame:
    """One row per basis, selection of classes and measure, costs as budgeted."""
    return read(
        build,
        """
        select
            basis,
            class_selection,
            measure,
            value,
            unit,
            note,
            first_year,
            last_year,
            last_month_on,
            schedule,
            optimism_bias,
            price_year,
            rates_vintage,
            benefit_ids,
            told_month_count,
            benefit_month_count,
        from statistics.appraisal
        where
            optimism_bias = 0
            and class_selection in ('cash only', 'all monetised')
        order by class_selection desc, basis, measure
        """,
    )


def lines_that_count(build: Build, classes: Sequence[str]) -> pl.DataFrame:
    """One row per line of some classes that counts and has a value, in the order of the classes."""
    return read(
        build,
        """
        select
            benefit_id,
            title,
            benefit_class,
        from statistics.benefit_ledger
        where
            is_counted
            and list_contains($classes, benefit_class)
            and (forecast_to_date_gbp is not null or realised_to_date_gbp is not null)
        order by
            list_position($classes, benefit_class),
            benefit_id
        """,
        classes=list(classes),
    )


def by_month(build: Build) -> pl.DataFrame:
    """One row per line of the register, party and month: forecast and realised pounds."""
    return read(
        build,
        """
        select
            benefits.benefit_id,
            benefits.party_code as party,
            benefits.month_on as month,
            benefits.benefit_class,
            benefits.is_counted,
            benefits.unit_value_low_gbp,
            benefits.unit_value_gbp,
            benefits.unit_value_high_gbp,
            -- what is measured in pounds is no number of units at a price
            coalesce(metrics.unit not ilike 'gbp%', true) as is_priced,
            benefits.forecast_gbp,
            benefits.realised_gbp,
        from statistics.realised_benefits as benefits
        left join catalogue.metrics as metrics
            on benefits.measure_metric_id = metrics.metric_id
        order by benefits.benefit_id, benefits.party_code, benefits.month_on
        """,
    )


def swings(build: Build) -> pl.DataFrame:
    """One row per line of the simulated appraisal: net present value at its low and its high end."""
    return read(
        build,
        """
        select
            variant,
            npsv_low_gbp,
            npsv_high_gbp,
        from statistics.appraisal_sensitivities
        where
            sensitivity = 'tornado'
            and basis = 'realised, then forecast'
            and class_selection = 'all monetised'
            and optimism_bias = 0
        order by variant
        """,
    )


def costs_by_month(build: Build) -> pl.DataFrame:
    """One row per cost of the programme, party and month."""
    return read(
        build,
        """
        select
            cost_id,
            party_code as party,
            month_on as month,
            cost_gbp,
        from statistics.programme_costs_monthly
        order by cost_id, party_code, month_on
        """,
    )


def cross_site_by_month(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per month of verification: share of network reports made by another party."""
    return read(
        build,
        f"""
        select
            {marker(build)}
            month_on,
            report_count,
            network_report_count,
            cross_site_count,
            cross_site_rate,
            outsourced_count,
            outsourced_rate,
        from marts.rpt_cross_site_reporting_monthly
        where
            acquired_org_level = $org_level
            and acquired_org_code = $org_code
            and reported_org_code = 'All'
            and modality_group = $modality_group
            and month_on between $from_on and $to_on
        order by month_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def cross_site_by_year(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per financial year of verification that the chosen months touch, all modalities."""
    return read(
        build,
        f"""
        select
            {marker(build)}
            year_on,
            last_month_on,
            report_count,
            network_report_count,
            cross_site_count,
            cross_site_rate,
            outsourced_count,
            outsourced_rate,
        from marts.rpt_cross_site_reporting_yearly
        where
            acquired_org_level = $org_level
            and acquired_org_code = $org_code
            and reported_org_code = 'All'
            and last_month_on >= $from_on
            and year_on <= $to_on
        order by year_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def cross_site_matrix_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per acquiring party and reporting organisation in the latest financial year chosen."""
    return read(
        build,
        f"""
        with cells as (
            select
                {marker(build, "reports")}
                acquired.short_name as acquired_by,
                acquired.sort_order as acquired_order,
                coalesce(
                    reported.short_name, reporters.reporting_org_name, reports.reported_org_code
                ) as reported_by,
                coalesce(reported.sort_order, 99) as reported_order,
                reports.acquired_org_code = reports.reported_org_code as is_own,
                reports.year_on,
                reports.last_month_on,
                reports.report_count,
            from marts.rpt_cross_site_reporting_yearly as reports
            inner join marts.dim_party as acquired
                on reports.acquired_org_code = acquired.party_code
            left join marts.dim_party as reported
                on reports.reported_org_code = reported.party_code
            left join marts.dim_reporting_organisation as reporters
                on reports.reported_org_code = reporters.reporting_org_code
            where
                reports.acquired_org_level = 'party'
                and reports.reported_org_code <> 'All'
                and reports.last_month_on >= $from_on
                and reports.year_on <= $to_on
        )

        select
            {marker(build)}
            acquired_by,
            reported_by,
            is_own,
            year_on,
            last_month_on,
            report_count,
        from cells
        where year_on = (select max(year_on) from cells)
        order by acquired_order, reported_order, reported_by
        """,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
