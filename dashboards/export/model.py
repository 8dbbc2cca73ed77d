"""What a board pack holds, before anybody decides how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser

import polars as pl

from dashboards.components.figure import Figure


@dataclass(frozen=True)
class Table:
    """Written cells; a group is a title (or none) and its rows, the first cell being the heading."""

    headings: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[str]]]]

    @property
    def rows(self) -> list[Sequence[str]]:
        """Every row, whatever its group."""
        return [row for _, rows in self.groups for row in rows]


@dataclass(frozen=True)
class Item:
    """One figure of a page as the screen has it, its rows as written, and where they are stored."""

    figure: Figure
    table: Table
    source: str
    metrics: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Section:
    """A part of the pack: its name, the question it answers, and its figures."""

    title: str
    question: str
    items: Sequence[Item]


@dataclass(frozen=True)
class PackModel:
    """A board pack; made_at is the UTC instant of the build, never that of the export.

    answers are sentences of the front page, promises one (promise, sentence) each. freshness says
    how far the data reach per party and feed, definitions has one row per metric used.
    """

    build_id: str
    made_at: datetime
    audience: str
    network: str
    is_synthetic: bool
    rule: str
    answers: Sequence[str]
    caveats: Sequence[str]
    promises: Table
    freshness: Table
    targets: Table
    definitions: pl.DataFrame
    sections: Sequence[Section]

    @property
    def title(self) -> str:
        """The name of the document."""
        return f"Board pack, {self.network} imaging network"


class _Cells(HTMLParser):
    """The cells of a table of the screen as text; what stands quietly below gets its own line."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.groups: list[tuple[str, list[list[str]]]] = []
        self._row: list[str] | None = None
        self._cell: list[str] | None = None
        self._in_head = self._is_group = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        look = dict(attrs).get("class") or ""
        if tag == "thead":
            self._in_head = True
        elif tag == "tr":
            self._row, self._is_group = [], "group" in look
        elif tag in {"th", "td"}:
            self._cell = []
        elif tag == "span" and self._cell is not None:
            self._cell.append("\n" if "quiet" in look else " ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "thead":
            self._in_head = False
        elif tag in {"th", "td"} and self._cell is not None and self._row is not None:
            lines = "".join(self._cell).split("\n")
            self._row.append("\n".join(filter(None, (" ".join(one.split()) for one in lines))))
            self._cell = None
        elif tag == "tr" and self._row is not None:
            self._take(self._row)
            self._row = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def _take(self, row: list[str]) -> None:
        if self._in_head:
            self.headings = row
        elif self._is_group:
            self.groups.append((row[0], []))
        else:
            if not self.groups:
                self.groups.append(("", []))
            self.groups[-1][1].append(row)


def read_table(html: str) -> Table:
    """The cells of a table that a component wrote as HTML."""
    cells = _Cells()
    cells.feed(html)
    return Table(cells.headings, cells.groups)
