"""A drawing of the rows of an answer, as they are: nothing is added up, nothing left out."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboards.components import theme, wording

LINE, BAR, POINTS = "Line", "Bars", "Points"
MOST_COLOURS = 12
NONE = "none"
# With the colours that return after four, and with these, no two series look alike.
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
_SYMBOLS += ("triangle-down", "hexagon", "circle-open", "square-open")
_DASHES, _HATCHES = ("solid", "dash", "dot"), ("", "/", "x")


def show(frame: pl.DataFrame) -> None:
    """The choices (x, y, colour, kind) and the drawing; a word where the rows cannot be drawn."""
    places = [name for name, kind in frame.schema.items() if not _is_unplaced(kind)]
    numbers = [name for name in places if frame.schema[name].is_numeric()]
    if not numbers:
        st.info("A chart needs a column of numbers; this answer has none.")
        return
    columns = st.columns(4)
    x = columns[0].selectbox("Across (x)", places, index=_first_x(frame, places), key=_key("x"))
    y = columns[1].selectbox("Up (y)", numbers, index=_first_y(numbers, x), key=_key("y"))
    groups = [NONE, *(name for name in places if name not in (x, y))]
    start = groups.index(_first_colour(frame, groups[1:]))
    colour = columns[2].selectbox("Colour", groups, index=start, key=_key("colour"))
    kind = columns[3].selectbox("Kind", (LINE, BAR, POINTS), key=_key("kind"))
    chosen = "" if colour == NONE else colour
    if why := refusal(frame, kind, x, chosen):
        st.info(why)
        return
    st.plotly_chart(
        draw(frame, kind, x, y, chosen),
        alt=description(frame, kind, x, y, chosen),
        key="workbench_chart",
        theme=None,
        config=theme.CHART_CONFIG,
    )
    st.caption(
        f"Drawn from the {wording.counted(frame.height, 'row')} below as they are; nothing is added "
        "up. A row without a value is a gap."
    )


def refusal(frame: pl.DataFrame, kind: str, x: str, colour: str) -> str:
    """Why these rows cannot be drawn this way, and what to do; no text where they can."""
    if colour and frame[colour].n_unique() > MOST_COLOURS:
        return (
            f"{colour} has {frame[colour].n_unique():,} values, and {MOST_COLOURS} colours can be "
            "told apart. Ask for fewer, or choose another column."
        )
    if kind == BAR and frame.select(_named(x, colour)).is_duplicated().any():
        return (
            f"Several rows share a bar, and bars are not added up. Ask for one row for each {x}"
            f"{f' and {colour}' if colour else ''}, or choose points."
        )
    return ""


def draw(frame: pl.DataFrame, kind: str, x: str, y: str, colour: str = "") -> go.Figure:
    """The figure: a series for each value of colour, in the colours of the active theme."""
    figure = go.Figure()
    parts = frame.partition_by(colour, maintain_order=True) if colour else [frame]
    for number, part in enumerate(parts):
        rows = part.sort(x) if kind == LINE else part
        values = {"x": _places(rows[x]), "y": rows[y].cast(pl.Float64).to_list()}
        name = str(part[colour][0]) if colour else y
        figure.add_trace(_trace(kind, number, name, values))
    theme.lay_out(figure, title=f"{y} by {x}", height=400)
    figure.update_layout(showlegend=bool(colour), barmode="group")
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    if frame.schema[x] == pl.String:
        figure.update_xaxes(type="category")
    return figure


def description(frame: pl.DataFrame, kind: str, x: str, y: str, colour: str = "") -> str:
    """The drawing in words: kind, measure, how far it reaches."""
    series = f", a series for each {colour}" if colour else ""
    reach = f"{x} from {frame[x].min()} to {frame[x].max()}, {y} from {frame[y].min()} to "
    return (
        f"{kind} of {y} by {x}{series}: {wording.counted(frame.height, 'row')}, {reach}"
        f"{frame[y].max()}. The rows stand below."
    )


def _trace(kind: str, number: int, name: str, values: dict[str, list]) -> go.Scatter | go.Bar:
    palette = theme.active()
    colours = palette.series
    ink, turn = colours[number % len(colours)], number // len(colours)
    if kind == BAR:
        marker = {
            "color": ink,
            "line": {"color": palette.edge, "width": 1},
            "pattern": {"shape": _HATCHES[turn], "fgcolor": palette.background},
        }
        return go.Bar(name=name, marker=marker, **values)
    return go.Scatter(
        name=name,
        mode="markers" if kind == POINTS else "lines+markers",
        line={"color": ink, "dash": _DASHES[turn], "width": 2},
        marker={"color": ink, "symbol": _SYMBOLS[number], "size": 7},
        connectgaps=False,
        **values,
    )


def _named(*names: str) -> Sequence[str]:
    return list(dict.fromkeys(name for name in names if name))


def _places(column: pl.Series) -> list:
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).to_list()
    if column.dtype.is_temporal() and column.dtype not in (pl.Time, pl.Duration):
        return column.to_list()
    return [None if value is None else str(value) for value in column]


def _is_unplaced(kind: pl.DataType) -> bool:
    return kind.is_nested() or kind in (pl.Binary, pl.Null)


def _first_x(frame: pl.DataFrame, places: Sequence[str]) -> int:
    times = [n for n, name in enumerate(places) if frame.schema[name].is_temporal()]
    return times[0] if times else 0


def _first_y(numbers: Sequence[str], x: str) -> int:
    others = [name for name in numbers if name != x] or list(numbers)
    return numbers.index("value" if "value" in others else others[0])


def _first_colour(frame: pl.DataFrame, names: Sequence[str]) -> str:
    texts = [name for name in names if frame.schema[name] == pl.String]
    return next((n for n in texts if 1 < frame[n].n_unique() <= MOST_COLOURS), NONE)


def _key(name: str) -> str:
    return f"workbench_chart_{name}"
