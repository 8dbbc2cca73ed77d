"""The figures of data quality: what arrived, what was refused, how good the records are."""

from __future__ import annotations

import polars as pl

from dashboards.components import comparison, plain_table, wording
from dashboards.components.figure import Figure


def reconciliation(frame: pl.DataFrame) -> Figure:
    """Received, landed and rejected records; one row per feed."""
    open_feeds = frame.filter(~pl.col("is_reconciled"))["feed_id"].to_list()
    takeaway = "Every feed reconciles: records received are records landed plus records rejected."
    if open_feeds:
        takeaway = f"Not reconciled: {', '.join(open_feeds)}."
    title = "Reconciliation by feed, whole network"
    counts = (
        "file_count", "quarantined_file_count", "rows_received", "rows_landed", "rows_rejected",
        "rows_written",
    )  # fmt: skip
    rows = [
        (
            row["feed_id"],
            *(wording.number(row[name], "count") for name in counts),
            _yes(row["is_reconciled"]),
        )
        for row in frame.to_dicts()
    ]
    heads = (
        "Feed", "Files", "Files refused whole", "Records received", "Landed", "Rejected",
        "Rows written", "Reconciles",
    )  # fmt: skip
    reading = plain_table.html(title, heads, [plain_table.Group(rows)])
    return Figure(title=title, takeaway=takeaway, table=frame, reading=reading)


def _yes(value: bool | None) -> str:
    return "yes" if value else "no"


def rejects(frame: pl.DataFrame) -> Figure:
    """Rejected records; one row per feed, file and rule."""
    takeaway = "No record was rejected."
    if frame.height:
        top = frame.row(0, named=True)
        takeaway = (
            f"The most rejected: {wording.counted(top['reject_count'], 'record')} of "
            f"{top['feed_id']} by the rule: {top['rule'].replace('_', ' ')}."
        )
    return comparison.counts(
        frame,
        label="rule",
        value="reject_count",
        title="Rejected records by rule, whole network",
        takeaway=takeaway,
        hint="feed_id",
    )


def failing(frame: pl.DataFrame, where: str) -> Figure:
    """Failing and checked records; one row per metric, rule and month."""
    takeaway = "Records that failed a quality rule, beside the records that were checked."
    title = f"Failing records by rule and month, {where}"
    return Figure(title=title, takeaway=takeaway, table=frame)


def late_changes(frame: pl.DataFrame, where: str) -> Figure:
    """Late changes to published months; one row per metric and month, the newest change first."""
    title = f"Late changes to published months, {where}"
    if frame.is_empty():
        return Figure(
            title=title,
            takeaway="No published month of this choice has changed since.",
            table=frame,
            nothing="Every figure of these months is still the one that was published first.",
        )
    newest = frame.row(0, named=True)
    rows = [
        (
            row["metric"] or row["metric_id"],
            wording.month(row["period_start_on"]),
            wording.number(row["first_value"], row["unit"]),
            wording.number(row["previous_value"], row["unit"]),
            wording.number(row["value"], row["unit"]),
            wording.change(row["change_since_first"], row["unit"]),
            wording.day(row["changed_at"]),
        )
        for row in frame.to_dicts()
    ]
    heads = (
        "Metric", "Month", "Published first", "Before the last change", "Now",
        "Change since the first", "Last change (UTC)",
    )  # fmt: skip
    return Figure(
        title=title,
        takeaway=f"Published figures that changed: {frame.height}, the last on "
        f"{wording.day(newest['changed_at'])}.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=2),
        notes=[
            "All modalities together; the published table has each modality. A rate is listed, too, "
            "where only the counts below it changed.",
        ],
    )


def freshness(frame: pl.DataFrame) -> Figure:
    """Newest entry; one row per feed."""
    late = frame.filter(~pl.col("is_level_with_others"))
    takeaway = "Every feed keeps up with the others of its kind."
    if late.height:
        behind = [
            f"{row['party']} {wording.FEED_KINDS.get(row['feed_kind'], row['feed_kind'])} (newest {wording.instant(row['as_at_local'])})"
            for row in late.iter_rows(named=True)
        ]
        takeaway = f"Behind the others of their kind: {', '.join(behind)}."
    title = "Freshness by party and feed, whole network"
    rows = [
        (
            row["party"],
            row["feed_id"],
            wording.FEED_KINDS.get(row["feed_kind"], row["feed_kind"]),
            wording.instant(row["as_at_local"]),
            wording.number(row["file_count"], "count"),
            wording.number(row["quarantined_file_count"], "count"),
            _yes(row["is_level_with_others"]),
        )
        for row in frame.to_dicts()
    ]
    heads = (
        "Party", "Feed", "Kind", "Newest entry (local time)", "Files", "Files refused whole",
        "Level with others",
    )  # fmt: skip
    reading = plain_table.html(title, heads, [plain_table.Group(rows)], text=4)
    return Figure(title=title, takeaway=takeaway, table=frame, reading=reading)


def evidence(
    frame: pl.DataFrame, title: str = "Feeds missing for a metric or benefit line, whole network"
) -> Figure:
    """Feeds that are missing; one row per party and metric or benefit line."""
    if frame.is_empty():
        return Figure(
            title=title,
            takeaway="Every party has the feeds that the metrics and benefit lines need.",
            table=frame,
            nothing="No feed is missing at any party. That a feed is there does not yet say that "
            "its figures are computed: the benefit register does.",
        )
    subjects = frame.unique("subject_id", maintain_order=True)
    named = [f"{row['subject_name']} ({row['subject_id']})" for row in subjects.to_dicts()]
    takeaway = f"Lacking a feed at one party or more: {', '.join(named)}."
    rows = [
        (
            f"{row['subject_id']} {row['subject_name']}",
            row["party"],
            row["missing_feeds"] or "no feed tells it",
            row["held_feeds"] or "none",
            row["evidence_status"],
        )
        for row in frame.to_dicts()
    ]
    heads = ("Metric or benefit line", "Party", "Missing feeds", "Feeds there", "Evidence")
    reading = plain_table.html(title, heads, [plain_table.Group(rows)], text=5)
    return Figure(title=title, takeaway=takeaway, table=frame, reading=reading)


def device_clocks(frame: pl.DataFrame, states: str) -> Figure:
    """Clocks of the scanners; one row per scanner, the furthest off first.

    states is the published text of what a state of a clock means.
    """
    off = frame.filter(
        ~pl.col("clock_state").is_in(["right", "unsure", "too_few", "no_peers", "not_told"])
    )
    takeaway = "No clock of a scanner is known to be wrong."
    if off.height:
        named = ", ".join(
            f"{row['station_name']} ({wording.counted(round(abs(row['offset_seconds'])), 'second')} "
            f"{'behind' if row['offset_seconds'] > 0 else 'ahead'})"
            for row in off.iter_rows(named=True)
        )
        takeaway = f"Clocks that are wrong: {named}."
    unknown = frame.filter(pl.col("clock_state").is_in(["too_few", "no_peers", "not_told"]))
    if unknown.height:
        takeaway += f" For {unknown.height} of {frame.height} scanners too little is known to say."
    title = "Clocks of the scanners in their newest week, whole network"
    rows = [
        (
            row["station_name"] or row["device_key"],
            row["modality_group"] or "",
            f"{row['week_start_on']:%d %b}",
            wording.CLOCK_STATES.get(row["clock_state"], row["clock_state"]),
            _off(row["offset_seconds"]),
            "" if row["spread_seconds"] is None else f"± {row['spread_seconds']:,.0f}",
            wording.number(row["study_count"], "count"),
            wording.number(row["corrected_rate"], "rate"),
        )
        for row in frame.to_dicts()
    ]
    heads = (
        "Scanner", "Kind", "Week from", "Clock", "Off by, seconds", "Uncertainty, seconds",
        "Studies", "Image series corrected",
    )  # fmt: skip
    return Figure(
        title=title,
        takeaway=takeaway,
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=4),
        notes=[
            "Where too little is known to say, the seconds are a hint only: a clock is corrected "
            "on them where they tell a gross error.",
            f"State of a clock: {_in_words(states)}",
        ],
    )


def _in_words(states: str) -> str:
    for code, words in wording.CLOCK_STATES.items():
        states = states.replace(code, words) if "_" in code else states
    return states


def _off(seconds: float | None) -> str:
    if seconds is None:
        return wording.NO_VALUE
    return f"{abs(seconds):,.0f} {'behind' if seconds > 0 else 'ahead'}"
