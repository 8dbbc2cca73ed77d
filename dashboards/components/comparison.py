"""One bar per organisation or scanner, mine in blue, with the target as a line."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import plotly.graph_objects as go
import polars as pl

from dashboards.components import theme, wording
from dashboards.components.figure import Figure
from dashboards.components.trend import TICKS

BAR_HEIGHT = 30
# A longer name of an organisation takes two lines: a narrow card would cut it.
MOST_LETTERS = 22


def peers(
    frame: pl.DataFrame,
    *,
    on: str,
    value: str,
    unit: str,
    title: str,
    targets: pl.DataFrame | None = None,
) -> Figure:
    """One bar per organisation in the order of the frame; a missing value has no bar."""
    mine = frame.filter(pl.col("is_mine"))
    when = frame[on][0] if frame.height else None
    words = wording.day(when) if on == "census_on" else wording.month(when)
    known = frame.filter(pl.col(value).is_not_null())
    takeaway = f"No value is stored for {title[:1].lower()}{title[1:]}."
    if known.height:
        top, low = known.row(0, named=True), known.row(known.height - 1, named=True)
        takeaway = (
            f"{words}: from {number(low[value], unit)} at {low['organisation']} "
            f"to {number(top[value], unit)} at {top['organisation']}"
        )
        if known.height == 1:
            takeaway = f"{words}: {number(top[value], unit)} at {top['organisation']}, the only one"
        own = number(mine[value][0], unit) if mine.height else ""
        own = "hidden" if wording.any_hidden(mine, value) else own
        said = known.height == 1 and mine.height and mine[value][0] is not None
        takeaway += f"; {mine['organisation'][0]} {own}." if mine.height and not said else "."
    palette = theme.active()
    fills = [palette.accent if own else palette.other for own in frame["is_mine"]]
    if mine.is_empty():
        fills = [palette.accent] * frame.height
    chart = _bars(frame["organisation"].to_list(), frame[value].to_list(), fills, unit)
    folded = ["<br>".join(wrap(name, MOST_LETTERS)) for name in frame["organisation"]]
    written = wording.all_told(frame, value, unit)
    chart.update_yaxes(
        ticktext=[f"{name}  <b>{text}</b>" for name, text in zip(folded, written, strict=True)]
    )
    notes = _target_lines(chart, targets)
    if mine.height:
        notes.append(f"Blue: {mine['organisation'][0]}; grey: the others.")
    theme.lay_out(chart, title=title, height=60 + BAR_HEIGHT * max(frame.height, 2))
    _axes(chart, unit)
    alt = f"{title}. Bar chart, one bar per organisation. {takeaway} {' '.join(notes)}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt, notes=notes)


def groups(frame: pl.DataFrame, *, unit: str, counted: str, title: str, takeaway: str) -> Figure:
    """One bar per group of patients, with how many it holds; those not known in grey.

    A withheld group has no bar. counted says what the denominators count.
    """
    palette = theme.active()
    fills = [palette.accent if known else palette.other for known in frame["is_group_known"]]
    names = frame["patient_group"].to_list()
    chart = _bars(names, frame["value"].to_list(), fills, unit)
    written = [
        f"{name} ({row['denominator']:,.0f})  <b>{number(row['value'], unit)}</b>"
        if not row["is_withheld"]
        else f"{name}  <b>withheld</b>"
        for name, row in zip(names, frame.iter_rows(named=True), strict=True)
    ]
    # The middle quintiles have numbers as their names, which are no places on a scale.
    chart.update_yaxes(ticktext=written, type="category")
    theme.lay_out(chart, title=title, height=60 + BAR_HEIGHT * max(frame.height, 2))
    _axes(chart, unit)
    alt = (
        f"{title}. Bar chart, one bar per group of patients, with the number {counted}. {takeaway}"
    )
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt)


def scanners(
    frame: pl.DataFrame, *, title: str, counted: Sequence[str], targets: pl.DataFrame | None = None
) -> Figure:
    """One bar per scanner: utilisation in the latest week; no bar where it is not known."""
    week = frame["week_start_on"][0] if frame.height else None
    known = frame.filter(pl.col("utilisation_rate").is_not_null())
    takeaway = "No scanner has a stored utilisation for this choice."
    if known.height:
        top, low = known.row(0, named=True), known.row(known.height - 1, named=True)
        takeaway = (
            f"Week from {wording.day(week)}: from {number(low['utilisation_rate'], 'rate')} "
            f"({low['station_name']}, {low['site_name']}) to "
            f"{number(top['utilisation_rate'], 'rate')} ({top['station_name']}, "
            f"{top['site_name']})."
        )
        if known.height == 1:
            takeaway = (
                f"Week from {wording.day(week)}: {number(top['utilisation_rate'], 'rate')} "
                f"({top['station_name']}, {top['site_name']}), the only scanner with a rate."
            )
    names = [
        f"{row['site_name']}, {row['modality_group']} {row['station_name']}"
        for row in frame.to_dicts()
    ]
    values = frame["utilisation_rate"].to_list()
    chart = _bars(names, values, [theme.active().accent] * frame.height, "rate")
    notes = [*_target_lines(chart, targets), *counted]
    theme.lay_out(chart, title=title, height=60 + 21 * max(frame.height, 2))
    _axes(chart, "rate")
    alt = f"{title}. Bar chart, one bar per scanner. {takeaway}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt, notes=notes)


def conventions(frame: pl.DataFrame, *, title: str) -> Figure:
    """One bar per convention of utilisation, our default in blue; none where it is not defined."""
    known = frame.filter(pl.col("utilisation_rate").is_not_null()).sort("utilisation_rate")
    when = wording.month(frame["month_on"][0] if frame.height else None)
    takeaway = "No convention has a stored value for this choice."
    if known.height:
        low, top = known.row(0, named=True), known.row(known.height - 1, named=True)
        own = frame.filter(pl.col("convention") == "nested")["utilisation_rate"].to_list()
        takeaway = (
            f"{when}, the same scans counted in {known.height} ways: from "
            f"{number(low['utilisation_rate'], 'rate')} ({low['convention_name']}) to "
            f"{number(top['utilisation_rate'], 'rate')} ({top['convention_name']}); "
            f"ours {number(own[0] if own else None, 'rate')}."
        )
    palette = theme.active()
    fills = [palette.accent if name == "nested" else palette.other for name in frame["convention"]]
    chart = _bars(
        frame["convention_name"].to_list(), frame["utilisation_rate"].to_list(), fills, "rate"
    )
    theme.lay_out(chart, title=title, height=60 + BAR_HEIGHT * max(frame.height, 2))
    _axes(chart, "rate")
    notes = [
        "Blue: our default; grey: conventions of others. None is wrong: they answer other questions. "
        "Where the table does not say that a convention is at most 100 %, overlaps can lift it above.",
        "Each leaves out the days on which it is not defined (table); where opening hours are much "
        "longer than staffed sessions, those that stand on opening hours come out small.",
    ]
    alt = f"{title}. Bar chart, one bar per convention. {takeaway}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt, notes=notes)


def counts(
    frame: pl.DataFrame, *, label: str, value: str, title: str, takeaway: str, hint: str
) -> Figure:
    """Bars of stored counts per label; several rows of one label stand end to end."""
    palette = theme.active()
    chart = go.Figure(
        go.Bar(
            x=frame[value].to_list(),
            y=[str(name).replace("_", " ") for name in frame[label]],
            orientation="h",
            marker={"color": palette.accent, "line": {"color": palette.background, "width": 1}},
            text=frame[hint].to_list(),
            textposition="none",
            hovertemplate="%{y}<br>%{text}: %{x:,}<extra></extra>",
        )
    )
    theme.lay_out(chart, title=title, height=90 + BAR_HEIGHT * max(frame[label].n_unique(), 2))
    chart.update_layout(barmode="stack")
    _axes(chart, "count")
    alt = f"{title}. Bar chart. {takeaway}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt)


def bands(frame: pl.DataFrame, *, title: str) -> Figure:
    """One bar per week of waiting; six weeks and longer in orange."""
    names = [wording.band(name) for name in frame["band"]]
    late = [name >= "band_06" for name in frame["band"]]
    when = frame["census_on"][0] if frame.height else None
    takeaway = (
        f"The list on {wording.day(when)} by weeks already waited; 6 weeks or more in orange."
        if when
        else "No waiting list is stored for this choice."
    )
    palette = theme.active()
    chart = go.Figure(
        go.Bar(
            x=names,
            y=frame["waiting_count"].to_list(),
            marker={"color": [palette.concern if x else palette.accent for x in late]},
            text=wording.all_told(frame, "waiting_count", "count"),
            textposition="outside",
            textfont={"size": 13, "color": palette.ink},
            cliponaxis=False,
            hovertemplate="%{x} whole weeks: %{y:,}<extra></extra>",
        )
    )
    theme.lay_out(chart, title=title)
    chart.update_xaxes(type="category", title_text="whole weeks waited")
    chart.update_yaxes(tickformat=",", title_text="requests", rangemode="tozero")
    alt = f"{title}. Bar chart, one bar per week waited. {takeaway}"
    return Figure(title=title, takeaway=takeaway, table=frame, chart=chart, alt=alt)


def number(value: object, unit: str) -> str:
    """The same spelling as everywhere."""
    return wording.number(value, unit)


def _bars(names: list[str], values: list[float | None], fills: list[str], unit: str) -> go.Figure:
    # The value stands beside the name, where no target line can cross it.
    written = [number(value, unit) for value in values]
    chart = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker={"color": fills},
            customdata=written,
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )
    labels = [f"{name}  <b>{value}</b>" for name, value in zip(names, written, strict=True)]
    theme.change(chart, {"yaxis": {"tickvals": names, "ticktext": labels}})
    return chart


def _axes(chart: go.Figure, unit: str) -> None:
    layout = {
        "xaxis": {
            "tickformat": TICKS.get(unit, ","),
            "rangemode": "tozero",
            "tickangle": 0,
            "nticks": 4,
        },
        "yaxis": {"autorange": "reversed", "showgrid": False},
        "margin": {"r": 24},
        "bargap": 0.35,
    }
    theme.change(chart, layout)


def _target_lines(chart: go.Figure, targets: pl.DataFrame | None) -> list[str]:
    if targets is None:
        return []
    notes, shapes, palette = [], [], theme.active()
    for row in targets.iter_rows(named=True):
        at, dash = row["target_value"], "dash" if row["source_status"] == "verified" else "dot"
        # A line of the background below keeps the target visible where it crosses a bar.
        shapes += [
            theme.upright(at, width=5, color=palette.background),
            theme.upright(at, width=2, color=palette.target, dash=dash),
        ]
        notes.append(f"Green line: {wording.target(row)}, source: {row['source']}.")
    theme.add_shapes(chart, shapes)
    return notes
