"""A drawing as a picture for the PDF: lines, bars, dots and intervals, drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from html import escape
from math import ceil, floor, log10
from typing import Any

from dashboards.components import theme
from dashboards.export.drawing import Drawing, Series

WIDTH, HEIGHT, RIGHT, TOP, BOTTOM = 940, 330, 24, 16, 44
ROW, LEGEND, CHAR = 26, 20, 6.6
DASHES = {"dash": "8 4", "dot": "2 4"}


def picture(drawing: Drawing) -> str:
    """The drawing as SVG text."""
    named = [one for one in drawing.series if one.name]
    rows = _legend_rows(named)
    top = TOP + LEGEND * len(rows) + (12 if drawing.marks else 0)
    names = drawing.categories
    left = 64
    height = HEIGHT
    if drawing.is_across:
        left = 20 + int(CHAR * min(max(map(len, map(str, names)), default=0), 52))
        height = top + BOTTOM + ROW * max(len(names), 1)
    box = (left, top, WIDTH - RIGHT, height - BOTTOM)
    low, high, ticks = _scale(drawing)
    parts = [_legend(rows)]
    parts += (
        _across(drawing, box, low, high, ticks)
        if drawing.is_across
        else _along(drawing, box, low, high, ticks)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="Liberation Sans, Arial, sans-serif" '
        f'font-size="12" fill="{theme.LIGHT.ink}">{"".join(parts)}</svg>'
    )


def _along(
    drawing: Drawing, box: tuple[int, int, int, int], low: float, high: float, ticks: list[float]
) -> list[str]:
    left, top, right, bottom = box
    names = drawing.categories
    step = (right - left) / max(len(names), 1)
    dated = bool(names) and isinstance(names[0], date)
    if dated:
        first, last = names[0].toordinal(), names[-1].toordinal()
        pad = step / 2
        span = max(last - first, 1)

        def at(name: Any) -> float:
            return left + pad + (name.toordinal() - first) / span * (right - left - 2 * pad)
    else:
        places = {name: left + step * (n + 0.5) for n, name in enumerate(names)}

        def at(name: Any) -> float:
            return places[name]

    def up(value: float) -> float:
        return bottom - (value - low) / ((high - low) or 1) * (bottom - top)

    parts = []
    for tick in ticks:
        parts.append(_line(left, up(tick), right, up(tick), theme.LIGHT.rule, 1))
        parts.append(_text(left - 6, up(tick) + 4, written(tick, drawing.is_rate, ticks), "end"))
    parts.append(_line(left, bottom, right, bottom, theme.LIGHT.axis, 1))
    if drawing.has_zero_line and low <= 0 <= high:
        parts.append(_line(left, up(0), right, up(0), theme.LIGHT.ink, 1.5))
    every = max(1, ceil(len(names) * 74 / (right - left)))
    for n, name in enumerate(names[::-1]):
        if n % every == 0:
            text = f"{name:%b %Y}" if dated else str(name)
            parts.append(_text(at(name), bottom + 16, text, "middle"))
    if drawing.axis_title:
        parts.append(_text((left + right) / 2, bottom + 34, drawing.axis_title, "middle"))
    for n, (where, number) in enumerate(drawing.marks):
        if dated and isinstance(where, date) and names[0] <= where <= names[-1]:
            parts.append(_line(at(where), top, at(where), bottom, theme.LIGHT.axis, 1, "2 3"))
            parts.append(_text(at(where), top - 3 + (n % 2) * 12, number.split(" ")[0], "middle"))
    bars = [one for one in drawing.series if one.is_bar]
    stacked = dict.fromkeys(names, 0.0)
    width = step * 0.72
    for place, one in enumerate(bars):
        for name, value in zip(one.x, one.y, strict=True):
            if value is None:
                continue
            base = stacked[name] if drawing.is_stacked else 0.0
            stacked[name] = base + value
            x, wide = at(name) - width / 2, width
            if not drawing.is_stacked and len(bars) > 1:
                wide = width / len(bars)
                x += wide * place
            y0, y1 = sorted((up(base), up(base + value)))
            parts.append(_rect(x, y0, wide, y1 - y0, one.colour))
    for one in drawing.series:
        if not one.is_bar:
            points = [
                None if y is None else (at(x), up(y)) for x, y in zip(one.x, one.y, strict=True)
            ]
            for x, down, above in zip(one.x, one.low, one.high, strict=False):
                if down is not None and above is not None:
                    parts.append(_line(at(x), up(down), at(x), up(above), one.colour, 2))
            parts += _drawn(one, points)
    return parts


def _across(
    drawing: Drawing, box: tuple[int, int, int, int], low: float, high: float, ticks: list[float]
) -> list[str]:
    left, top, right, bottom = box
    names = drawing.categories
    places = {name: top + ROW * (n + 0.5) for n, name in enumerate(names)}

    def over(value: float) -> float:
        return left + (value - low) / ((high - low) or 1) * (right - left)

    parts = []
    for tick in ticks:
        parts.append(_line(over(tick), top, over(tick), bottom, theme.LIGHT.rule, 1))
        text = written(tick, drawing.is_rate, ticks)
        parts.append(_text(over(tick), bottom + 16, text, "middle"))
    if drawing.has_zero_line and low <= 0 <= high:
        parts.append(_line(over(0), top, over(0), bottom, theme.LIGHT.ink, 1.5))
    for name, y in places.items():
        text = str(name) if len(str(name)) <= 52 else f"{str(name)[:51]}…"
        parts.append(_text(left - 6, y + 4, text, "end"))
    ends = dict.fromkeys(names, 0.0)
    for one in drawing.series:
        if one.is_bar:
            for value, name in zip(one.x, one.y, strict=True):
                if value is not None:
                    base = ends[name] if drawing.is_stacked else 0.0
                    ends[name] = base + value
                    x0, x1 = sorted((over(base), over(base + value)))
                    parts.append(_rect(x0, places[name] - 8, x1 - x0, 16, one.colour))
            continue
        for name, down, above in zip(one.y, one.low, one.high, strict=False):
            if down is not None and above is not None:
                y = places[name]
                parts.append(_line(over(down), y, over(above), y, one.colour, 2))
        points = [
            None if x is None else (over(x), places[y]) for x, y in zip(one.x, one.y, strict=True)
        ]
        parts += _drawn(one, points)
    return parts


def _drawn(one: Series, points: Sequence[tuple[float, float] | None]) -> list[str]:
    parts = []
    if one.has_line:
        run: list[tuple[float, float]] = []
        for point in [*points, None]:
            if point is not None:
                run.append(point)
                continue
            if len(run) > 1:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
                dash = DASHES.get(one.dash, "")
                parts.append(
                    f'<polyline points="{path}" fill="none" stroke="{one.colour}" '
                    f'stroke-width="2" stroke-dasharray="{dash or "none"}"/>'
                )
            run = []
    if one.has_marks:
        parts += [_mark(x, y, one) for x, y in filter(None, points)]
    return parts


def _mark(x: float, y: float, one: Series) -> str:
    fill = theme.LIGHT.background if one.symbol.endswith("-open") else one.colour
    look = f'fill="{fill}" stroke="{one.colour}" stroke-width="1.5"'
    if one.symbol.startswith("line-ns"):
        return _line(x, y - 10, x, y + 10, one.colour, 3)
    if one.symbol.startswith("square"):
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {look}/>'
    if one.symbol.startswith("diamond"):
        return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5-5z" {look}/>'
    if one.symbol.startswith("triangle"):
        tip = -5 if "up" in one.symbol else 5
        return f'<path d="M{x:.1f} {y + tip:.1f}l5 {-1.8 * tip:.1f}h-10z" {look}/>'
    radius = 5 if one.symbol.endswith("-open") else 3.5
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {look}/>'


def _legend_rows(named: Sequence[Series]) -> list[list[Series]]:
    rows: list[list[Series]] = []
    wide = float(WIDTH)
    for one in named:
        need = 44 + CHAR * len(one.name)
        if wide + need > WIDTH - 40:
            rows.append([])
            wide = 0.0
        rows[-1].append(one)
        wide += need
    return rows


def _legend(rows: Sequence[Sequence[Series]]) -> str:
    parts = []
    for n, row in enumerate(rows):
        x, y = 20.0, 12.0 + LEGEND * n
        for one in row:
            if one.is_bar:
                parts.append(_rect(x, y - 5, 18, 10, one.colour))
            if one.has_line:
                parts.append(_line(x, y, x + 18, y, one.colour, 2, DASHES.get(one.dash, "")))
            if one.has_marks:
                parts.append(_mark(x + 9, y, one))
            parts.append(_text(x + 24, y + 4, one.name, "start"))
            x += 44 + CHAR * len(one.name)
    return "".join(parts)


def _scale(drawing: Drawing) -> tuple[float, float, list[float]]:
    found: list[float] = []
    totals: dict[Any, float] = {}
    for one in drawing.series:
        values = one.x if drawing.is_across else one.y
        places = one.y if drawing.is_across else one.x
        found += [v for v in [*values, *one.low, *one.high] if isinstance(v, int | float)]
        if one.is_bar and drawing.is_stacked:
            for place, value in zip(places, values, strict=True):
                totals[place] = totals.get(place, 0.0) + (value or 0.0)
    found += totals.values()
    if drawing.from_zero or drawing.has_zero_line or not found:
        found.append(0.0)
    low, high = min(found), max(found)
    high = high if high > low else low + 1
    rough = (high - low) / 5
    size = 10 ** floor(log10(rough))
    step = next(size * part for part in (1, 2, 5, 10) if size * part >= rough)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = [round(step * n, 12) for n in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def written(tick: float, is_rate: bool, ticks: Sequence[float]) -> str:
    """A tick as text, with as many decimals as the step needs."""
    step = (ticks[1] - ticks[0]) * (100 if is_rate else 1) if len(ticks) > 1 else 1
    decimals = max(0, -floor(log10(abs(step)) + 1e-9)) if step else 0
    return f"{tick * 100:.{decimals}f}%" if is_rate else f"{tick:,.{decimals}f}"


def _line(
    x0: float, y0: float, x1: float, y1: float, colour: str, width: float, dash: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dashed}/>'
    )


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
