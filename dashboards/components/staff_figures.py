"""The figures of the page for staff. Teams and organisations only; nothing here is of a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from dashboards.components import comparison, plain_table, trend, wording
from dashboards.components.figure import Figure

BY_EMPLOYER = (
    "Counted by the organisation that employs the readers. A party or trust without a value has no "
    "rota told, or is left out because too few read there."
)
BY_POSTS = "Counted by the organisation that has the posts."
BY_ANSWERS = "Counted by organisation; answers of a group that is too small count in no score."
BY_SITE = "Counted by where the images were made, not by who reported them."
NO_PEER = (
    "No organisation is shown by itself: no rota of it is told, or too few people read there in "
    "every month of this choice."
)
NOT_COUNTED = (
    "No. This is context: it has no target, no good direction, and no other figure is made of it."
)
LEFT_OUT = "A gap is a week that is left out: {rule}"
GIVEN = "To the right: reads more for others than others read for it. To the left: the reverse."


def peers(frame: pl.DataFrame, measure: dict[str, Any], note: str) -> Figure:
    """One metric in the latest month; one row per organisation, a hidden one keeps its row."""
    drawn = comparison.peers(
        frame,
        on="period_start_on",
        value="value",
        unit=measure["unit"],
        title=f"{measure['name']} against peers",
    )
    return replace(drawn, notes=[*drawn.notes, note], nothing=NO_PEER)


def teams(frame: pl.DataFrame, where: str, rule: str) -> list[Figure]:
    """Reading for each rostered hour by week, a figure for each team of the rota.

    frame holds one row per team and week; rule is the published text of when a week is left out.
    """
    found = frame["team"].unique(maintain_order=True).sort().to_list()
    return [_team(frame.filter(pl.col("team") == name), name, where, rule) for name in found]


def _team(frame: pl.DataFrame, team: str, where: str, rule: str) -> Figure:
    name = team.replace("_", " ")
    return trend.lines(
        frame,
        on="week_start_on",
        series={"minutes_per_rostered_hour": "Minutes for each rostered hour"},
        unit="minutes",
        title=f"Team {name}: minutes of reading for each rostered hour, {where}",
        what=f"minutes of reading for each rostered hour of the team {name}",
        more_notes=[LEFT_OUT.format(rule=rule)],
    )


def balance(frame: pl.DataFrame) -> Figure:
    """Reading given to less reading had from other parties; one row per party."""
    drawn = comparison.peers(
        frame,
        on="month_on",
        value="balance_minutes",
        unit="minutes",
        title="Minutes of reading for others, less what others read, by party",
    )
    return replace(drawn, notes=[*drawn.notes, GIVEN])


def protections(frame: pl.DataFrame) -> Figure:
    """What no published file can show, and the tests that prove it; one row per protection."""
    heads = ("What cannot be shown", "Smallest group", "Source", "Certainty", "Proved by")
    rows = [
        (
            row["statement"],
            f"{row['least_people_count']} {row['people']}"
            if row["least_people_count"] is not None
            else "any size",
            row["source"],
            wording.status(row["source_status"]),
            _tests(row["tested_by"].split("; ")),
        )
        for row in frame.iter_rows(named=True)
    ]
    title = "What this page cannot show"
    return Figure(
        title=title,
        takeaway="For nobody: these hold in the file of every audience, not in this page alone.",
        table=frame,
        reading=plain_table.html(title, heads, [plain_table.Group(rows)], text=5),
        nothing="The published file says nothing of how staff are protected.",
    )


def _tests(names: Sequence[str]) -> str:
    # The sentence of the test says what it proves; its file stands in the table below.
    return "; ".join(
        name.rpartition("::")[2].removeprefix("test_").replace("_", " ") for name in names
    )
