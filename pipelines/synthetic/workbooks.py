"""A monthly return as one XLSX workbook, for a trust without a system; the same bytes each time."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import date

import polars as pl
from openpyxl import Workbook

from pipelines.synthetic import calendar

_FIXED = "2026-01-01T00:00:00Z"
_ZIP_TIME = (2026, 1, 1, 0, 0, 0)
_STAMP = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


def monthly_workbook(party: str, month_on: date, sheets: dict[str, pl.DataFrame]) -> bytes:
    """A sheet per subject, and a sign-off sheet that counts the rows of each; no person is named."""
    book = Workbook(write_only=True)
    for name, frame in sheets.items():
        sheet = book.create_sheet(name)
        sheet.append(frame.columns)
        for row in frame.iter_rows():
            sheet.append(row)
    cover = book.create_sheet("sign_off")
    for line in (
        ("party_code", party),
        ("month_on", month_on),
        ("signed_off_by_role", "imaging services manager"),
        ("signed_off_on", calendar.month_after(month_on)),
        ("sheet", "rows"),
        *((name, frame.height) for name, frame in sheets.items()),
    ):
        cover.append(line)
    stream = io.BytesIO()
    book.save(stream)
    return _without_clock(stream.getvalue())


def _without_clock(content: bytes) -> bytes:
    """Replace the time of writing, which the library puts into the archive and its properties."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in sorted(old.namelist()):
            body = old.read(name)
            if name == "docProps/core.xml":
                body = _STAMP.sub(rb"\g<1>" + _FIXED.encode(), body)
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, body)
    return out.getvalue()
