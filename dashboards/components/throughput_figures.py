"""The figures of throughput: exams by month, against peers, and the flow by day."""

from __future__ import annotations

import polars as pl

from dashboards.components import comparison, control, trend
from dashboards.components.figure import Figure


def exams_by_month(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Exams performed; one row per month."""
    return trend.lines(
        frame,
        on="period_start_on",
        series={"value": "Exams performed"},
        unit="count",
        title=f"Exams performed each month, {where}",
        what="exams performed",
        events=events,
    )


def peers(frame: pl.DataFrame, where: str) -> Figure:
    """Exams performed in the latest month; one row per organisation."""
    return comparison.peers(
        frame,
        on="period_start_on",
        value="value",
        unit="count",
        title=f"Exams performed against peers, {where}",
    )


def flow_by_day(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Requests, exams and reports; one row per day."""
    return trend.lines(
        frame,
        on="day_on",
        series={
            "exam_count": "Exams performed",
            "request_count": "Requests received",
            "report_count": "Reports verified",
        },
        unit="count",
        title=f"Requests, exams and reports each day, {where}",
        what="exams performed",
        events=events,
        more_notes=[control.OF_MONTHS],
    )


def lost_by_day(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Appointments not attended and requests cancelled; one row per day."""
    return trend.bars(
        frame,
        on="day_on",
        series={"dna_count": "Did not attend", "cancelled_count": "Cancelled"},
        unit="count",
        title=f"Not attended and cancelled each day, {where}",
        what="appointments not attended",
        events=events,
        more_notes=[control.OF_MONTHS],
    )
