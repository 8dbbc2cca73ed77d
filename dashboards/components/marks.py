"""Go-lives, external events and organisation changes on a time chart."""

from __future__ import annotations

from datetime import date

import plotly.graph_objects as go
import polars as pl

from dashboards.components import theme, wording

SYMBOLS = {
    "go_live_archive": "triangle-down",
    "go_live_viewing": "square",
    "go_live_network_reporting": "diamond",
    "organisation_change": "x",
}


SIGNS = {
    "go_live_archive": "▼ archive go-live",
    "go_live_viewing": "■ viewing go-live",
    "go_live_network_reporting": "◆ network reporting go-live",
    "organisation_change": "✖ organisation change",
}


def key(events: pl.DataFrame) -> str:
    """The signs that draw() puts on the chart, with their meaning; empty when it puts none."""
    present = set(events["event_type"])
    return ", ".join(words for kind, words in SIGNS.items() if kind in present)


def draw(figure: go.Figure, events: pl.DataFrame) -> None:
    """Add a row of markers at the top of the chart, and a band for each external event."""
    for event in events.filter(pl.col("event_type") == "external").iter_rows(named=True):
        figure.add_vrect(
            x0=event["event_on"],
            x1=event["ends_on"] or event["event_on"],
            fillcolor=theme.PALE_GREY,
            opacity=0.5,
            line_width=0,
            layer="below",
        )
        figure.add_annotation(
            x=event["event_on"],
            y=1,
            yref="paper",
            text=event["label"].split(":")[0],
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
            font={"size": 12, "color": theme.DARK_GREY},
        )
    # The name of a band stands between the drawing and the legend.
    figure.update_layout(legend_y=1.08)
    points = events.filter(pl.col("event_type") != "external")
    if points.is_empty():
        return
    for kind in points["event_type"].unique(maintain_order=True):
        rows = points.filter(pl.col("event_type") == kind)
        figure.add_trace(
            go.Scatter(
                x=rows["event_on"].to_list(),
                y=[0.95] * rows.height,
                yaxis="y9",
                mode="markers",
                name=wording.EVENT_TYPES.get(kind, kind),
                marker={
                    "symbol": SYMBOLS.get(kind, "circle"),
                    "size": 10,
                    "color": theme.INK,
                },
                text=[name(row) for row in rows.iter_rows(named=True)],
                hovertemplate="%{text}<extra></extra>",
                cliponaxis=False,
                showlegend=False,
            )
        )
        for when in rows["event_on"].unique().to_list():
            figure.add_vline(x=when, line={"width": 1, "dash": "dot", "color": theme.GREY})
    figure.update_layout(
        yaxis9={
            "overlaying": "y",
            "range": [0, 1],
            "visible": False,
            "fixedrange": True,
        },
    )


def name(event: dict[str, object]) -> str:
    """Pennine Acute: archive go-live, 30 November 2020 (verified)."""
    when = event["event_on"]
    assert isinstance(when, date)
    status = wording.status(str(event["source_status"]))
    label, scope = str(event["label"]), str(event["scope_name"])
    # Some labels say already whose event it is.
    label = label if scope in label else f"{scope}: {label}"
    return f"{label}, {wording.day(when)} ({status})"


def names(events: pl.DataFrame) -> list[str]:
    """One line of text per marked event."""
    return [name(row) for row in events.iter_rows(named=True)]
