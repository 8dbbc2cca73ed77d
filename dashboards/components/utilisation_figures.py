"""The figures of scanner time: staffed, occupied inside and outside it, acquiring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import polars as pl

from dashboards.components import comparison, control, plain_table, trend, wording
from dashboards.components.figure import Figure


def nested(frame: pl.DataFrame, where: str, events: pl.DataFrame, counted: Sequence[str]) -> Figure:
    """Staffed minutes each week, occupied ones inside and on top of them; one row per week.

    counted are the published texts of what is occupied and staffed.
    """
    return trend.bars(
        frame,
        on="week_start_on",
        series={
            "staffed_minutes": "Staffed",
            "occupied_in_staffed_minutes": "Occupied, inside staffed time",
        },
        above={"occupied_outside_staffed_minutes": "Occupied, outside staffed time"},
        unit="minutes",
        title=f"Scanner time each week in minutes, {where}",
        what="staffed minutes",
        nested=True,
        events=events,
        more_notes=[
            "Occupied time outside staffed time stands on top: it is not part of utilisation.",
            *counted,
            control.OF_MONTHS,
        ],
        said_of=staffed(frame),
    )


def staffed(frame: pl.DataFrame) -> pl.DataFrame:
    """The weeks with staffed time, the only ones a sentence compares; one row per week."""
    return frame.filter(pl.col("staffed_minutes") > 0)


def shares(frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame) -> Figure:
    """Utilisation each week; one row per week."""
    return trend.lines(
        frame,
        on="week_start_on",
        series={"utilisation_rate": "Utilisation: occupied share of staffed time"},
        unit="rate",
        title=f"Scanner utilisation each week, {where}",
        what="occupied share of staffed time",
        events=events,
        targets=targets,
        said_of=staffed(frame),
        more_notes=[control.OF_MONTHS],
    )


def efficiency(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Acquisition efficiency each week; one row per week."""
    figure = trend.lines(
        frame,
        on="week_start_on",
        series={"acquisition_efficiency_rate": "Acquiring share of occupied time"},
        unit="rate",
        title=f"Acquisition efficiency each week, {where}",
        what="minutes making images as a share of all occupied minutes",
        events=events,
        said_of=staffed(frame),
        more_notes=[
            "Denominator: all occupied minutes, inside and outside staffed time, of the scanner "
            "days on which at least half of the series tell when they ended; not staffed minutes.",
            "Not measurable for plain radiography, mammography and most ultrasound: a single image "
            "does not say how long it took. All modalities together stand on the others.",
            "No control limits: acquisition efficiency is no metric of the registry.",
        ],
    )
    if (
        frame["acquisition_efficiency_rate"].is_null().all()
        and (frame["occupied_minutes"] > 0).any()
    ):
        return replace(
            figure,
            takeaway="Acquisition efficiency is not measurable for this choice: fewer than half of "
            "the series tell when they ended, so that acquiring time is unknown, not 0.",
        )
    return figure


def scanners(
    frame: pl.DataFrame, where: str, targets: pl.DataFrame, counted: Sequence[str]
) -> Figure:
    """Utilisation in the latest week; one row per scanner. counted as in nested()."""
    title = f"Utilisation by scanner in the latest week, {where}"
    return comparison.scanners(frame, title=title, counted=counted, targets=targets)


def gaps(
    frame: pl.DataFrame, where: str, events: pl.DataFrame, *, changeover: str, idle: str
) -> Figure:
    """Staffed minutes without a patient by class; one row per week.

    changeover and idle are the published texts of these classes.
    """
    return trend.bars(
        frame,
        on="week_start_on",
        series={
            "idle_minutes": "Idle",
            "changeover_minutes": "Changeover",
            "late_start_minutes": "Late start",
            "early_finish_minutes": "Early finish",
            "planned_downtime_minutes": "Planned downtime",
            "unplanned_downtime_minutes": "Unplanned downtime",
            "quality_assurance_minutes": "Phantoms and tests",
        },
        unit="minutes",
        title=f"Staffed time without a patient each week in minutes, {where}",
        what="idle minutes",
        hatched=True,
        events=events,
        said_of=frame.filter(pl.col("total_minutes") > 0),
        more_notes=[
            "With the occupied minutes of the table, the classes are all of the staffed minutes.",
            f"Changeover: {changeover}",
            f"Idle: {idle}",
            "A downtime is known only where its record was delivered (days with known downtimes in "
            "the table); elsewhere it looks idle.",
            "No control limits: they are made of metrics of the registry by month, and the classes of "
            "a week are none.",
        ],
    )


def conventions(frame: pl.DataFrame, where: str) -> Figure:
    """Utilisation under eight conventions in the latest month; one row per convention."""
    return comparison.conventions(frame, title=f"Utilisation under other conventions, {where}")


def bridges(frame: pl.DataFrame, where: str) -> Figure:
    """What lies between two conventions in the latest month; one row per bridge and step."""
    title = f"Bridges between the conventions in minutes, {where}"
    groups = []
    for number, rows in groupby(frame.to_dicts(), key=lambda row: row["bridge_no"]):
        steps = list(rows)
        edges = [n for n, row in enumerate(steps) if row["step_kind"] != "step"]
        cells = [(row["step_name"], _step(row["step_minutes"], row["step_kind"])) for row in steps]
        groups.append(plain_table.Group(cells, title=f"Bridge {number}", strong=edges))
    when = f"{wording.month(frame['month_on'][0])}. " if frame.height else ""
    return Figure(
        title=title,
        takeaway=f"{when}Each bridge begins with one figure and ends with another (bold): the "
        "steps between them explain all of the difference, without a rest, on the days on which "
        "both are defined. Our default stands on staffed time and has no bridge.",
        table=frame,
        reading=plain_table.html(title, ("Step", "Minutes"), groups),
        notes=["Numerator and denominator: above and below the line of the named convention."],
    )


def _step(minutes: float, kind: str) -> str:
    return f"{minutes:+,.1f}" if kind == "step" and minutes else f"{minutes:,.1f}"


def series_ends(frame: pl.DataFrame, where: str) -> Figure:
    """How the end of a series is known in the latest month; one row per way."""
    title = f"How the end of a series is known, {where}"
    takeaway = "No series is stored for this choice."
    rows = []
    for row in frame.to_dicts():
        way = wording.END_METHODS.get(row["end_method"], row["end_method"])
        share = wording.told(row, "series_rate", "rate")
        rows.append((way, wording.told(row, "series_count", "count"), share))
    if frame.height and wording.any_hidden(frame, "series_rate"):
        month = wording.month(frame["month_on"][0])
        takeaway = f"{month}: how many series have which end is hidden: the counts are small."
    elif frame.height:
        first = frame.row(0, named=True)
        takeaway = (
            f"{wording.month(first['month_on'])}, "
            f"{wording.number(first['all_series_count'], 'count')} image series: "
            f"the most ({rows[0][2]}) have their end from: {rows[0][0].lower()}."
        )
    return Figure(
        title=title,
        takeaway=takeaway,
        table=frame,
        reading=plain_table.html(
            title,
            ("How the end is known", "Series", "Share of all series"),
            [plain_table.Group(rows)],
        ),
        notes=[
            "Where it is not known, as of a single image, acquiring time is missing and the visit is "
            "counted to its last known acquisition."
        ],
    )


def against_ris(frame: pl.DataFrame, where: str) -> Figure:
    """Where RIS and images differ in the latest month; one row per finding and band."""
    title = f"RIS against DICOM, {where}"
    takeaway = "No month with images is stored for this choice."
    judged = frame.filter(pl.col("finding_count").is_not_null())
    are_known = judged.select("ris_exam_count", "covered_exam_count").null_count().row(0) == (0, 0)
    if frame.height:
        when = wording.month(frame["month_on"][0])
        takeaway = f"{when}: no images are known of these exams, so nothing can be compared."
    if wording.any_hidden(frame, "finding_count") or not are_known:
        takeaway = f"{when}: how many exams are compared is hidden where their number is small."
    elif judged.height:
        row = judged.row(0, named=True)
        takeaway = (
            f"{when}: {row['covered_exam_count']:,} of "
            f"{wording.counted(row['ris_exam_count'], 'exam')} completed in the RIS fall on days "
            "with images and are compared. Each line names the metric it affects."
        )
    groups = []
    for name, rows in groupby(frame.to_dicts(), key=lambda row: row["finding_name"]):
        lines = list(rows)
        quiet = f"Affects {lines[0]['metric_name'] or 'a metric'} ({lines[0]['metric_id']}). {lines[0]['why']}."
        cells = [_difference(row) for row in lines]
        groups.append(plain_table.Group(cells, title=name, quiet=quiet))
    heads = ("Difference in time", "Found", "Of", "Share", "What was compared")
    return Figure(
        title=title,
        takeaway=takeaway,
        table=frame,
        reading=plain_table.html(title, heads, groups),
        notes=[
            "RIS: the radiology information system, in which exams are booked and completed. "
            "DICOM: the format of the images, with the times of the scanner.",
            "No value means that no images are known; it is not 0.",
        ],
    )


def _difference(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        "any" if row["band"] == "All" else row["band"],
        wording.told(row, "finding_count", "count"),
        wording.told(row, "judged_count", "count"),
        wording.told(row, "finding_rate", "rate"),
        row["judged_name"],
    )


def peers(frame: pl.DataFrame, where: str, targets: pl.DataFrame) -> Figure:
    """Utilisation in the latest month; one row per organisation."""
    return comparison.peers(
        frame,
        on="period_start_on",
        value="value",
        unit="rate",
        title=f"Scanner utilisation against peers, {where}",
        targets=targets,
    )


def exams_per_hour(frame: pl.DataFrame, where: str, targets: pl.DataFrame) -> Figure:
    """Exams per staffed hour in the latest month; one row per organisation."""
    return comparison.peers(
        frame,
        on="period_start_on",
        value="value",
        unit="exams per hour",
        title=f"Exams per staffed hour against peers, {where}",
        targets=targets,
    )
