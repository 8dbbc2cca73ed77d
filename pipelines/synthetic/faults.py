"""A broken delivery for a day after the last good one, to show that the gate holds it back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from pipelines.problems import Problem
from pipelines.synthetic.reference_tables import read_text_table
from pipelines.synthetic.writer import write_bytes, write_csv

KINDS = ("missing_column", "wrong_type", "future_dates")

ROWS = 400
YEARS_AHEAD = 5
SPREADSHEET_DATE = "45321.5"  # what a date becomes when a spreadsheet saves it as a number

_ACCESSION_FIELDS: dict[str, tuple[int, ...]] = {"ORC": (3,), "OBR": (3, 18), "SCH": (27,)}
_TIME_FIELDS: dict[str, tuple[int, ...]] = {"ORC": (9,), "OBR": (6, 7, 8, 14, 22)}
_EXAM_FIELDS: dict[str, tuple[int, ...]] = {"OBR": (7, 8)}


class UnknownFault(Problem, ValueError):
    """No broken delivery has this name; the message lists those there are."""


def break_batch(
    kind: str,
    inbox: Path,
    *,
    feed: str = "ris_extract",
    party: str = "RMC",
    day: date = date(2026, 4, 1),
) -> Path:
    """Drop one broken file of a feed (ris_extract or hl7) into the inbox and return its path.

    It is made from the newest delivery of that party in the inbox. Kinds: missing_column (no
    accession number anywhere), wrong_type (every time is a spreadsheet number), future_dates
    (every exam lies five years ahead). Raises UnknownFault for another kind or feed, and
    FileNotFoundError when the party has no earlier delivery.
    """
    if kind not in KINDS:
        raise UnknownFault(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
    if feed == "ris_extract":
        target = inbox / feed / str(day) / f"{feed}_{party}.csv"
        rows = read_text_table(f"{feed}_{party}", _newest(inbox / feed, f"{feed}_{party}.csv", day))
        write_csv(target, _broken_extract(rows.tail(ROWS), kind))
    elif feed == "hl7":
        target = inbox / feed / str(day) / f"{party}_{day:%Y%m%d}.hl7"
        folder = _newest(inbox / feed, f"{party}_*.hl7", day)
        source = next(iter(sorted(folder.glob(f"{party}_*.hl7"))))
        write_bytes(target, _broken_messages(source.read_bytes().decode("utf-8"), kind))
    else:
        raise UnknownFault(f"no broken batch for feed {feed!r}; known: ris_extract, hl7")
    return target


def _newest(folder: Path, pattern: str, before: date) -> Path:
    """The newest delivery day before `before` that holds a matching file."""
    days = sorted(
        {path.parent for path in folder.glob(f"*/{pattern}") if path.parent.name < str(before)}
    )
    if not days:
        raise FileNotFoundError(
            f"no file {pattern} below {folder} before {before}; "
            "generate the synthetic network first"
        )
    return days[-1]


def _broken_extract(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    if kind == "missing_column":
        return rows.drop("accession_number")
    if kind == "wrong_type":
        return rows.with_columns(
            pl.when(pl.col(name).is_not_null()).then(pl.lit(SPREADSHEET_DATE)).alias(name)
            for name in rows.columns
            if name.endswith("_at")
        )
    done = rows.filter(pl.col("started_at").is_not_null())
    return done.with_columns(
        (
            pl.col(name).str.slice(0, 6)
            + (pl.col(name).str.slice(6, 4).cast(pl.Int64) + YEARS_AHEAD).cast(pl.String)
            + pl.col(name).str.slice(10)
        ).alias(name)
        for name in ("started_at", "completed_at")
    )


def _broken_messages(text: str, kind: str) -> bytes:
    changes: dict[str, tuple[dict[str, tuple[int, ...]], Callable[[str], str]]] = {
        "missing_column": (_ACCESSION_FIELDS, lambda value: ""),
        "wrong_type": (_TIME_FIELDS, lambda value: SPREADSHEET_DATE),
        "future_dates": (_EXAM_FIELDS, lambda value: f"{int(value[:4]) + YEARS_AHEAD}{value[4:]}"),
    }
    fields, change = changes[kind]
    segments = []
    for segment in text.split("\r"):
        values = segment.split("|")
        for number in fields.get(values[0], ()):
            if number < len(values) and values[number]:
                values[number] = change(values[number])
        segments.append("|".join(values))
    return "\r".join(segments).encode("utf-8")
