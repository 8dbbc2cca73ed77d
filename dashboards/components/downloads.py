"""Downloads of exactly the rows on the screen, with a head that says what they are."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import polars as pl
import streamlit as st
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font

from dashboards.components import far_days, purpose_form

_OFFICE = "application/vnd.openxmlformats-officedocument"
# A workbook of more is made for minutes, in more memory than the server has to spare.
MOST_EXCEL_ROWS = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def header(title: str, definitions: pl.DataFrame, provenance: Sequence[str]) -> list[str]:
    """The lines a download starts with: title, definitions, then filters, build and as-at."""
    lines = [title]
    for row in definitions.iter_rows(named=True):
        owner = f"; owner: {row['owner']}" if "owner" in row else ""
        lines += [
            f"Definition of {row['metric_id']} {row['name']}: {row['definition']}",
            f"Numerator: {row['numerator'] or 'none'}; denominator: {row['denominator'] or 'none'}",
            f"Source: {row['source']} ({row['source_status']}){owner}",
        ]
    return [*lines, *provenance]


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows; what no cell can hold as text: lists and structs, far days, and bytes in
    hexadecimal."""
    frame = far_days.as_text(frame)
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    texts = [
        pl.Series(name, [None if value is None else str(value) for value in frame[name].to_list()])
        for name in nested
    ]
    return frame.with_columns(texts).with_columns(pl.selectors.binary().bin.encode("hex"))


def escape(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows as cells; text a spreadsheet would run as a formula starts with an apostrophe.

    Headings too: typed SQL names its columns as it likes.
    """
    frame = flat(frame).rename(lambda name: f"'{name}" if name.startswith(FORMULA_STARTS) else name)
    text = [name for name, kind in frame.schema.items() if kind == pl.String]
    starts = "^[" + "".join(FORMULA_STARTS).replace("-", "\\-") + "]"
    return frame.with_columns(pl.col(text).str.replace(starts, "'$0")) if text else frame


def csv_bytes(frame: pl.DataFrame, head: Sequence[str]) -> bytes:
    """UTF-8 CSV; the head is one comment line each, starting with '# '."""
    comments = "".join(f"# {' '.join(line.split())}\n" for line in head)
    return (comments + escape(frame).write_csv()).encode("utf-8")


def xlsx_bytes(frame: pl.DataFrame, head: Sequence[str]) -> bytes:
    """A workbook with the sheets About (the head) and Data (the rows)."""
    book = Workbook()
    about = book.active
    about.title = "About"
    about.column_dimensions["A"].width = 110
    for line in escape(pl.DataFrame({"line": list(head)}))["line"]:
        about.append([_plain(line)])
    about["A1"].font = Font(bold=True)
    data = book.create_sheet("Data")
    cells = escape(frame)
    data.append(cells.columns)
    for cell in data[1]:
        cell.font = Font(bold=True)
    for row in cells.iter_rows():
        data.append([_plain(value) for value in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def parquet_bytes(frame: pl.DataFrame, head: Sequence[str]) -> bytes:
    """A Parquet file; the head is its key `about`."""
    stream = io.BytesIO()
    frame.write_parquet(stream, metadata={"about": "\n".join(head)})
    return stream.getvalue()


def buttons(
    frame: pl.DataFrame,
    head: Sequence[str],
    *,
    file_stem: str,
    has_parquet: bool = False,
    taken: Callable[[str, int], None] | None = None,
) -> None:
    """A button for each kind of file; a file is made when it is asked for.

    Where the reader has yet to state a purpose there is a button that asks for it instead. taken is told the name and number of rows first; where it fails there is no file.

    has_parquet: one of Parquet too, which keeps the types that a cell cannot hold.
    """
    if purpose_form.instead_of_buttons(file_stem):
        return
    kinds = [
        ("CSV", "csv", "text/csv", csv_bytes),
        ("Excel", "xlsx", f"{_OFFICE}.spreadsheetml.sheet", xlsx_bytes),
        ("Parquet", "parquet", "application/vnd.apache.parquet", parquet_bytes),
    ]
    offered = kinds[: 2 + has_parquet]
    if frame.height > MOST_EXCEL_ROWS:
        st.caption(f"Excel files are made of up to {MOST_EXCEL_ROWS:,} rows.")
        offered = [kind for kind in offered if kind[1] != "xlsx"]
    with st.container(horizontal=True):
        for label, ending, mime, make in offered:
            st.download_button(
                f"Download {label}",
                partial(_make, make, frame, head, f"{file_stem}.{ending}", taken),
                file_name=f"{file_stem}.{ending}",
                mime=mime,
                key=f"{file_stem}_{ending}",
                on_click="ignore",
            )


def _make(
    make: Callable[[pl.DataFrame, Sequence[str]], bytes],
    frame: pl.DataFrame,
    head: Sequence[str],
    name: str,
    taken: Callable[[str, int], None] | None,
) -> bytes:
    if taken is not None:
        taken(name, frame.height)
    return make(frame, head)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return ILLEGAL_CHARACTERS_RE.sub("", value)
    # A workbook holds no time zones: instants are UTC, and the column name says so.
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
