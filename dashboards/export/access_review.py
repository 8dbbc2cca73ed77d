"""`python -m dashboards.export.access_review`: the tables of the steward's page for a span of days.

Started by `imaging audit report`; prints them, and writes each as CSV where a folder is named.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from dashboards.auth import review
from dashboards.components.downloads import csv_bytes
from dashboards.data import stewardship

# Beyond so many days the table of events is told by month.
MOST_DAYS = 62
PRINTED_WIDTH = 180


def tables(
    published: Path, audit: Path, first: date, last: date
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Name -> table of the days first to last (UTC, both in), and what has to be said of them."""
    custody = stewardship.custody(published)
    record = review.read(audit, first, last, custody.time_zone)
    every = "1mo" if (last - first).days >= MOST_DAYS else "1d"
    said = [f"Access review from {first} to {last} (days of UTC)"]
    if record.unreadable:
        said.append(f"{record.unreadable} lines of the record cannot be read and are in no table")
    if record.events.is_empty():
        said.append("the record has no line in this time")
    elif (since := review.first_month(audit)) is not None and since > f"{first:%Y-%m}":
        said.append(f"the record begins in {since}: nothing is known of the time before")
    if custody.written_at is None:
        said.append("no custody.json is published: run `imaging run` to know what is kept")
    return {
        "access_by_role": stewardship.access(published),
        "published_files": stewardship.audiences(published),
        "events_by_month" if every == "1mo" else "events_by_day": review.counts(
            record.events, every
        ),
        "downloads_by_purpose": review.by_purpose(record.events),
        "downloads": review.taken(record.events),
        "refusals": review.refused(record.events),
        "retention": custody.places,
        "quarantine": custody.quarantine,
        "opt_outs": custody.positions,
    }, said


def main() -> int:
    """Print the tables, and write <name>.csv of each to the folder of --csv, mode 0600."""
    asked = argparse.ArgumentParser(prog="access-review")
    asked.add_argument("--published", type=Path, required=True)
    asked.add_argument("--audit", type=Path, required=True)
    asked.add_argument("--from", dest="first", type=date.fromisoformat, required=True)
    asked.add_argument("--to", dest="last", type=date.fromisoformat, required=True)
    asked.add_argument("--csv", type=Path)
    chosen = asked.parse_args()
    try:
        found, said = tables(chosen.published, chosen.audit, chosen.first, chosen.last)
    except (OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"The published folder or the record cannot be read: {error}\n")
        return 1
    if chosen.csv is not None:
        for name, frame in found.items():
            _write(chosen.csv / f"{name}.csv", csv_bytes(frame, said))
    # A file or a pipe has no width of its own.
    console = Console(markup=False, width=None if sys.stdout.isatty() else PRINTED_WIDTH)
    for line in said:
        console.print(line)
    for name, frame in found.items():
        console.print()
        console.print(_drawn(name, frame))
    return 0


def _drawn(name: str, frame: pl.DataFrame) -> Table:
    table = Table(title=name.replace("_", " "), title_justify="left")
    for column in frame.columns:
        table.add_column(column, overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    return table


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A reader sees the whole file or none.
    half = path.with_suffix(".csv.part")
    half.touch(mode=0o600)
    half.write_bytes(data)
    half.replace(path)


if __name__ == "__main__":
    sys.exit(main())
