"""Go-lives, external events and organisation changes on a time chart."""

from __future__ import annotations

from datetime import date
from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboards.components import theme, wording

SYMBOLS = {
    "go_live_archive": "triangle-down",
    "go_live_viewing": "square",
    "go_live_network_reporting": "diamond",
    "organisation_change": "x",
    "outage": "cross",
    "definition_change": "star",
}
# Where the numbers of neighbouring lines stand, so that they do not lie on each other.
HEIGHTS = (0.91, 0.83, 0.75)

SIGNS = {
    "go_live_archive": "▼ archive go-live",
    "go_live_viewing": "■ viewing go-live",
    "go_live_network_reporting": "◆ network reporting go-live",
    "organisation_change": "✖ organisation change",
    "outage": "✚ outage of the image system",
    "definition_change": "★ definition or standard changed",
}


def within(events: pl.DataFrame, table: pl.DataFrame, on: str, step: str) -> pl.DataFrame:
    """The events that touch a period of the table, numbered from 1; one row per event.

    on is the column of dates: first days of a period, or census_on, which is the last day of one.
    step is the length of a period.
    """
    first, last = _bounds(table, on, step)
    ends = pl.coalesce("ends_on", "event_on")
    touching = events.filter((pl.col("event_on") <= last) & (ends >= first))
    return touching.with_row_index("number", offset=1)


def key(events: pl.DataFrame) -> str:
    """The signs that draw() puts on the chart, with their meaning; empty when it puts none."""
    present = set(events["event_type"])
    return ", ".join(words for kind, words in SIGNS.items() if kind in present)


def draw(figure: go.Figure, events: pl.DataFrame, table: pl.DataFrame, on: str, step: str) -> None:
    """Add a line with sign and number for each event of within(), and a band for an external one."""
    first, last = _bounds(table, on, step)
    palette = theme.active()
    shapes: list[dict[str, Any]] = []
    numbers: list[dict[str, Any]] = []
    for event in events.filter(pl.col("event_type") == "external").iter_rows(named=True):
        begins = max(event["event_on"], first)
        shapes.append(
            {
                "type": "rect",
                "x0": begins,
                "x1": min(event["ends_on"] or event["event_on"], last),
                "xref": "x",
                "y0": 0,
                "y1": 1,
                "yref": "y domain",
                "fillcolor": palette.band,
                "opacity": 0.5,
                "line": {"width": 0},
                "layer": "below",
            }
        )
        numbers.append(
            {
                "x": begins,
                "y": 1,
                "yref": "paper",
                "text": f"{event['number']} {event['label'].split(':')[0]}",
                "showarrow": False,
                "xanchor": "left",
                "yanchor": "bottom",
                "font": {"size": 12, "color": palette.label},
            }
        )
    points = events.filter(pl.col("event_type") != "external")
    signs = []
    for kind in points["event_type"].unique(maintain_order=True):
        rows = points.filter(pl.col("event_type") == kind)
        signs.append(
            go.Scatter(
                x=rows["event_on"].to_list(),
                y=[0.95] * rows.height,
                yaxis="y9",
                mode="markers",
                name=wording.EVENT_TYPES.get(kind, kind),
                marker={
                    "symbol": SYMBOLS.get(kind, "circle"),
                    "size": 10,
                    "color": palette.mark,
                },
                text=names(rows),
                hovertemplate="%{text}<extra></extra>",
                cliponaxis=False,
                showlegend=False,
            )
        )
        shapes += [
            theme.upright(when, width=1, dash="dot", color=palette.axis)
            for when in rows["event_on"].unique().to_list()
        ]
    for place, row in enumerate(points.iter_rows(named=True)):
        numbers.append(
            {
                "x": row["event_on"],
                "y": HEIGHTS[place % len(HEIGHTS)],
                "yref": "paper",
                "text": f"<b>{row['number']}</b>",
                "showarrow": False,
                "yanchor": "top",
                "borderpad": 1,
                "bgcolor": palette.veil,
                "font": {"size": 12, "color": palette.ink},
            }
        )
    figure.add_traces(signs)
    # The name of a band stands between the drawing and the legend.
    layout: dict[str, Any] = {"legend": {"y": 1.08}, "shapes": shapes, "annotations": numbers}
    if signs:
        layout["yaxis9"] = {
            "overlaying": "y",
            "range": [0, 1],
            "visible": False,
            "fixedrange": True,
        }
    for name in ("shapes", "annotations"):
        layout[name] = [*figure.layout[name], *layout[name]]
    theme.change(figure, layout)


def listed(table: pl.DataFrame, events: pl.DataFrame, on: str) -> pl.DataFrame:
    """The table with the marked events beside the period each falls in, as on the chart."""
    if events.is_empty():
        return table
    starts = table[on].dt.month_start() if on == "census_on" else table[on]
    said: list[list[str]] = [[] for _ in range(table.height)]
    for row, words in zip(events.iter_rows(named=True), names(events), strict=True):
        # What began before the first period is told beside it.
        place = max(0, (starts <= row["event_on"]).arg_true().len() - 1)
        said[place].append(words)
    texts = ["; ".join(words) or None for words in said]
    return table.with_columns(pl.Series("marked_events", texts, dtype=pl.String))


def _bounds(table: pl.DataFrame, on: str, step: str) -> tuple[date, date]:
    first, last = table[on].min(), table[on].max()
    assert isinstance(first, date) and isinstance(last, date)
    if on == "census_on":
        return first.replace(day=1), last
    return first, pl.Series([last]).dt.offset_by(step).dt.offset_by("-1d").item()


def name(event: dict[str, object]) -> str:
    """Pennine Acute: archive go-live, 30 November 2020 (verified)."""
    when = event["event_on"]
    assert isinstance(when, date)
    status = wording.status(str(event["source_status"]))
    label, scope = str(event["label"]), str(event["scope_name"])
    # Some labels say already whose event it is.
    label = label if scope in label else f"{scope}: {label}"
    return f"{label}, {wording.day(when)}{_until(event)} ({status})"


def _until(event: dict[str, object]) -> str:
    ends = event.get("ends_on")
    is_longer = isinstance(ends, date) and ends != event["event_on"]
    return f" to {wording.day(ends)}" if is_longer and isinstance(ends, date) else ""


def names(events: pl.DataFrame) -> list[str]:
    """One line of text per marked event, with its number: (1) Pennine Acute: archive go-live, ..."""
    return [f"({row['number']}) {name(row)}" for row in events.iter_rows(named=True)]
