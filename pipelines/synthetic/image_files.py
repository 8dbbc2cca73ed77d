"""Monthly CSV files of one party each, delivered on the first day of the next month."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.clocks import london
from pipelines.synthetic.period import Period
from pipelines.synthetic.writer import write_csv


def month_end_files(
    rows: pl.DataFrame,
    feed: str,
    party: str,
    columns: Sequence[str],
    parties: list[str],
    period: Period,
    inbox: Path,
) -> dict[str, int]:
    """Write `<feed>/<first of next month>/<feed>_<party>.csv`; returns rows by file.

    Months before the live days come on the first of these, as `<feed>_<month>_<party>.csv`: a
    run costs something for each day between the first delivery and the last.

    A row belongs to the local month of its column `moment` (UTC seconds) and to the party in the
    column `party`. A month in which nothing happened is a header, so that silence is not zero.
    """
    month = london(pl.col("moment")).dt.date().dt.month_start()
    parts = rows.with_columns(month.alias("_month")).partition_by(
        "_month", party, as_dict=True, maintain_order=True
    )
    nothing = rows.clear()
    written: dict[str, int] = {}
    for first in calendar.months_between(period.first_on, period.end_on):
        day = calendar.month_after(first)
        for code in parties:
            file = f"{feed}/{day}/{feed}_{code}.csv"
            if day < period.live_on:
                file = f"{feed}/{period.live_on}/{feed}_{first:%Y-%m}_{code}.csv"
            part = parts.get((first, code), nothing).select(columns)
            written[file] = write_csv(inbox / file, part)
    return written
