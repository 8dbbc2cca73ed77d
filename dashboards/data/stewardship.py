"""What the published folder says of itself: who reads which file, what rests where, what waits.

From manifest.json and custody.json, which the pipeline writes; nothing here opens a published file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from dashboards.auth.principal import ANALYST, EVERYBODY, TRUST, NoFile, Principal, audience_of
from dashboards.contents import ENTRIES, Entry

CUSTODY_VERSION = 1
# A trust stands for all of them: each reads the file of its own name.
ANY_TRUST = "trust:<ODS>"
ACCESS = ("role", "pages", "closed_pages", "pages_read", "typed_sql_reads")
AUDIENCE = ("audience", "kind", "file", "is_suppressed", "rule")
PLACE = {
    "place": pl.String,
    "holds": pl.String,
    "kept": pl.String,
    "setting": pl.String,
    "items": pl.Int64,
    "next_due_at": pl.Datetime("us", "UTC"),
    "next_due_items": pl.Int64,
}
QUARANTINE = {
    "feed_kind": pl.String,
    "rule": pl.String,
    "scope": pl.String,
    "state": pl.String,
    "entries": pl.Int64,
    "records": pl.Int64,
    "oldest_delivered_on": pl.Date,
    "oldest_days": pl.Int64,
}
POSITION = ("subject", "kind", "statement", "decided_by", "valid_from", "source", "source_status")


@dataclass(frozen=True)
class Custody:
    """custody.json: columns as PLACE, QUARANTINE and POSITION.

    written_at is a UTC instant, None where no run of the pipeline has written the file.
    """

    written_at: datetime | None = None
    time_zone: str = "UTC"
    places: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PLACE))
    quarantine: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUARANTINE))
    positions: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=dict.fromkeys(POSITION, pl.String))
    )


def custody(published: Path) -> Custody:
    """What published/custody.json says; an empty one where it is missing, unreadable or of another version."""
    try:
        told: dict[str, Any] = json.loads((published / "custody.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return Custody()
    if told.get("schema_version") != CUSTODY_VERSION:
        return Custody()
    days = pl.col("oldest_delivered_on").str.to_date()
    due = pl.col("next_due_at").str.to_datetime(time_zone="UTC", time_unit="us")
    return Custody(
        datetime.fromisoformat(told["written_at"]),
        told["time_zone"],
        _frame(told["places"], PLACE).with_columns(due),
        _frame(told["quarantine"], QUARANTINE).with_columns(days),
        _frame(told["positions"], dict.fromkeys(POSITION, pl.String)),
    )


def audiences(published: Path) -> pl.DataFrame:
    """One row per published file of the current build, columns as AUDIENCE; none while there is no build."""
    told = _manifest(published)
    rows = [
        (name, one.get("kind", ""), one["file"], one["suppressed"], one.get("rule", ""))
        for name, one in told.items()
    ]
    kinds = dict.fromkeys(AUDIENCE, pl.String) | {"is_suppressed": pl.Boolean}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def access(published: Path, entries: Sequence[Entry] = ENTRIES) -> pl.DataFrame:
    """One row per role, columns as ACCESS: titles of its pages, of those closed to it, and its files.

    pages_read and typed_sql_reads are audiences; the latter is empty where typed SQL is closed.
    """
    told = _manifest(published)
    rows = []
    for role in EVERYBODY:
        principal = Principal(role, "", "")
        is_open = [entry.title for entry in entries if entry.is_open_to(principal)]
        closed = [entry.title for entry in entries if not entry.is_open_to(principal)]
        types = any(e.view == "sql_workbench" and e.is_open_to(principal) for e in entries)
        own = "trust_<ods>, its own" if role == TRUST else _file_of(principal, told)
        # Pages of analysts show what the network may see; rows are for their typed SQL.
        shown = _file_of(Principal("board", "", ""), told) if role == ANALYST else own
        name = ANY_TRUST if role == TRUST else role
        rows.append((name, "; ".join(is_open), "; ".join(closed), shown, own if types else ""))
    return pl.DataFrame(rows, schema=dict.fromkeys(ACCESS, pl.String), orient="row")


def _file_of(principal: Principal, told: dict[str, Any]) -> str:
    try:
        return audience_of(principal, told)
    except NoFile:
        return "no file in this build"


def _manifest(published: Path) -> dict[str, Any]:
    try:
        return json.loads((published / "manifest.json").read_text(encoding="utf-8"))["audiences"]
    except FileNotFoundError:
        return {}


def _frame(rows: Sequence[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    """The columns of the schema; dates and instants still as text."""
    texts = {
        name: pl.String if kind == pl.Date or isinstance(kind, pl.Datetime) else kind
        for name, kind in schema.items()
    }
    return pl.DataFrame([[row.get(name) for name in schema] for row in rows], texts, orient="row")
