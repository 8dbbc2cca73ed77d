"""The pack as slides that can be edited: native charts and tables, with words for each chart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date
from math import ceil
from typing import Any

from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE, XL_LEGEND_POSITION, XL_MARKER_STYLE
from pptx.enum.dml import MSO_LINE
from pptx.util import Emu, Inches, Pt

from dashboards.components import theme
from dashboards.export import drawing
from dashboards.export.drawing import Drawing
from dashboards.export.model import Item, PackModel, Table

WIDTH, HEIGHT, EDGE = 13.333, 7.5, 0.5
SMALL, BODY, HEAD = 10, 14, 26
ONLY_TITLE = 5
LINES = {"dash": MSO_LINE.DASH, "dot": MSO_LINE.ROUND_DOT}


def write(pack: PackModel) -> bytes:
    """The presentation as bytes; the same pack gives the same bytes."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = Inches(WIDTH), Inches(HEIGHT)
    about = deck.core_properties
    about.title, about.author, about.language = pack.title, "Imaging network warehouse", "en-GB"
    about.subject = f"Build {pack.build_id}, for {pack.audience}"
    made = pack.made_at.replace(tzinfo=None, microsecond=0)
    about.created = about.modified = made
    about.last_modified_by, about.revision = "Imaging network warehouse", 1
    said = [*pack.answers, *pack.caveats]
    _words(deck, f"{pack.title}: are the promises arriving?",
           [f"Build {pack.build_id}, made {pack.made_at:%d %b %Y %H:%M} UTC, for {pack.audience}",
            *said])  # fmt: skip
    _tables(deck, "Each promise in a sentence", pack.promises)
    for section in pack.sections:
        for item in section.items:
            _item(deck, section.title, item)
    _tables(deck, "Targets", pack.targets)
    _tables(deck, "How far the data reach", pack.freshness)
    defined = [
        (f"{row['metric_id']} {row['name']}", row["definition"], row["unit"], row["source"])
        for row in pack.definitions.iter_rows(named=True)
    ]
    _tables(deck, "Definitions", Table(("Metric", "Definition", "Unit", "Source"), [("", defined)]))
    stream = io.BytesIO()
    deck.save(stream)
    return _dated(stream.getvalue())


def _dated(data: bytes) -> bytes:
    """The same file with one fixed date on every part, in the workbooks of the charts too."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name.endswith(".xlsx"):
                part = _dated(part)
            if name == "docProps/core.xml" and b"<dcterms:created" in part and b"xlsx" not in part:
                part = _undated(part)
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, part)
    return out.getvalue()


def _undated(part: bytes) -> bytes:
    """Core properties of a workbook without the instant it was written; a deck keeps its own."""
    if b"Imaging network warehouse" in part:
        return part
    for name in (b"dcterms:created", b"dcterms:modified"):
        start = part.find(b"<" + name)
        end = part.find(b"</" + name + b">")
        if 0 <= start < end:
            part = part[:start] + part[end + len(name) + 3 :]
    return part


def _slide(deck: Any, title: str) -> Any:
    slide = deck.slides.add_slide(deck.slide_layouts[ONLY_TITLE])
    head = slide.shapes.title
    head.left, head.top = Inches(EDGE), Inches(0.25)
    head.width, head.height = Inches(WIDTH - 2 * EDGE), Inches(0.8)
    head.text_frame.word_wrap = True
    head.text_frame.text = title
    _look(head.text_frame, HEAD if len(title) < 70 else 20, bold=True)
    return slide


def _look(frame: Any, size: int, *, bold: bool = False) -> None:
    for paragraph in frame.paragraphs:
        paragraph.alignment = 1
        paragraph.font.size, paragraph.font.bold = Pt(size), bold
        paragraph.font.name = "Arial"
        paragraph.font.color.rgb = RGBColor.from_string(theme.LIGHT.ink[1:])


def _text(slide: Any, lines: Sequence[str], top: float, height: float, size: int) -> None:
    box = slide.shapes.add_textbox(
        Inches(EDGE), Inches(top), Inches(WIDTH - 2 * EDGE), Inches(height)
    )
    box.text_frame.word_wrap = True
    box.text_frame.text = "\n".join(lines)
    _look(box.text_frame, size)


def _words(deck: Any, title: str, lines: Sequence[str]) -> None:
    _text(_slide(deck, title), lines, 1.3, 5.5, 16)


def _item(deck: Any, section: str, item: Item) -> None:
    shown = item.figure
    drawn = drawing.read(shown.chart) if shown.chart is not None and item.table.rows else None
    if drawn is None:
        if not item.table.rows:
            _words(deck, shown.title, [shown.takeaway, shown.nothing])
        else:
            notes = [shown.takeaway, *(text for _, text, _ in shown.verdicts), *shown.notes]
            _tables(deck, shown.title, item.table, notes)
        return
    slide = _slide(deck, shown.title)
    said = [shown.takeaway, " ".join(f"{text}." for _, text, _ in shown.verdicts)]
    _text(slide, list(filter(None, said)), 1.05, 0.9, BODY)
    _chart(slide, drawn, shown.alt or f"{shown.title}. {shown.takeaway}", shown.title)
    _text(slide, _shortened(shown.notes, item), 6.35, 1.0, SMALL)
    more = [*shown.notes, *(f"Marked: {event}" for event in shown.events)]
    slide.notes_slide.notes_text_frame.text = "\n".join([section, *more, f"From {item.source}"])


def _shortened(notes: Sequence[str], item: Item) -> list[str]:
    """The notes that fit below a chart; all of them stand in the notes of the slide."""
    room, fit = 5, []
    for note in notes:
        need = ceil(len(note) / 190)
        if need > room - 1:
            return [*fit, f"More in the notes of this slide. Read from {item.source}."]
        fit.append(note)
        room -= need
    return [*fit, f"Read from {item.source}."]


def _chart(slide: Any, drawn: Drawing, alt: str, title: str) -> None:
    names = drawn.categories
    data = CategoryChartData(number_format="0.0%" if drawn.is_rate else "General")
    data.categories = [_name(name) for name in names]
    for one in drawn.series:
        data.add_series(one.name or "Process limit", drawn.values(one))
        for ends, word in ((one.low, "low"), (one.high, "high")):
            if ends:
                places = one.y if drawn.is_across else one.x
                told = dict(zip(places, ends, strict=True))
                data.add_series(f"{one.name}, 95 % {word}", [told.get(name) for name in names])
    frame = slide.shapes.add_chart(
        _kind(drawn), Inches(EDGE), Inches(1.95), Inches(WIDTH - 2 * EDGE), Inches(4.4), data
    )
    told = frame._element.nvGraphicFramePr.cNvPr
    told.set("descr", alt)
    told.set("name", title)
    chart = frame.chart
    chart.has_title = False
    chart.font.size, chart.font.name = Pt(11), "Arial"
    chart.has_legend = len(chart.plots[0].series) > 1
    if chart.has_legend:
        chart.legend.position, chart.legend.include_in_layout = XL_LEGEND_POSITION.TOP, False
    if drawn.is_across:
        chart.category_axis.reverse_order = True
    chart.category_axis.tick_label_position = chart.category_axis.tick_label_position.LOW
    chart.value_axis.has_major_gridlines = True
    chart.value_axis.major_gridlines.format.line.color.rgb = RGBColor.from_string("D8DDE0")
    chart.value_axis.tick_labels.number_format = "0.0%" if drawn.is_rate else "#,##0"
    chart.value_axis.tick_labels.number_format_is_linked = False
    values = [value for one in chart.plots[0].series for value in one.values if value is not None]
    if drawn.from_zero and values and min(values) >= 0:
        # An office program would cut the axis, and a small difference look large.
        chart.value_axis.minimum_scale = 0
    _colours(chart, drawn)


def _colours(chart: Any, drawn: Drawing) -> None:
    made = iter(chart.plots[0].series)
    for one in drawn.series:
        for n in range(1 + bool(one.low) + bool(one.high)):
            series = next(made)
            colour = RGBColor.from_string(one.colour[1:])
            if _is_bars(drawn):
                series.format.fill.solid()
                series.format.fill.fore_color.rgb = colour
                continue
            series.smooth = False
            if n:
                series.marker.style = XL_MARKER_STYLE.DASH
            series.marker.size = 6
            if not one.has_marks and not n:
                series.marker.style = XL_MARKER_STYLE.NONE
                series.marker.size = 2
            series.marker.format.fill.solid()
            series.marker.format.fill.fore_color.rgb = colour
            series.marker.format.line.color.rgb = colour
            if one.has_line and not n:
                series.format.line.color.rgb = colour
                series.format.line.width = Pt(2)
                series.format.line.dash_style = LINES.get(one.dash, MSO_LINE.SOLID)
            else:
                series.format.line.fill.background()


def _is_bars(drawn: Drawing) -> bool:
    return drawn.is_across or all(one.is_bar for one in drawn.series)


def _kind(drawn: Drawing) -> Any:
    if drawn.is_across:
        return XL_CHART_TYPE.BAR_STACKED if drawn.is_stacked else XL_CHART_TYPE.BAR_CLUSTERED
    if _is_bars(drawn):
        kinds = XL_CHART_TYPE.COLUMN_CLUSTERED, XL_CHART_TYPE.COLUMN_STACKED
        return kinds[drawn.is_stacked]
    return XL_CHART_TYPE.LINE_MARKERS


def _name(name: Any) -> str:
    if isinstance(name, date):
        return f"{name:%b %Y}" if name.day in {1, 28, 29, 30, 31} else f"{name:%d %b %Y}"
    return str(name)


def _tables(deck: Any, title: str, table: Table, notes: Sequence[str] = ()) -> None:
    size = 10 if len(table.headings) <= 8 else 8
    widths = _widths(table)
    parts = list(_fitting(table, widths, size, notes))
    for number, rows in enumerate(parts, start=1):
        named = title if len(parts) == 1 else f"{title} ({number} of {len(parts)})"
        slide = _slide(deck, named)
        top = 1.1
        if notes and number == 1:
            lines = sum(ceil(len(note) / 165) for note in notes)
            _text(slide, notes, top, 0.2 * lines, 11)
            top += 0.2 * lines + 0.15
        shape = slide.shapes.add_table(
            len(rows) + 1, len(table.headings), Inches(EDGE), Inches(top),
            Inches(WIDTH - 2 * EDGE), Inches(0.28 * (len(rows) + 1)),
        )  # fmt: skip
        told = shape._element.nvGraphicFramePr.cNvPr
        told.set("descr", f"Table: {named}")
        grid = shape.table
        for column, wide in zip(grid.columns, widths, strict=True):
            column.width = Emu(int(Inches(wide)))
        for n, row in enumerate([table.headings, *rows]):
            for cell, text in zip(grid.rows[n].cells, row, strict=True):
                cell.margin_left = cell.margin_right = Inches(0.05)
                cell.margin_top = cell.margin_bottom = Inches(0.02)
                cell.text = text
                _look(cell.text_frame, size, bold=n == 0 or not any(row[1:]))
                cell.fill.solid()
                shade = "D8DDE0" if n == 0 else "E8EDEE" if not any(row[1:]) else "FFFFFF"
                cell.fill.fore_color.rgb = RGBColor.from_string(shade)


def _widths(table: Table) -> list[float]:
    """Inches of each column, by how much its cells have to say."""
    columns = zip(*[table.headings, *table.rows], strict=True)
    needs = [min(max(max(map(len, cells)) ** 0.75, 5.0), 40.0) for cells in columns]
    return [(WIDTH - 2 * EDGE) * need / sum(needs) for need in needs]


def _fitting(
    table: Table, widths: Sequence[float], size: int, notes: Sequence[str]
) -> Iterator[list[Sequence[str]]]:
    """The rows of each slide, groups with a row of their own."""
    line = size * 1.25 / 72

    def tall(row: Sequence[str]) -> float:
        lines = 1
        for text, wide in zip(row, widths, strict=True):
            room = max(int((wide - 0.1) * 72 / (size * 0.5)), 1)
            lines = max(lines, sum(ceil(max(len(part), 1) / room) for part in text.split("\n")))
        return lines * line + 0.06

    blank = [""] * (len(table.headings) - 1)
    lines = [
        row
        for title, rows in table.groups
        for row in ([[title, *blank]] if title else []) + list(rows)
    ]
    full = HEIGHT - 1.1 - 0.35 - tall(table.headings)
    room = full - (0.2 * sum(ceil(len(note) / 165) for note in notes) + 0.15 if notes else 0)
    page: list[Sequence[str]] = []
    for n, row in enumerate(lines):
        need = tall(row)
        if not any(row[1:]) and n + 1 < len(lines):
            # the name of a group never stands alone at the foot of a slide
            need += tall(lines[n + 1])
        if page and need > room:
            yield page
            page, room = [], full
        page.append(row)
        room -= tall(row)
    if page:
        yield page
