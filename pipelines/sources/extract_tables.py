"""Delimited text as typed records, by contract: shared by every feed that arrives as CSV."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pipelines.contracts import Contract
from pipelines.sources.clock import EARLIEST, parse_iso_times, parse_wall_clock, plausible

NUMBERS = {"integer": pl.Int64, "number": pl.Float64}
# The header is line 1.
FIRST_ROW = 2
ISO = "iso8601"
# How files begin that are sent in place of a list.
_TWO_BYTES = "UTF-16 (two bytes a character); save the file as CSV in UTF-8"
_NO_LISTS = {
    b"PK\x03\x04": "a zip archive or an XLSX workbook; unpack it, or save the list as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the list as CSV in UTF-8",
    b"\x1f\x8b": "a compressed file; unpack it",
    b"%PDF": "a PDF; ask the sender for the list as CSV in UTF-8",
    b"\xff\xfe": _TWO_BYTES,
    b"\xfe\xff": _TWO_BYTES,
}


@dataclass(frozen=True)
class Refused:
    """A delivery that cannot be read at all, with the rule it breaks and the next step."""

    rule: str
    detail: str


def read_table(
    data: bytes,
    contract: Contract,
    zone: str,
    renamed: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> pl.DataFrame | Refused:
    """One row per record of a CSV delivery: `row_no` (as `first_row` counts) and typed columns.

    For every column that is not text a boolean `<column>__unparsed` says that a value was given
    but is not of the contract's type; timestamps give `<column>` (UTC), `<column>__local` and
    `<column>__flag`. The text as delivered stays in `<column>__raw`. `renamed` gives the columns of
    a sender (all text) the names of the contract.
    """
    text = read_text(data, contract, renamed)
    return text if isinstance(text, Refused) else typed_records(text, contract, zone)


def read_text(
    data: bytes,
    contract: Contract,
    renamed: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> pl.DataFrame | Refused:
    """One row per line of a CSV delivery, for `typed_records`: `row_no`, `is_blank`, columns as text.

    Many small files are read so, one by one, and typed together.
    """
    if not data.strip():
        return Refused("is_not_empty", "the file is empty; ask the sender to deliver it again")
    for beginning, what in _NO_LISTS.items():
        if data.startswith(beginning):
            return Refused("is_readable", f"it is {what}")
    try:
        raw = _as_delivered(data, contract)
        raw = raw if renamed is None else renamed(raw)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, LookupError):
        # Not what polars says: its text can quote values of the file.
        return Refused("is_readable", _why_unreadable(data, contract))
    return _text_of(raw, contract)


def typed_records(text: pl.DataFrame, contract: Contract, zone: str) -> pl.DataFrame:
    """One row per record of what `read_text` gave, as `read_table` gives it.

    A blank line is no record; the numbers of the others stay those of the file. Further columns of
    the text are kept.
    """
    text = text.filter(~pl.col("is_blank")).drop("is_blank")
    further = text.select(pl.all().exclude(contract.column_names()))
    stripped = text.select(
        pl.col(name).str.strip_chars().replace("", None) for name in contract.column_names()
    )
    return pl.concat([typed(stripped, contract, zone), further], how="horizontal")


def _why_unreadable(data: bytes, contract: Contract) -> str:
    """What is wrong with delimited text and in which line; quotes nothing of it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"line {line} is not UTF-8; save the file as CSV in UTF-8"
    delimiter = contract.settings.get("delimiter", ",")
    records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before, width = 0, 0
    try:
        for record in records:
            width = width or len(record)
            if len(record) > width == 1:
                return f"the first line is not divided by {delimiter!r}; see {contract.path.name}"
            if len(record) > width:
                return (
                    f"the record in line {before + 1} has {len(record)} fields, the first line "
                    f"has {width}; look for a delimiter or a quotation mark within a value"
                )
            before = records.line_num
    except csv.Error:
        return (
            f"the record that begins in line {before + 1} is broken; look for a quotation mark "
            "that is not closed, or not doubled within a value"
        )
    return f"no delimited text as {contract.path.name} says; compare delimiter and encoding"


def first_row(contract: Contract) -> int:
    """Number of the first record of a file: 2 below a header, 1 without one."""
    return FIRST_ROW if contract.settings.get("hasHeader", True) else 1


def header_of(data: bytes, contract: Contract) -> list[str]:
    """Column names of a delivery that is written as the contract says; none where it is not."""
    try:
        return _as_delivered(data, contract).columns
    except (pl.exceptions.PolarsError, UnicodeDecodeError, LookupError):
        return []


def table_of(raw: pl.DataFrame, contract: Contract, zone: str) -> pl.DataFrame | Refused:
    """One row per record of a text frame, as `read_table` gives it; refused without its columns."""
    text = _text_of(raw, contract)
    return text if isinstance(text, Refused) else typed_records(text, contract, zone)


def _text_of(raw: pl.DataFrame, contract: Contract) -> pl.DataFrame | Refused:
    missing = [name for name in contract.needed_columns() if name not in raw.columns]
    if missing:
        delimiter = contract.settings.get("delimiter", ",")
        what = (
            f"missing column(s) {', '.join(missing)}"
            if len(missing) < len(contract.needed_columns())
            else f"the first line names none of the columns, divided by {delimiter!r}"
        )
        return Refused("has_all_columns", f"{what}; the contract is {contract.path.name}")
    return raw.select(
        *(
            pl.col(name) if name in raw.columns else pl.lit(None, pl.String).alias(name)
            for name in contract.column_names()
        ),
        row_no=pl.int_range(pl.len(), dtype=pl.Int64) + first_row(contract),
        is_blank=pl.all_horizontal(pl.all().is_null()),
    )


def _as_delivered(data: bytes, contract: Contract) -> pl.DataFrame:
    """One row per record of the file, all columns as text, nothing stripped."""
    has_header = contract.settings.get("hasHeader", True)
    return pl.read_csv(
        io.BytesIO(data),
        infer_schema=False,
        has_header=has_header,
        new_columns=None if has_header else contract.column_names(),
        separator=contract.settings.get("delimiter", ","),
        encoding=contract.settings.get("encoding", "utf8"),
    )


def typed(text: pl.DataFrame, contract: Contract, zone: str) -> pl.DataFrame:
    """One row per record: the columns of a text frame in the types of the contract."""
    columns: list[pl.Series] = []
    for column in contract.columns:
        raw = text[column.name]
        if column.logical_type == "string":
            columns.append(raw)
            continue
        columns.append(raw.alias(f"{column.name}__raw"))
        if column.logical_type == "timestamp" and contract.settings["timestampFormat"] == ISO:
            # a national submission has rules of its own for how old a time may be
            times = parse_iso_times(raw, zone, EARLIEST)
            value = times["utc"]
            columns += [
                times[part].alias(f"{column.name}__{part}")
                for part in ("local", "flag", "precision", "tz_source")
            ]
        elif column.logical_type == "timestamp":
            times = parse_wall_clock(raw, contract.settings["timestampFormat"], zone)
            value = times["utc"]
            columns += [
                times["local"].alias(f"{column.name}__local"),
                times["flag"].alias(f"{column.name}__flag"),
            ]
        elif column.logical_type == "date":
            value = plausible(raw.str.to_date(contract.settings["dateFormat"], strict=False))
        else:
            value = raw.cast(NUMBERS[column.logical_type], strict=False)
            if column.logical_type == "number":
                # "inf" and "1e400" are numbers to a computer only, and so would be their sum.
                value = value.set(~value.is_finite(), None)
        unparsed = raw.is_not_null() & value.is_null()
        columns += [value.alias(column.name), unparsed.alias(f"{column.name}__unparsed")]
    return pl.DataFrame(columns)


def raw_rows(data: bytes, contract: Contract, row_numbers: list[int]) -> bytes:
    """Cut the named records out of a delivery, with its header: what quarantine keeps of it.

    Records, not lines: a quoted value may hold a line end.
    """
    table = _as_delivered(data, contract)
    chosen = table[[number - first_row(contract) for number in row_numbers]]
    text = chosen.write_csv(
        separator=contract.settings.get("delimiter", ","),
        include_header=contract.settings.get("hasHeader", True),
    )
    return text.encode(contract.settings.get("encoding", "utf8"))
