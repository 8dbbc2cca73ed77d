"""Scanner time: staffed, occupied inside and outside it, and acquiring."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import WITHHELD, Build, read

# A week counts when its Sunday is inside the chosen months, so the last one is never half empty.
WHOLE_WEEK = timedelta(days=6)
ALL_SCANNERS = "station_name = 'All'"
CHOSEN_MODALITY = "modality_group = $modality_group"
EACH_SCANNER = (
    "station_name <> 'All' and modality_group <> 'All' "
    f"and ($modality_group = 'All' or {CHOSEN_MODALITY})"
)


def _rows(
    build: Build,
    filters: Filters,
    relation: str,
    columns: Sequence[str],
    *,
    on: str,
    last_on: date,
    where: str,
    order: str,
    is_latest: bool = False,
) -> pl.DataFrame:
    """The rows of a relation for the chosen organisation, dated `on` from the first month on.

    last_on is the last date taken; is_latest keeps the rows of the newest date only. relation,
    columns, where and order are texts of this module, never of a reader.
    """
    newest = f"qualify {on} = max({on}) over ()" if is_latest else ""
    return read(
        build,
        f"""
        select {", ".join(columns)}
        from {relation}
        where
            org_level = $org_level
            and org_code = $org_code
            and {where}
            and {on} between $from_on and $last_on
        {newest}
        order by {order}
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        last_on=last_on,
    )


def _weeks(
    build: Build, filters: Filters, relation: str, columns: Sequence[str], where: str = ""
) -> pl.DataFrame:
    """One row per whole week of all scanners, oldest first."""
    only = " and ".join(filter(None, [CHOSEN_MODALITY, ALL_SCANNERS, where]))
    return _rows(
        build,
        filters,
        relation,
        ["week_start_on", *columns],
        on="week_start_on",
        last_on=filters.to_on - WHOLE_WEEK,
        where=only,
        order="week_start_on",
    )


def _latest_month(
    build: Build,
    filters: Filters,
    relation: str,
    columns: Sequence[str],
    *,
    order: str,
    where: str = CHOSEN_MODALITY,
) -> pl.DataFrame:
    """The rows of the latest stored month of the chosen months."""
    return _rows(
        build,
        filters,
        relation,
        ["month_on", *columns],
        on="month_on",
        last_on=filters.to_on,
        where=where,
        order=order,
        is_latest=True,
    )


def _marked(build: Build) -> list[str]:
    """The column that names what is hidden of a row; none where nothing is."""
    return [WITHHELD] if build.rule else []


USE = (
    "staffed_minutes", "occupied_in_staffed_minutes", "acquisition_minutes",
    "occupied_outside_staffed_minutes", "exam_count", "utilisation_rate",
    "acquisition_efficiency_rate", "exams_per_staffed_hour", "coverage_rate",
)  # fmt: skip


def by_week(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per whole week: minutes and shares of all scanners of the chosen organisation."""
    columns = ["occupied_minutes", "opening_minutes", "efficiency_occupied_minutes", *USE]
    columns += _marked(build)
    return _weeks(build, filters, "marts.rpt_scanner_utilisation_weekly", columns)


def scanners_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per scanner in the latest whole week of the chosen months, busiest first."""
    return _rows(
        build,
        filters,
        "marts.rpt_scanner_utilisation_weekly left join marts.dim_site using (site_code)",
        [
            "station_name",
            "coalesce(site_name, site_code) as site_name",
            "modality_group",
            "week_start_on",
            *USE,
            *_marked(build),
        ],
        on="week_start_on",
        last_on=filters.to_on - WHOLE_WEEK,
        where=EACH_SCANNER,
        order="utilisation_rate desc nulls last, station_name",
        is_latest=True,
    )


def gaps_by_week(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per whole week: staffed minutes of all scanners, in use and by class of gap."""
    columns = (
        "total_minutes", "occupied_minutes", "changeover_minutes", "idle_minutes",
        "late_start_minutes", "early_finish_minutes", "planned_downtime_minutes",
        "unplanned_downtime_minutes", "quality_assurance_minutes", "day_count",
        "downtime_known_day_count",
    )  # fmt: skip
    gaps = "marts.rpt_station_gaps_weekly"
    return _weeks(build, filters, gaps, columns, where="time_basis = 'staffed'")


def conventions_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per convention of utilisation in the latest stored month of the chosen months."""
    return _latest_month(
        build,
        filters,
        "marts.rpt_utilisation_conventions_monthly",
        (
            "convention", "convention_name", "numerator_name", "numerator_minutes",
            "denominator_name", "denominator_minutes", "utilisation_rate", "is_at_most_one",
            "day_count", "undefined_day_count",
        ),
        where=f"{CHOSEN_MODALITY} and {ALL_SCANNERS}",
        order="sort_order",
    )  # fmt: skip


def bridges_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per bridge between conventions and step in the latest stored month."""
    return _latest_month(
        build,
        filters,
        "marts.rpt_utilisation_bridges_monthly",
        ("bridge_no", "step_no", "step_kind", "step_name", "step_minutes"),
        where=f"{CHOSEN_MODALITY} and {ALL_SCANNERS}",
        order="bridge_no, step_no",
    )


def against_ris_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per finding and band of the comparison with the RIS in the latest stored month."""
    return _latest_month(
        build,
        filters,
        "marts.rpt_ris_dicom_reconciliation_monthly left join "
        "(select metric_id, name as metric_name from catalogue.metrics) using (metric_id)",
        (
            "finding_name", "band", "finding_count", "judged_count", "finding_rate",
            "judged_name", "metric_id", "metric_name", "why", "image_coverage",
            "ris_exam_count", "covered_exam_count", *_marked(build),
        ),
        order="sort_order, band_no",
    )  # fmt: skip


def series_ends_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per way in which the end of a series is known, in the latest stored month."""
    return _latest_month(
        build,
        filters,
        "marts.rpt_series_ends_monthly",
        ("end_method", "series_count", "all_series_count", "series_rate", *_marked(build)),
        order="series_count desc nulls last, end_method",
    )
