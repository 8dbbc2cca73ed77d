"""The full extract of DM01 that NHS England publishes each month, as CSV or in its zip.

About 147,000 rows: one per provider, commissioner and test, with a TOTAL of the tests. Headings
vary in case; months are spelled `DM01-MAY-2026`. Columns, rules and what refuses a file are in
the contract dm01_extract; heading to column is dm01_extract.toml.
"""

import tomllib
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.sources.archives import Archive, ArchiveRefused, Limits
from pipelines.sources.extract_tables import Refused, read_table

FEED = "dm01_extract"
HEADINGS = Path(__file__).with_suffix(".toml")
BANDS = [f"band_{band:02d}" for band in range(14)]
KEY = ["month_on", "provider_code", "commissioner_code", "dm01_test"]
STREAMS = ["activity_waiting_list_count", "activity_planned_count", "activity_unscheduled_count"]
ZIP_SIGN = b"PK\x03\x04"
# A real extract is one file of about 25 MB.
LIMITS = Limits(members=100, total=1 << 30, ratio_from=1 << 20)


def read_dm01_extract(data: bytes, contract: Contract, zone: str) -> pl.DataFrame | Refused:
    """One row per record: `row_no`, the columns of the contract typed, and three answers.

    `waits_bands_add_up` and `waits_streams_add_up` (boolean) say whether the bands of a row give
    its list, and its streams its activity; a count that is missing or no whole number gives null
    there. `waits_is_only_one` says whether no other row has its month, organisations and test.
    """
    try:
        text = _csv_of(data)
    except ArchiveRefused as reason:
        return Refused("is_readable", f"the zip cannot be used: {reason}; download it again")
    table = read_table(text, contract, zone, _renamed)
    if isinstance(table, Refused):
        return table
    return table.with_columns(
        waits_bands_add_up=pl.sum_horizontal(BANDS, ignore_nulls=False)
        == pl.col("waiting_list_count"),
        waits_streams_add_up=pl.sum_horizontal(STREAMS, ignore_nulls=False)
        == pl.col("activity_count"),
        waits_is_only_one=pl.struct(KEY).is_unique(),
    )


def _renamed(raw: pl.DataFrame) -> pl.DataFrame:
    """The columns that the contract knows, under its names; raises where two mean the same."""
    known = tomllib.loads(HEADINGS.read_text())
    names = {name: known.get(" ".join(name.lower().split())) for name in raw.columns}
    found = raw.select(pl.col(name).alias(column) for name, column in names.items() if column)
    if "month_on" not in found.columns:
        return found
    return found.with_columns(month_on=_month(pl.col("month_on")))


def _month(period: pl.Expr) -> pl.Expr:
    """First day of the month as text; a period of another form stays as it is."""
    text = "01 " + period.str.strip_prefix("DM01-").str.to_titlecase().str.replace("-", " ")
    day = pl.coalesce(text.str.to_date(form, strict=False) for form in ("%d %B %Y", "%d %b %Y"))
    return pl.coalesce(day.dt.to_string("%Y-%m-%d"), period)


def _csv_of(data: bytes) -> bytes:
    """The one CSV of a delivery, unpacked where it is a zip; raises ArchiveRefused."""
    if not data.startswith(ZIP_SIGN):
        return data
    with Archive(Path("extract.zip"), LIMITS, data) as archive:
        files = [member for member in archive.members if member.name.lower().endswith(".csv")]
        if len(files) != 1:
            raise ArchiveRefused(f"it holds {len(files)} CSV files")
        return archive.head(files[0], files[0].size)
