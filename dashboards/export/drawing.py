"""A chart of the screen as plain series, so that a picture and a slide draw the same values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import plotly.graph_objects as go

from dashboards.components import theme

EVENTS_AXIS = "y9"


@dataclass(frozen=True)
class Series:
    """One series; low and high are the ends of intervals, empty where there are none."""

    name: str
    x: Sequence[Any]
    y: Sequence[Any]
    is_bar: bool
    has_line: bool
    has_marks: bool
    colour: str
    dash: str
    symbol: str
    low: Sequence[Any] = ()
    high: Sequence[Any] = ()

    @property
    def is_span(self) -> bool:
        """A level between two dates, as a target is."""
        ends = len(self.x) == 2 and isinstance(self.x[0], date) and self.y[0] == self.y[1]
        return ends and self.has_line and not self.has_marks


@dataclass(frozen=True)
class Drawing:
    """Series and how they lie; is_across when the categories go down the left side.

    marks are positions of events with their numbers, from_zero says that the axis holds 0.
    """

    series: Sequence[Series]
    is_across: bool
    is_stacked: bool
    is_rate: bool
    from_zero: bool
    has_zero_line: bool
    axis_title: str
    marks: Sequence[tuple[Any, str]]

    @property
    def categories(self) -> list[Any]:
        """The places along the axis of categories, in order."""
        found: dict[Any, None] = {}
        # a target that begins within a month is no month of its own: it would cut every line
        for one in [one for one in self.series if not one.is_span] or self.series:
            found |= dict.fromkeys(one.y if self.is_across else one.x)
        names = list(found)
        if names and all(isinstance(name, date | int | float) for name in names):
            return sorted(names)
        return names

    def values(self, one: Series) -> list[Any]:
        """The values of a series at each category; None where it has none."""
        if one.is_span:
            first, last = one.x
            return [one.y[0] if first <= name <= last else None for name in self.categories]
        places, values = (one.y, one.x) if self.is_across else (one.x, one.y)
        told = dict(zip(places, values, strict=True))
        return [told.get(name) for name in self.categories]


def read(chart: go.Figure) -> Drawing | None:
    """The series of a chart; None for one that only a table can tell (a matrix, a timeline)."""
    if any(trace.type == "heatmap" for trace in chart.data):
        return None
    shown = [trace for trace in chart.data if trace.yaxis != EVENTS_AXIS]
    across = any(trace.orientation == "h" for trace in shown)
    values = [value for trace in shown for value in ((trace.x if across else trace.y) or ())]
    if not any(isinstance(value, int | float) for value in values):
        return None
    axis = chart.layout.xaxis if across else chart.layout.yaxis
    marks = [
        (note.x, note.text.removeprefix("<b>").removesuffix("</b>"))
        for note in chart.layout.annotations
        if note.yref == "paper" and note.text
    ]
    zero = any(
        shape.y0 == 0 == shape.y1 or (across and shape.x0 == 0) for shape in chart.layout.shapes
    )
    return Drawing(
        series=[_series(trace, across) for trace in shown],
        is_across=across,
        is_stacked=chart.layout.barmode == "stack",
        is_rate="%" in (axis.tickformat or ""),
        from_zero=axis.rangemode == "tozero" or any(trace.type == "bar" for trace in shown),
        has_zero_line=zero,
        axis_title=(chart.layout.xaxis.title.text or "") if not across else "",
        marks=marks,
    )


def _series(trace: Any, across: bool) -> Series:
    is_bar = trace.type == "bar"
    mode = "" if is_bar else trace.mode or "lines"
    values = list((trace.x if across else trace.y) or ())
    reach = None if is_bar else (trace.error_x if across else trace.error_y)
    low, high = [], []
    if reach is not None and reach.array is not None:
        below = reach.arrayminus if reach.arrayminus is not None else reach.array
        low = [_moved(v, b, -1) for v, b in zip(values, below, strict=True)]
        high = [_moved(v, a, 1) for v, a in zip(values, reach.array, strict=True)]
    symbol = "square" if is_bar else trace.marker.symbol
    colour = trace.marker.color
    if not is_bar and "lines" in mode and trace.line.color:
        colour = trace.line.color
    return Series(
        name=trace.name or "",
        x=list(trace.x or ()),
        y=list(trace.y or ()),
        is_bar=is_bar,
        has_line="lines" in mode and not is_bar,
        has_marks="markers" in mode and not is_bar,
        colour=colour if isinstance(colour, str) else theme.LIGHT.accent,
        dash=(trace.line.dash if not is_bar else None) or "solid",
        symbol=symbol if isinstance(symbol, str) else "circle",
        low=low,
        high=high,
    )


def _moved(value: float | None, by: float | None, sign: int) -> float | None:
    return None if value is None or by is None else value + sign * by
