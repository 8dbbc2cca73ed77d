"""The figures of data quality: what arrived, what was refused, how good the records are."""

from __future__ import annotations

import polars as pl

from dashboards.components import comparison, trend, wording
from dashboards.components.figure import Figure


def reconciliation(frame: pl.DataFrame) -> Figure:
    """Received, landed and rejected records; one row per feed."""
    open_feeds = frame.filter(~pl.col("is_reconciled"))["feed_id"].to_list()
    takeaway = "Every feed reconciles: records received are records landed plus records rejected."
    if open_feeds:
        takeaway = f"Not reconciled: {', '.join(open_feeds)}."
    return Figure(title="Reconciliation by feed, whole network", takeaway=takeaway, table=frame)


def rejects(frame: pl.DataFrame) -> Figure:
    """Rejected records; one row per feed, file and rule."""
    takeaway = "No record was rejected."
    if frame.height:
        top = frame.row(0, named=True)
        takeaway = (
            f"The most rejected: {wording.counted(top['reject_count'], 'record')} of "
            f"{top['feed_id']} by the rule {top['rule']}."
        )
    return comparison.counts(
        frame,
        label="rule",
        value="reject_count",
        title="Rejected records by rule, whole network",
        takeaway=takeaway,
        hint="feed_id",
    )


def metric(
    frame: pl.DataFrame, name: str, where: str, events: pl.DataFrame, targets: pl.DataFrame
) -> Figure:
    """One quality metric over time; one row per month."""
    return trend.lines(
        frame,
        on="period_start_on",
        series={"value": name},
        unit="rate",
        title=f"{name}, {where}",
        what=name[:1].lower() + name[1:] if not name[:3].isupper() else name,
        events=events,
        targets=targets,
        from_zero=False,
    )


def failing(frame: pl.DataFrame, where: str) -> Figure:
    """Failing and checked records; one row per metric, rule and month."""
    takeaway = "Records that failed a quality rule, beside the records that were checked."
    title = f"Failing records by rule and month, {where}"
    return Figure(title=title, takeaway=takeaway, table=frame)


def freshness(frame: pl.DataFrame) -> Figure:
    """Newest entry; one row per feed."""
    late = frame.filter(~pl.col("is_level_with_others"))
    takeaway = "Every feed keeps up with the others of its kind."
    if late.height:
        behind = [
            f"{row['party']} {row['feed_kind']} (newest {wording.instant(row['as_at_local'])})"
            for row in late.iter_rows(named=True)
        ]
        takeaway = f"Behind the others of their kind: {', '.join(behind)}."
    return Figure(
        title="Freshness by party and feed, whole network", takeaway=takeaway, table=frame
    )


def device_clocks(frame: pl.DataFrame) -> Figure:
    """Clocks of the scanners; one row per scanner, the furthest off first."""
    off = frame.filter(
        ~pl.col("clock_state").is_in(["right", "unsure", "too_few", "no_peers", "not_told"])
    )
    takeaway = "No clock of a scanner is known to be off by two minutes or more."
    if off.height:
        named = ", ".join(
            f"{row['station_name']} ({wording.counted(round(abs(row['offset_seconds'])), 'second')} "
            f"{'behind' if row['offset_seconds'] > 0 else 'ahead'})"
            for row in off.iter_rows(named=True)
        )
        takeaway = f"Clocks off by two minutes or more: {named}."
    unknown = frame.filter(pl.col("clock_state").is_in(["too_few", "no_peers", "not_told"]))
    if unknown.height:
        takeaway += f" Of {unknown.height} of {frame.height} scanners too little is known to say."
    return Figure(
        title="Clocks of the scanners in their newest week, whole network",
        takeaway=takeaway,
        table=frame,
    )
