"""Lines, bars and nested bars over time. A missing period is a gap, never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboards.components import marks, theme, wording
from dashboards.components.figure import Figure

MOST_TICKS = 7
LEGEND_LINE = 20
# Up to so many bars side by side have an edge of their own.
EDGED_BARS = 60
TICKS = {"rate": ".3~%", "count": ",", "hours": ",", "minutes": ",", "exams per hour": ".1f"}
TICKS |= {"seconds": ",.3~g"}
STEP = {"day_on": "1d", "week_start_on": "1w", "year_on": "1y"}
TOO_FEW_PERIODS = "No control limits: a control chart is made of months, and these are years."


def lines(
    frame: pl.DataFrame,
    *,
    on: str,
    series: Mapping[str, str],
    unit: str,
    title: str,
    what: str,
    events: pl.DataFrame | None = None,
    targets: pl.DataFrame | None = None,
    from_zero: bool = True,
    more_notes: Sequence[str] = (),
    said_of: pl.DataFrame | None = None,
    timing: str = "",
) -> Figure:
    """One line per column in series (column to label), over the dates in `on`.

    said_of holds the rows the sentence may speak of, where not every drawn row will do; timing is
    explained in wording.latest.
    """
    table = _with_gaps(frame, on)
    spoken = table if said_of is None else said_of
    chart, palette = go.Figure(), theme.active()
    for n, (column, label) in enumerate(series.items()):
        many = table.height > 60
        chart.add_trace(
            go.Scatter(
                x=table[on].to_list(),
                y=table[column].to_list(),
                name=label,
                mode="lines" if many else "lines+markers",
                connectgaps=False,
                line={"color": palette.series[n], "width": 2.5, "dash": theme.DASHES[n]},
                marker={"symbol": theme.MARKERS[n], "size": 7},
                hovertemplate=f"%{{x|%d %b %Y}}<br>{label}: %{{y:{_hover(unit)}}}<extra></extra>",
            )
        )
    theme.lay_out(chart, title=title)
    chart.update_layout(showlegend=len(series) > 1)
    takeaway = wording.latest(
        spoken, on=on, value=next(iter(series)), unit=unit, what=what, timing=timing
    )
    return _finish(
        chart, table, on, series, unit, title, takeaway, events, targets, from_zero, more_notes
    )


def bars(
    frame: pl.DataFrame,
    *,
    on: str,
    series: Mapping[str, str],
    unit: str,
    title: str,
    what: str,
    nested: bool = False,
    above: Mapping[str, str] | None = None,
    timing: str = "",
    events: pl.DataFrame | None = None,
    more_notes: Sequence[str] = (),
    said_of: pl.DataFrame | None = None,
    hatched: bool = False,
) -> Figure:
    """Bars over time: stacked parts of a whole, or nested (each inside the one before it).

    hatched draws up to seven parts, told apart by hatching too. above names what stands on top of
    the outermost nested bar, since it is not inside it. timing and said_of are about the sentence:
    see wording.latest and lines().
    """
    table = _with_gaps(frame, on)
    spoken = table if said_of is None else said_of
    chart, palette = go.Figure(), theme.active()
    fills = palette.nested if nested else palette.series
    looks = palette.classes if hatched else [(fill, "") for fill in fills]
    # Of many bars side by side the edges would cover what they hold.
    edge = {"color": palette.edge, "width": 0.5 if table.height <= EDGED_BARS else 0}
    for n, (column, label) in enumerate(series.items()):
        chart.add_trace(
            go.Bar(
                x=table[on].to_list(),
                y=table[column].to_list(),
                name=label,
                marker={
                    "color": looks[n][0],
                    "pattern": {
                        "shape": looks[n][1],
                        "fillmode": "overlay",
                        "fgcolor": palette.background,
                        "solidity": 0.4,
                    },
                    "line": edge,
                },
                hovertemplate=f"%{{x|%d %b %Y}}<br>{label}: %{{y:{_hover(unit)}}}<extra></extra>",
            )
        )
    outermost = table[next(iter(series))].to_list()
    for column, label in (above or {}).items():
        chart.add_trace(
            go.Bar(
                x=table[on].to_list(),
                y=table[column].to_list(),
                base=outermost,
                name=label,
                marker={"color": palette.concern, "line": edge},
                customdata=table[column].to_list(),
                hovertemplate=(
                    f"%{{x|%d %b %Y}}<br>{label}: %{{customdata:{_hover(unit)}}}<extra></extra>"
                ),
            )
        )
    theme.lay_out(chart, title=title)
    layout = {
        "legend": {"traceorder": "normal"},
        "barmode": "overlay" if nested else "stack",
        "showlegend": len(series) > 1,
        "bargap": 0.25,
    }
    theme.change(chart, layout)
    takeaway = wording.latest(
        spoken, on=on, value=next(iter(series)), unit=unit, what=what, timing=timing
    )
    drawn = {**series, **(above or {})}
    return _finish(chart, table, on, drawn, unit, title, takeaway, events, None, True, more_notes)


def _finish(
    chart: go.Figure,
    table: pl.DataFrame,
    on: str,
    series: Mapping[str, str],
    unit: str,
    title: str,
    takeaway: str,
    events: pl.DataFrame | None,
    targets: pl.DataFrame | None,
    from_zero: bool,
    more_notes: Sequence[str],
) -> Figure:
    upward: dict[str, Any] = {
        "tickformat": TICKS.get(unit, ","),
        "rangemode": "tozero" if from_zero else "nonnegative",
    }
    if unit not in {"rate", "count"}:
        upward["title"] = {"text": unit}
    if _all_small(table, series):
        upward["dtick"] = 1
    theme.change(chart, {"xaxis": _dates(table, on), "yaxis": upward})
    notes = []
    if targets is not None and not table.is_empty():
        notes += _draw_targets(chart, table, on, targets)
    marked = []
    if events is not None and not table.is_empty():
        step = STEP.get(on, "1mo")
        events = marks.within(events, table, on, step)
        marks.draw(chart, events, table, on, step)
        marked = marks.names(events)
        table = marks.listed(table, events, on)
        legend = marks.key(events)
        notes += [f"Marks: {legend}."] if legend else []
    notes += more_notes
    _make_room_for_legend(chart)
    alt = f"{title}. {', '.join(series.values())} over time. {takeaway} {' '.join(notes)}".strip()
    if marked:
        alt += f" Marked: {'; '.join(marked)}."
    return Figure(title, takeaway, table, chart, alt, notes, marked, on=on)


def _with_gaps(frame: pl.DataFrame, on: str) -> pl.DataFrame:
    # A period without a row gets an empty row, so that no line is drawn across it.
    if frame.height < 2:
        return frame
    first, last = pl.col(on).min(), pl.col(on).max()
    days = frame.select(pl.date_range(first, last, STEP.get(on, "1mo")).alias(on))
    if on == "census_on":
        days = days.with_columns(pl.col(on).dt.month_end()).unique(maintain_order=True)
    return days.join(frame, on=on, how="left").select(frame.columns)


def _draw_targets(
    chart: go.Figure, table: pl.DataFrame, on: str, targets: pl.DataFrame
) -> list[str]:
    start, end = table.select(start=pl.col(on).min(), end=pl.col(on).max()).row(0)
    shown, palette = [], theme.active()
    for row in targets.iter_rows(named=True):
        begins = max(row["valid_from"] or start, start)
        ends = min(row["valid_to"] or end, end)
        if begins > ends:
            continue
        verified = row["source_status"] == "verified"
        chart.add_trace(
            go.Scatter(
                x=[begins, ends],
                y=[row["target_value"]] * 2,
                mode="lines",
                name=wording.target(row),
                line={
                    "color": palette.target,
                    "width": 2,
                    "dash": "dash" if verified else "dot",
                },
                hovertemplate=wording.target(row) + "<extra></extra>",
            )
        )
        shown.append(f"{wording.target(row)}, source: {row['source']}.")
    chart.update_layout(showlegend=bool(shown) or chart.layout.showlegend)
    return shown


def _dates(table: pl.DataFrame, on: str) -> dict[str, Any]:
    weekly = on in {"week_start_on", "day_on"}
    axis: dict[str, Any] = {"tickformat": "%d %b" if weekly else "%b<br>%Y"}
    # Few periods: label stored dates, so that a tick always stands under a value.
    if 0 < table.height <= 2 * MOST_TICKS:
        step = -(-table.height // MOST_TICKS)
        axis |= {"tickvals": table[on].to_list()[::-1][::step], "tickangle": 0}
    return axis


def _make_room_for_legend(chart: go.Figure) -> None:
    entries = [trace for trace in chart.data if trace.showlegend is not False]
    if chart.layout.showlegend and len(entries) > 1:
        chart.update_layout(height=chart.layout.height + LEGEND_LINE * len(entries))


def _all_small(table: pl.DataFrame, series: Mapping[str, str]) -> bool:
    # Counts below six would get ticks at halves.
    whole = table.select(list(series)).select(pl.selectors.integer())
    known: list[int] = [value for row in whole.rows() for value in row if value is not None]
    return bool(known) and whole.width == len(series) and max(known) < 6


def _hover(unit: str) -> str:
    return {"rate": ".1%", "exams per hour": ".2f", "seconds": ",.1f"}.get(unit, ",.0f")
