"""`imaging recompute`: a published month as it was known on an earlier day."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipelines.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from pipelines.recompute import Comparison

# A message may hold what looks like markup, such as the name of a section.
console = Console(markup=False)
errors = Console(stderr=True, markup=False)
ROWS_SHOWN = 40
# Shown beside a value: it can stay the same while these change.
METRIC_COUNTS = ("numerator", "denominator")
TURNAROUND_COUNTS = ("open_count", "exam_count")


def recompute(
    as_known_on: Annotated[
        str,
        typer.Option(
            help="Build id; or date, which means its end in the network's time zone; or instant, "
            "there too unless it has an offset (2026-01-31T18:00+00:00)."
        ),
    ],
    month: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m"], help="Month to print and compare. Default: the newest, and all."
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare with that build, or the newest one published by then; exit code 1 when "
            "anything differs.",
        ),
    ] = False,
) -> None:
    """Compute the metrics again from what had landed by an earlier time, in a file of its own.

    Warehouse and published files stay as they are. Seeds, models and statistics are those of
    today; see docs/operations.md.
    """
    # Polars and DuckDB: only this verb pays for them.
    from pipelines import recompute as recomputing
    from pipelines.publishing.history import read_metrics

    settings = Settings()
    known = recomputing.read_known(settings, as_known_on, datetime.now(UTC))
    if compare:
        recomputing.published_by(known)  # before the minutes that building takes
    console.print(f"computing from what had landed by {known.until.isoformat()}", highlight=False)
    file = recomputing.recompute(settings, known)
    chosen = month.date() if month else None
    _print_month(read_metrics(file), chosen, known.until)
    console.print(f"everything is in {file}", soft_wrap=True, highlight=False)
    if compare and not _print_comparison(recomputing.compare(settings, known, file, chosen)):
        raise typer.Exit(1)


def _print_month(metrics: "pl.DataFrame", month: date | None, until: datetime) -> None:
    """The network's metrics of a month; raises CannotRecompute where it was not complete."""
    from pipelines.recompute import CannotRecompute

    months = metrics["period_start_on"].unique().sort().to_list()
    if not months:
        raise CannotRecompute(f"no month was complete by {until.isoformat()}; name a later time")
    shown = month or months[-1]
    if shown not in months:
        raise CannotRecompute(
            f"{shown:%Y-%m} was not known by {until.isoformat()}; months known then: "
            f"{months[0]:%Y-%m} to {months[-1]:%Y-%m}"
        )
    table = Table(f"metric, {shown:%B %Y}", "numerator", "denominator", "value")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = (metrics["org_level"] == "network") & (metrics["modality_group"] == "All")
    for row in (
        metrics.filter(whole & (metrics["period_start_on"] == shown))
        .sort("metric_id")
        .rows(named=True)
    ):
        figures = (_figure(row[name]) for name in ("numerator", "denominator", "value"))
        table.add_row(row["metric_id"], *figures)
    console.print(table)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}"


def _print_comparison(found: "Comparison") -> bool:
    """Print what differs from the publication; True when nothing does."""
    build = found.publication
    count = found.metrics.height
    if found.turnaround is None:
        errors.print(
            f"the published file of build {build.build_id} is no longer kept: metrics are compared "
            "with the history, turnaround percentiles are not compared",
            soft_wrap=True,
        )
    else:
        count += found.turnaround.height
    if not count:
        console.print(f"no difference from build {build.build_id}", highlight=False)
        return True
    _print_differences("metric", found.metrics, ("value", *METRIC_COUNTS), "period_start_on")
    if found.turnaround is not None:
        figures = ("p50_hours", *TURNAROUND_COUNTS)
        _print_differences("turnaround", found.turnaround, figures, "acquired_month_on")
    console.print(f"{count} rows differ from build {build.build_id}", highlight=False)
    if found.landed_since:
        console.print(
            f"landed since {build.known_until.isoformat()}, when that build began: "
            f"{found.landed_since} source file(s); name the build to leave them out",
            soft_wrap=True,
            highlight=False,
        )
    return False


def _told(row: dict[str, Any], prefix: str, figures: tuple[str, str, str]) -> str:
    """A value with the counts it stands on, where it has them: 0.9091 (10 of 11), 14 (over 23)."""
    value, part, whole = (_figure(row[prefix + name]) for name in figures)
    counts = f"{part} of {whole}" if part else f"over {whole}"
    return f"{value or 'no value'} ({counts})" if whole else value


def _print_differences(
    what: str, rows: "pl.DataFrame", figures: tuple[str, str, str], month: str
) -> None:
    if rows.is_empty():
        return
    table = Table(what, "organisation", "modality", "month", "published", "recomputed")
    for row in rows.head(ROWS_SHOWN).iter_rows(named=True):
        table.add_row(
            row.get("metric_id", figures[0]),
            f"{row['org_level']} {row['org_code']}",
            row["modality_group"],
            f"{row[month]:%Y-%m}",
            _told(row, "before_", figures) if row["was_published"] else "not there",
            _told(row, "", figures) if row["is_published"] else "not there",
        )
    console.print(table)
    if rows.height > ROWS_SHOWN:
        console.print(f"and {rows.height - ROWS_SHOWN} more")
