"""XLSX workbooks as plain rows, within limits; nothing is computed, followed or unpacked to disk."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from pipelines.sources.extract_tables import Refused

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

_MERGED = re.compile(
    rb"""<(?:\w+:)?mergeCell\s(?:[^>]*?\s)?ref\s*=\s*["']\$?([A-Z]+\$?\d+:\$?[A-Z]+\$?\d+)["']"""
)
# A document type can hold entities that swell, or that fetch files; no program writes one here.
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
XML = (".xml", ".rels", ".vml")
# How markup begins, in one byte a character or in two.
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<|\xff\xfe|\xfe\xff|\x00<")


class WorkbookRefused(ValueError):
    """The workbook may not be read; `rule` names what it breaks, the message the next step."""

    def __init__(self, rule: str, detail: str) -> None:
        """Keep the rule beside the message."""
        super().__init__(detail)
        self.rule = rule

    def refused(self) -> Refused:
        """The same as a refusal of a delivery."""
        return Refused(self.rule, str(self))


@dataclass(frozen=True)
class WorkbookLimits:
    """How far a workbook may go before it is taken for an attack or an accident; bytes and counts."""

    packed: int = 16 << 20
    members: int = 500
    unpacked: int = 64 << 20
    ratio: int = 200
    ratio_from: int = 8 << 20
    sheets: int = 50
    rows: int = 100_000
    columns: int = 100


LIMITS = WorkbookLimits()


@dataclass(frozen=True)
class Sheet:
    """One sheet: its rows from row 1 on as cell values, and the ranges that are merged in it."""

    name: str
    rows: list[tuple[Any, ...]]
    merged: tuple[str, ...]


def read_workbook(data: bytes, limits: WorkbookLimits = LIMITS) -> dict[str, Sheet]:
    """Sheets of a workbook by name, in its order; raises WorkbookRefused.

    A formula stays the text of the formula: what a program last computed of it is not asked.
    Trailing empty rows and columns are cut off, so that formatted but empty cells are no data.
    """
    merged = _looked_over(data, limits)
    # openpyxl takes a second to import, which only a harvest of workbooks pays.
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = load_workbook(
                io.BytesIO(data), read_only=True, keep_links=False, data_only=False
            )
            sheets = book.worksheets
            if len(sheets) > limits.sheets:
                raise _beyond(f"{len(sheets)} sheets; {limits.sheets} are read")
            return {
                sheet.title: Sheet(sheet.title, _rows(sheet, limits), merged.get(sheet.title, ()))
                for sheet in sheets
            }
    except WorkbookRefused:
        raise
    except Exception as error:
        # Whatever a damaged workbook makes of the library, it is one workbook that is refused.
        raise _unreadable(type(error).__name__) from error


def _beyond(what: str) -> WorkbookRefused:
    return WorkbookRefused(
        "is_within_limits", f"the workbook has {what}; send the sheets of one month only"
    )


def _unreadable(kind: str) -> WorkbookRefused:
    return WorkbookRefused(
        "is_readable",
        f"not readable as a workbook ({kind}); save it as .xlsx without a password and send it again",
    )


def _looked_over(data: bytes, limits: WorkbookLimits) -> dict[str, tuple[str, ...]]:
    """Merged ranges by name of sheet, once the archive is known to be harmless."""
    if len(data) > limits.packed:
        raise _beyond(f"{len(data)} bytes; {limits.packed} are read")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            unpacked = sum(info.file_size for info in infos)
            if len(infos) > limits.members:
                raise _beyond(f"{len(infos)} members")
            if unpacked > limits.unpacked:
                raise _beyond(f"{unpacked} bytes when unpacked; {limits.unpacked} are read")
            if unpacked > limits.ratio_from and unpacked > limits.ratio * len(data):
                raise _beyond(f"over {limits.ratio} times its size when unpacked")
            names = [info.filename for info in infos]
            if len(set(names)) < len(names):
                raise _unreadable("two members of one name")
            if any(name.lower().endswith("vbaproject.bin") for name in names):
                raise WorkbookRefused(
                    "has_no_macros", "the workbook holds macros; save it as .xlsx without them"
                )
            # All of them: what a sheet is, its relation says, and not the end of its name.
            parts = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise _unreadable(type(error).__name__) from error
    except (NotImplementedError, ValueError) as error:
        raise error if isinstance(error, WorkbookRefused) else _unreadable("packing") from error
    for name, part in parts.items():
        is_markup = name.lower().endswith(XML) or _MARKUP.match(part) is not None
        # A document of two bytes a character hides its markup from the search.
        if (is_markup and b"\0" in part) or _DOCTYPE.search(part):
            raise _unreadable("a document type within it")
    return _merged(parts)


def _merged(parts: Mapping[str, bytes]) -> dict[str, tuple[str, ...]]:
    try:
        relations = {
            node.get("Id"): str(node.get("Target"))
            for node in ElementTree.fromstring(parts["xl/_rels/workbook.xml.rels"])
        }
        sheets = ElementTree.fromstring(parts["xl/workbook.xml"]).iter()
    except (KeyError, ElementTree.ParseError) as error:
        raise _unreadable(type(error).__name__) from error
    found = {}
    for node in sheets:
        if node.tag.endswith("}sheet"):
            target = relations.get(node.get(_RELATION), "").removeprefix("/").removeprefix("xl/")
            ranges = _MERGED.findall(parts.get(f"xl/{target}", b""))
            found[str(node.get("name"))] = tuple(text.decode() for text in ranges)
    return found


def _rows(sheet: ReadOnlyWorksheet, limits: WorkbookLimits) -> list[tuple[Any, ...]]:
    # What a workbook says of its own size is not believed.
    sheet.reset_dimensions()
    rows: list[tuple[Any, ...]] = []
    given = 0
    for number, row in enumerate(
        sheet.iter_rows(max_row=limits.rows + 1, max_col=limits.columns + 1, values_only=True),
        start=1,
    ):
        values = _trimmed(row)
        if len(values) > limits.columns:
            raise _beyond(f"more than {limits.columns} columns in sheet {sheet.title}")
        if values:
            given = number
        if given > limits.rows:
            raise _beyond(f"more than {limits.rows} rows in sheet {sheet.title}")
        rows.append(values)
    return rows[:given]


def _trimmed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    end = len(row)
    while end and row[end - 1] in (None, ""):
        end -= 1
    return row[:end]


def cell_text(value: object, time_format: str, date_format: str) -> str:
    """A cell as the text a delimited file would hold; `time_format` where it should be a time."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime(time_format)
    if isinstance(value, date):
        return value.strftime(date_format)
    if isinstance(value, time):
        return value.strftime("%H:%M")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
