"""The record of who saw what: one JSON object a line, added at the end of a file of the month.

Lines are never changed or taken away here; the folder belongs to the dashboards.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dashboards.auth.principal import Principal

SHOWN, REFUSED, STOPPED = "shown", "refused", "stopped"


class NotRecorded(RuntimeError):
    """The record cannot be written, so nothing may be shown; the text says what to do next."""


@dataclass(frozen=True)
class Seen:
    """What was asked for and what became of it.

    what is view, sql, query (a saved one), download, sign_in, sign_out or expired; view the page; rows as far as known;
    taken the name of the file of a download, purpose what it is for and purpose_words what the
    reader added to that.
    """

    what: str
    outcome: str
    view: str = ""
    sql: str = ""
    rows: int | None = None
    reason: str = ""
    taken: str = ""
    purpose: str = ""
    purpose_words: str = ""
    filters: Mapping[str, str] | None = None


def line(
    seen: Seen, *, principal: Principal | None, audience: str, build_id: str, now: datetime
) -> dict[str, Any]:
    """One line of the record; at is the UTC instant, sql_sha256 the hash of the text as typed."""
    who = principal or Principal("none", "", "")
    told = asdict(seen) | {"filters": dict(seen.filters or {})}
    return {
        "at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "subject": who.subject,
        "role": who.role,
        "trust": who.trust,
        "audience": audience,
        "build_id": build_id,
        **told,
        "sql_sha256": hashlib.sha256(seen.sql.encode()).hexdigest() if seen.sql else "",
    }


def file_of(folder: Path, now: datetime) -> Path:
    """The file that holds the lines of the month of now, in UTC."""
    return folder / f"audit_{now.astimezone(UTC):%Y-%m}.jsonl"


def append(path: Path, told: Mapping[str, Any]) -> None:
    """Add one line; file 0600 in a folder of 0700. Raises NotRecorded where it cannot be written."""
    data = (json.dumps(told, ensure_ascii=False, sort_keys=False) + "\n").encode()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One write at the end of the file: lines of two processes do not mix.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(handle, data) != len(data):
                raise NotRecorded(f"{path} took only a part of a line: is its disk full?")
        finally:
            os.close(handle)
    except OSError as error:
        raise NotRecorded(
            f"The record of access cannot be written ({error}). Make the folder {path.parent} "
            "writable for the dashboards, or set IMAGING_HOME to one that is."
        ) from error


@dataclass(frozen=True)
class Recorder:
    """Writes the lines of one reader of one build; safe to call from any thread."""

    folder: Path
    principal: Principal | None
    audience: str = ""
    build_id: str = ""

    def add(self, seen: Seen, now: datetime) -> None:
        """Add one line. Raises NotRecorded."""
        told = line(
            seen,
            principal=self.principal,
            audience=self.audience,
            build_id=self.build_id,
            now=now,
        )
        append(file_of(self.folder, now), told)
