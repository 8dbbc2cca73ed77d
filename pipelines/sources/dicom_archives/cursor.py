"""How far an archive has been asked, and which columns its route returns: one small file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.durable import write_bytes
from pipelines.sources.dicom_archives.archives import ArchiveProblem

FILE = "cursor.json"
# A column is missed where, by its share so far, at least so many values were to be expected.
EXPECTED_VALUES = 10


@dataclass(frozen=True)
class Cursor:
    """What the next run needs to know of the last one.

    `asked_to` is the last study date answered for, `next_on` where a run that did not come to its
    end left off, `last_change` the number of the last change
    read, `finished_at` (UTC, ISO) when a run last came to its end. `columns` are the attributes
    that came back filled, each with the share of series (0 to 1) that had it; `column_changes`
    tells when an attribute came or went.
    """

    route: str
    asked_to: str | None = None
    next_on: str | None = None
    last_change: int = 0
    finished_at: str | None = None
    is_relational: bool | None = None
    refused_keys: list[str] = field(default_factory=list)
    columns: dict[str, float] | None = None
    column_changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def asked_to_date(self) -> date | None:
        """The last study date answered for."""
        return None if self.asked_to is None else date.fromisoformat(self.asked_to)

    @property
    def next_on_date(self) -> date | None:
        """The study date an unfinished run has come to."""
        return None if self.next_on is None else date.fromisoformat(self.next_on)

    def asked(self, day: date) -> "Cursor":
        """The cursor after a day was answered for; it never goes back."""
        return replace(
            self,
            asked_to=max(self.asked_to or "", day.isoformat()),
            next_on=(day + timedelta(days=1)).isoformat(),
        )

    def finished(self, at: str) -> "Cursor":
        """The cursor after a run came to its end."""
        return replace(self, next_on=None, finished_at=at)

    def with_columns(self, filled: Mapping[str, int], series: int, at: str) -> "Cursor":
        """The cursor after a run over so many series, of which `filled` had each attribute."""
        if series == 0:
            return self
        shares = {name: round(count / series, 4) for name, count in filled.items() if count}
        if self.columns is None:
            return replace(self, columns=shares)
        gained = sorted(name for name in shares if not self.columns.get(name))
        lost = sorted(
            name
            for name, share in self.columns.items()
            if name not in shares and share * series >= EXPECTED_VALUES
        )
        columns = self.columns | shares | dict.fromkeys(lost, 0.0)
        if not gained and not lost:
            return replace(self, columns=columns)
        change: dict[str, Any] = {"at": at, "gained": gained, "lost": lost}
        return replace(self, columns=columns, column_changes=[*self.column_changes, change])


def load_cursor(folder: Path, route: str) -> Cursor:
    """The cursor of an archive; a new one where none is, or where the route is another now.

    Dates already asked for hold for any route; columns do not. Raises ArchiveProblem when the
    file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return Cursor(route)
    try:
        document = json.loads(path.read_text())
        found = Cursor(**{one.name: document[one.name] for one in fields(Cursor)})
        _ = found.asked_to_date, found.next_on_date
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveProblem(
            f"{path} is damaged ({type(error).__name__}); delete it to ask from start_on again: "
            "what is known already is not counted twice"
        ) from error
    if found.route != route:
        return Cursor(
            route,
            asked_to=found.asked_to,
            next_on=found.next_on,
            last_change=found.last_change,
        )
    return found


def save_cursor(folder: Path, cursor: Cursor) -> None:
    """Write the cursor atomically and durably."""
    write_bytes(json.dumps(asdict(cursor), indent=1).encode(), folder / FILE)
