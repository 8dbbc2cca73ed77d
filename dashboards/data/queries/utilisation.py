"""Scanner time: staffed, occupied inside and outside it, and acquiring."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, read

# A week counts when its Sunday is inside the chosen months, so the last one is never half empty.
WHOLE_WEEK = timedelta(days=6)


def by_week(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per whole week: minutes and shares of all scanners of the chosen organisation."""
    return read(
        build,
        """
        select
            week_start_on,
            staffed_minutes,
            occupied_in_staffed_minutes,
            acquisition_minutes,
            occupied_minutes,
            occupied_outside_staffed_minutes,
            opening_minutes,
            exam_count,
            utilisation_rate,
            acquisition_efficiency_rate,
            exams_per_staffed_hour,
            coverage_rate,
            efficiency_occupied_minutes,
        from marts.rpt_scanner_utilisation_weekly
        where
            org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and station_name = 'All'
            and week_start_on between $from_on and $last_start_on
        order by week_start_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        last_start_on=filters.to_on - WHOLE_WEEK,
    )


def scanners_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per scanner in the latest whole week of the chosen months, busiest first."""
    return read(
        build,
        """
        with scanners as (
            select
                weeks.station_name,
                coalesce(sites.site_name, weeks.site_code) as site_name,
                weeks.modality_group,
                weeks.week_start_on,
                weeks.staffed_minutes,
                weeks.occupied_in_staffed_minutes,
                weeks.acquisition_minutes,
                weeks.occupied_outside_staffed_minutes,
                weeks.exam_count,
                weeks.utilisation_rate,
                weeks.acquisition_efficiency_rate,
                weeks.exams_per_staffed_hour,
                weeks.coverage_rate,
            from marts.rpt_scanner_utilisation_weekly as weeks
            left join marts.dim_site as sites on weeks.site_code = sites.site_code
            where
                weeks.org_level = $org_level
                and weeks.org_code = $org_code
                and weeks.station_name <> 'All'
                and weeks.modality_group <> 'All'
                and ($modality_group = 'All' or weeks.modality_group = $modality_group)
                and weeks.week_start_on between $from_on and $last_start_on
        )

        select
            station_name,
            site_name,
            modality_group,
            week_start_on,
            staffed_minutes,
            occupied_in_staffed_minutes,
            acquisition_minutes,
            occupied_outside_staffed_minutes,
            exam_count,
            utilisation_rate,
            acquisition_efficiency_rate,
            exams_per_staffed_hour,
            coverage_rate,
        from scanners
        where week_start_on = (select max(week_start_on) from scanners)
        order by utilisation_rate desc nulls last, station_name
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        last_start_on=filters.to_on - WHOLE_WEEK,
    )


def gaps_by_week(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per whole week: staffed minutes of all scanners, in use and by class of gap."""
    return read(
        build,
        """
        select
            week_start_on,
            total_minutes,
            occupied_minutes,
            changeover_minutes,
            idle_minutes,
            late_start_minutes,
            early_finish_minutes,
            planned_downtime_minutes,
            unplanned_downtime_minutes,
            quality_assurance_minutes,
            day_count,
            downtime_known_day_count,
        from marts.rpt_station_gaps_weekly
        where
            org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and station_name = 'All'
            and time_basis = 'staffed'
            and week_start_on between $from_on and $last_start_on
        order by week_start_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        last_start_on=filters.to_on - WHOLE_WEEK,
    )


def conventions_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per convention of utilisation in the latest stored month of the chosen months."""
    return read(
        build,
        """
        with months as (
            select
                month_on,
                convention,
                convention_name,
                numerator_name,
                numerator_minutes,
                denominator_name,
                denominator_minutes,
                utilisation_rate,
                is_at_most_one,
                day_count,
                undefined_day_count,
                sort_order,
            from marts.rpt_utilisation_conventions_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and modality_group = $modality_group
                and station_name = 'All'
                and month_on between $from_on and $to_on
        )

        select
            month_on,
            convention,
            convention_name,
            numerator_name,
            numerator_minutes,
            denominator_name,
            denominator_minutes,
            utilisation_rate,
            is_at_most_one,
            day_count,
            undefined_day_count,
        from months
        where month_on = (select max(month_on) from months)
        order by sort_order
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def bridges_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per bridge between conventions and step in the latest stored month."""
    return read(
        build,
        """
        with months as (
            select
                month_on,
                bridge_no,
                step_no,
                step_kind,
                step_name,
                step_minutes,
            from marts.rpt_utilisation_bridges_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and modality_group = $modality_group
                and station_name = 'All'
                and month_on between $from_on and $to_on
        )

        select
            month_on,
            bridge_no,
            step_no,
            step_kind,
            step_name,
            step_minutes,
        from months
        where month_on = (select max(month_on) from months)
        order by bridge_no, step_no
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def against_ris_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per finding and band of the comparison with the RIS in the latest stored month."""
    return read(
        build,
        """
        with months as (
            select
                month_on,
                finding_name,
                band,
                finding_count,
                judged_count,
                finding_rate,
                judged_name,
                metric_id,
                why,
                image_coverage,
                ris_exam_count,
                covered_exam_count,
                sort_order,
                band_no,
            from marts.rpt_ris_dicom_reconciliation_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and modality_group = $modality_group
                and month_on between $from_on and $to_on
        )

        select
            month_on,
            finding_name,
            band,
            finding_count,
            judged_count,
            finding_rate,
            judged_name,
            metric_id,
            why,
            image_coverage,
            ris_exam_count,
            covered_exam_count,
        from months
        where month_on = (select max(month_on) from months)
        order by sort_order, band_no
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def series_ends_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per way in which the end of a series is known, in the latest stored month."""
    return read(
        build,
        """
        with months as (
            select
                month_on,
                end_method,
                series_count,
                all_series_count,
                series_rate,
            from marts.rpt_series_ends_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and modality_group = $modality_group
                and month_on between $from_on and $to_on
        )

        select
            month_on,
            end_method,
            series_count,
            all_series_count,
            series_rate,
        from months
        where month_on = (select max(month_on) from months)
        order by series_count desc, end_method
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
