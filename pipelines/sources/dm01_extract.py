"""The full extract of DM01 that NHS England publishes each month, as CSV or in its zip.

About 147,000 rows: one per provider, commissioner and test, with a TOTAL of the tests. Headings
vary in case; months are spelled `DM01-MAY-2026`. Columns, rules and what refuses a file are in
the contract dm01_extract; heading to column is dm01_extract.toml.
"""

import io
import lzma
import tomllib
import zipfile
import zlib
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.sources.extract_tables import Refused, table_of

FEED = "dm01_extract"
HEADINGS = Path(__file__).with_suffix(".toml")
BANDS = [f"band_{band:02d}" for band in range(14)]
KEY = ["month_on", "provider_code", "commissioner_code", "dm01_test"]
STREAMS = ["activity_waiting_list_count", "activity_planned_count", "activity_unscheduled_count"]
ZIP_SIGN = b"PK\x03\x04"
# Ten times a real extract; what unpacks to more is none.
MOST_BYTES = 400 << 20


def read_dm01_extract(data: bytes, contract: Contract, zone: str) -> pl.DataFrame | Refused:
    """One row per record: `row_no`, the columns of the contract typed, and three answers.

    `waits_bands_add_up` and `waits_streams_add_up` (boolean) say whether the bands of a row give
    its list, and its streams its activity; a count that is missing or no whole number gives null
    there. `waits_is_only_one` says whether no other row has its month, organisations and test.
    """
    text = _csv_of(data)
    if isinstance(text, Refused):
        return text
    try:
        raw = pl.read_csv(io.BytesIO(text), infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        return Refused(
            "is_readable",
            f"not readable as comma-separated text ({type(error).__name__}); download the full "
            "extract again",
        )
    known = tomllib.loads(HEADINGS.read_text())
    names = {name: known.get(" ".join(name.lower().split())) for name in raw.columns}
    told = [column for column in names.values() if column]
    twice = sorted({column for column in told if told.count(column) > 1})
    if twice:
        return Refused(
            "is_readable", f"two headings mean {', '.join(twice)}; download the full extract again"
        )
    raw = raw.select(pl.col(name).alias(column) for name, column in names.items() if column)
    if "month_on" in raw.columns:
        raw = raw.with_columns(month_on=_month(pl.col("month_on")))
    table = table_of(raw, contract, zone)
    if isinstance(table, Refused):
        return table
    return table.with_columns(
        waits_bands_add_up=pl.sum_horizontal(BANDS, ignore_nulls=False)
        == pl.col("waiting_list_count"),
        waits_streams_add_up=pl.sum_horizontal(STREAMS, ignore_nulls=False)
        == pl.col("activity_count"),
        waits_is_only_one=pl.struct(KEY).is_unique(),
    )


def _month(period: pl.Expr) -> pl.Expr:
    """First day of the month as text; a period of another form stays as it is."""
    text = "01 " + period.str.strip_prefix("DM01-").str.to_titlecase().str.replace("-", " ")
    day = pl.coalesce(text.str.to_date(form, strict=False) for form in ("%d %B %Y", "%d %b %Y"))
    return pl.coalesce(day.dt.to_string("%Y-%m-%d"), period)


def _csv_of(data: bytes) -> bytes | Refused:
    """The one CSV of a delivery, unpacked where it is a zip."""
    if not data.strip():
        return Refused("is_not_empty", "the file is empty; download it again")
    if not data.startswith(ZIP_SIGN):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [
                entry
                for entry in archive.infolist()
                if entry.filename.lower().endswith(".csv") and "__MACOSX/" not in entry.filename
            ]
            if len(files) != 1:
                return Refused(
                    "is_readable", f"the zip holds {len(files)} CSV files; unpack the full extract"
                )
            if files[0].file_size > MOST_BYTES:
                return Refused(
                    "is_readable", "the zip unpacks to more than 400 MB; no extract does"
                )
            with archive.open(files[0]) as file:
                return file.read(MOST_BYTES)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,
    ) as error:
        return Refused(
            "is_readable", f"the zip cannot be unpacked ({type(error).__name__}); download it again"
        )
