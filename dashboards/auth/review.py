"""The record of who saw what, read back and counted, for the steward and the yearly review.

Pure but for `read`: lines of the record come in, frames go out. Days are days of UTC, as the names
of the files are. The subject of a reader leaves only as a sign that is the same in every table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from dashboards.auth.audit import REFUSED, SHOWN

SIGN_LENGTH = 8
PACK = "board_pack_"
# What a line is about, in the words of the tables.
SIGN_IN, PAGE, SQL, TAKEN, PACKED = "sign-in", "page", "typed SQL", "download", "board pack"
QUERY = "saved query"
KINDS = (SIGN_IN, PAGE, SQL, QUERY, TAKEN, PACKED)
_KIND_OF = {
    "sign_in": SIGN_IN,
    "sign_out": SIGN_IN,
    "expired": SIGN_IN,
    "view": PAGE,
    "sql": SQL,
    "query": QUERY,
    "download": TAKEN,
}
_OUTCOMES = {
    ("sign_in", SHOWN): "let in",
    ("sign_out", SHOWN): "signed out",
    ("expired", "stopped"): "ended by age",
    ("download", SHOWN): "taken",
    ("sql", SHOWN): "answered",
}
EVENT = {
    "at": pl.Datetime("us", "UTC"),
    "at_local": pl.Datetime("us"),
    "on": pl.Date,
    "reader": pl.String,
    "role": pl.String,
    "audience": pl.String,
    "build_id": pl.String,
    "kind": pl.String,
    "outcome": pl.String,
    "view": pl.String,
    "file": pl.String,
    "rows": pl.Int64,
    "reason": pl.String,
    "purpose": pl.String,
    "purpose_words": pl.String,
    "sql_sign": pl.String,
}


@dataclass(frozen=True)
class Record:
    """What the files of the record say of a period.

    events has one row per line, columns as EVENT; at is UTC, at_local the wall clock of the zone.
    unreadable counts lines that are no JSON object with an instant: they are in no table.
    """

    events: pl.DataFrame
    unreadable: int


@lru_cache(maxsize=10_000)
def sign_of(subject: str) -> str:
    """A short sign of a reader: the same for the same subject, and not the subject itself.

    The beginning of its SHA-256. It keeps names off screens and files; whoever holds the record
    itself, or guesses a subject, can tell whose it is.
    """
    return hashlib.sha256(subject.encode()).hexdigest()[:SIGN_LENGTH] if subject else ""


def read(folder: Path, first: date, last: date, zone: str) -> Record:
    """The lines of the days first to last (UTC, both in), oldest first; no folder is no line."""
    rows, unreadable = [], 0
    for path in sorted(folder.glob("audit_*.jsonl")):
        month = path.stem.removeprefix("audit_")
        if not f"{first:%Y-%m}" <= month <= f"{last:%Y-%m}":
            continue
        with path.open(encoding="utf-8", errors="replace") as lines:
            for text in lines:
                try:
                    rows.append(event(json.loads(text), ZoneInfo(zone)))
                except (ValueError, TypeError, KeyError, AttributeError):
                    unreadable += 1
    events = pl.DataFrame(rows, schema=EVENT, orient="row")
    return Record(events.filter(pl.col("on").is_between(first, last)).sort("at"), unreadable)


def event(told: Mapping[str, Any], zone: ZoneInfo) -> tuple[Any, ...]:
    """One line of the record as a row of EVENT.

    Raises KeyError, TypeError, AttributeError or ValueError where it is no line of the record.
    """
    at = datetime.fromisoformat(told["at"]).astimezone(UTC)
    what, outcome, file = told["what"], told["outcome"], told.get("taken") or ""
    kind = PACKED if file.startswith(PACK) else _KIND_OF.get(what, what)
    trust = told.get("trust") or ""
    return (
        at,
        at.astimezone(zone).replace(tzinfo=None),
        at.date(),
        sign_of(told.get("subject") or ""),
        f"{told['role']} {trust}".strip(),
        told.get("audience") or "",
        told.get("build_id") or "",
        kind,
        _OUTCOMES.get((what, outcome), outcome),
        told.get("view") or "",
        file,
        told.get("rows"),
        told.get("reason") or "",
        told.get("purpose") or "",
        told.get("purpose_words") or "",
        (told.get("sql_sha256") or "")[:SIGN_LENGTH],
    )


def first_month(folder: Path) -> str | None:
    """The oldest month that has a file, YYYY-MM; None where nothing was recorded."""
    found = sorted(path.stem.removeprefix("audit_") for path in folder.glob("audit_*.jsonl"))
    return found[0] if found else None


def of_kind(events: pl.DataFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """The events of some kinds."""
    return events.filter(pl.col("kind").is_in(list(kinds)))


def counts(events: pl.DataFrame, every: str = "1d") -> pl.DataFrame:
    """One row per period, role, kind and outcome, newest first: events, and how many readers.

    every is the length of a period as polars writes it: 1d, 1mo. Readers are distinct within the
    row: adding rows up would count a reader twice.
    """
    keys = ["on", "role", "kind", "outcome"]
    return (
        events.with_columns(pl.col("on").dt.truncate(every))
        .group_by(keys)
        .agg(pl.len().alias("event_count"), pl.col("reader").n_unique().alias("reader_count"))
        .sort(keys, descending=[True, False, False, False])
    )


def taken(events: pl.DataFrame) -> pl.DataFrame:
    """One row per file that was taken away, newest first: when, who, what, how much, what for."""
    return (
        events.filter(pl.col("kind").is_in([TAKEN, PACKED]), pl.col("outcome") == "taken")
        .select(
            "at", "at_local", "reader", "role", "audience", "kind", "file", "rows", "purpose",
            "purpose_words", "view", "build_id",
        )
        .sort("at", descending=True)
    )  # fmt: skip


def by_purpose(events: pl.DataFrame) -> pl.DataFrame:
    """One row per stated purpose and role: files taken away and readers; the most files first."""
    return (
        taken(events)
        .group_by("purpose", "role")
        .agg(pl.len().alias("file_count"), pl.col("reader").n_unique().alias("reader_count"))
        .sort("file_count", "purpose", "role", descending=[True, False, False])
    )


def refused(events: pl.DataFrame) -> pl.DataFrame:
    """One row per refusal of a page, a sign-in, a file or a statement, newest first."""
    return (
        events.filter(pl.col("outcome") == REFUSED)
        .select("at", "at_local", "reader", "role", "kind", "view", "reason", "sql_sign")
        .sort("at", descending=True)
    )
