"""The figures of report turnaround. Each takes one row per month the images were acquired in."""

from __future__ import annotations

import polars as pl

from dashboards.components import comparison, trend
from dashboards.components.figure import Figure

KAPLAN_MEIER = (
    "Kaplan-Meier estimate: exams still without a report are kept in, so a month with many open "
    "reports is not made to look fast. A percentile not reached yet is left out."
)
WHOLE_DAYS = "An exam of which only the days are known (DIDS version 1) counts in whole days."
PILE = (
    "The pile is cumulative: it holds every exam without a report at the month end, those that "
    "will never be reported included."
)
ONLY_MEDIAN = (
    "Limits are of the median: the 90th percentile is no metric of the registry and has no control "
    "chart."
)
ONLY_ALL = (
    "Limits are of all without a report: the registry judges those older than 28 days as a share, and "
    "that chart has limits."
)
IMMATURE = "A month has no share until all its exams are 28 days old."


def percentiles(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Median and 90th percentile of hours from exam to report."""
    return trend.lines(
        frame,
        on="acquired_month_on",
        series={"p50_hours": "Median", "p90_hours": "90th percentile"},
        unit="hours",
        title=f"Hours from exam to report, {where}",
        what="median time from exam to report",
        events=events,
        more_notes=[ONLY_MEDIAN, KAPLAN_MEIER, WHOLE_DAYS],
    )


def within_28_days(
    frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame
) -> Figure:
    """The share of exams reported within 28 days."""
    return trend.lines(
        frame,
        on="acquired_month_on",
        series={"within_28_days_rate": "Reported within 28 days"},
        unit="rate",
        title=f"Reported within 28 days, {where}",
        what="share of exams reported within 28 days",
        events=events,
        targets=targets,
        from_zero=False,
        more_notes=[IMMATURE],
    )


def backlog(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Exams without a report at month end, and how many of them are older than 28 days."""
    return trend.bars(
        frame,
        on="acquired_month_on",
        series={
            "backlog_count": "All without a report",
            "backlog_over_28_days_count": "Of these, older than 28 days",
        },
        unit="count",
        title=f"Unreported exams at month end, {where}",
        what="exams without a report",
        nested=True,
        timing="stock",
        events=events,
        more_notes=[ONLY_ALL, PILE],
    )


def overdue(frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame) -> Figure:
    """The share of the backlog that is older than 28 days; one row per month."""
    return trend.lines(
        frame,
        on="period_start_on",
        series={"value": "Older than 28 days"},
        unit="rate",
        title=f"Share of the backlog older than 28 days, {where}",
        what="share of the backlog older than 28 days",
        timing="stock",
        events=events,
        targets=targets,
        more_notes=[PILE],
    )


def peers(frame: pl.DataFrame, where: str) -> Figure:
    """Median hours in the latest month; one row per organisation."""
    return comparison.peers(
        frame,
        on="acquired_month_on",
        value="p50_hours",
        unit="hours",
        title=f"Median hours from exam to report against peers, {where}",
    )
