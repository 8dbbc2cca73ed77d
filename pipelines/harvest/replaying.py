"""What waits in quarantine, and quarantined records once more, after the cause is mended."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from pipelines.harvest import spooled
from pipelines.harvest.dicom import dicom_delivery, public_name
from pipelines.harvest.intake import harvest
from pipelines.harvest.model import HarvestResult, Setup
from pipelines.harvest.opening import feed_of
from pipelines.landing.quarantine import Entry, RecordsGone, WrongStorageKey
from pipelines.problems import Problem
from pipelines.sources.archives import split_inside
from pipelines.sources.dicom_headers.read import path_of_text
from pipelines.sources.inbox import Delivery

# Number, column, rule, and what the rule asks.
Row = tuple[int | None, str | None, str, str]


class NothingOfThatName(Problem):
    """No quarantine entry is open under a name; the message says where the names stand."""


@dataclass(frozen=True)
class Waiting:
    """One open quarantine entry, without identities and without any text of a record.

    `rules`: records by the rule they broke. `since`: when the first of its records was rejected
    (UTC), also where they were replayed in vain in the meantime. `hindrance`: why it cannot be
    replayed; None where it can. `is_locked`: another key opens it. `rows`: of each record that was
    rejected by itself its number in the delivery (as the feed counts: the heading of a list is row
    1), the column, the rule, and what the rule asks; of a refused file one without a number.
    """

    entry: Entry
    feed_id: str
    rules: dict[str, int]
    since: datetime | None
    hindrance: str | None
    is_locked: bool
    rows: tuple[Row, ...]

    @property
    def command(self) -> str | None:
        """The exact command that is next: replay, or where that cannot be, dismiss.

        None of what another key opens: that key is what is missing.
        """
        if self.is_locked:
            return None
        if self.hindrance is None:
            return f"imaging quarantine replay {self.entry.feed_kind} {self.entry.entry_id}"
        return self.entry.dismissal

    def document(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        entry = self.entry
        return {
            "feed": entry.feed_kind,
            "feed_id": self.feed_id,
            "item": entry.entry_id,
            "delivery": entry.file_name,
            "delivered_on": entry.delivered_on,
            "scope": entry.scope,
            "rules": self.rules,
            "records": entry.record_count,
            "since": None if self.since is None else self.since.isoformat(),
            "can_be_replayed": self.hindrance is None,
            "hindrance": self.hindrance,
            "rows": [
                dict(zip(("row_no", "column", "rule", "reason"), row, strict=True))
                for row in self.rows
            ],
            "command": self.command,
        }


@dataclass(frozen=True)
class Replayed:
    """What became of one entry: its counts, or why it could not be replayed.

    `is_reconciled`: every record that waited was received again, and landed or was rejected. Of a
    file that was refused whole the mended reader may count other records than the one before.
    """

    entry: Entry
    result: HarvestResult | None
    hindrance: str | None = None

    @property
    def is_reconciled(self) -> bool:
        """Say whether the counts of the replay add up to those of the entry."""
        found = self.result
        return found is not None and _reconciles(self.entry, found)


def waiting(setup: Setup, feed: str | None = None, item: str | None = None) -> list[Waiting]:
    """Open quarantine entries, of one feed (kind or id of the registry), the longest waiting first.

    `item` is the name of an entry, or how it begins. Raises NothingOfThatName for an `item` that
    is not there, or that several entries begin with.
    """
    receipts = setup.landing.receipts()
    rejects = setup.landing.read("rejects")
    found = []
    for entry in setup.quarantine.entries(state="open"):
        mine = receipts.filter(
            (pl.col("feed_kind") == entry.feed_kind) & (pl.col("source_sha") == entry.source_sha)
        ).sort("landed_at")
        feed_id = mine["feed_id"][-1] if len(mine) else entry.feed_kind
        if feed not in (None, entry.feed_kind, feed_id):
            continue
        if item is not None and not entry.entry_id.startswith(item):
            continue
        latest = _latest(entry, mine, rejects)
        hindrance, is_locked = _hindrance(entry, setup)
        found.append(
            Waiting(
                entry,
                feed_id,
                _rules(entry, latest),
                _since(entry, receipts),
                hindrance,
                is_locked,
                _rows(entry, mine, latest),
            )
        )
    if item is not None and len(found) != 1:
        what = "no open entry" if not found else f"{len(found)} open entries"
        raise NothingOfThatName(
            f"quarantine holds {what} with a name like {item}; `imaging quarantine list` shows them"
        )
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda one: (one.since or latest, one.entry.entry_id))


def _latest(entry: Entry, receipts: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """Rejects of an entry as the latest reading of its source told them, in order of rows."""
    if receipts.is_empty():
        return rejects.clear()
    return rejects.filter(
        (pl.col("feed_kind") == entry.feed_kind)
        & (pl.col("source_sha") == entry.source_sha)
        & (pl.col("landed_at") == receipts["landed_at"][-1])
    ).sort("row_no", "rule")


def _rules(entry: Entry, latest: pl.DataFrame) -> dict[str, int]:
    """Records by rule."""
    counts = latest.group_by("rule").len().sort("len", "rule", descending=[True, False])
    return dict(counts.iter_rows()) or {entry.rule: entry.record_count}


def _rows(entry: Entry, mine: pl.DataFrame, latest: pl.DataFrame) -> tuple[Row, ...]:
    """One per rejected record; of a refused file one, since no record of it was judged by itself."""
    if entry.scope == "file" and len(mine):
        return ((None, None, entry.rule, mine["detail"][-1] or ""),)
    return tuple(latest.select("row_no", "column_name", "rule", "reason").iter_rows())


def _since(entry: Entry, receipts: pl.DataFrame) -> datetime | None:
    """When the records were first rejected: before any replay that rejected them again."""
    of_kind = receipts.filter(pl.col("feed_kind") == entry.feed_kind)
    wanted, seen = [entry.source_sha], set[str]()
    while wanted:
        sha = wanted.pop()
        seen.add(sha)
        parents = of_kind.filter(pl.col("source_sha") == sha)["replay_of"].drop_nulls()
        wanted += [parent for parent in parents.unique() if parent not in seen]
    first = of_kind.filter(pl.col("source_sha").is_in(sorted(seen)))["landed_at"].min()
    return first if isinstance(first, datetime) else None


def _hindrance(entry: Entry, setup: Setup) -> tuple[str | None, bool]:
    """Why an entry cannot be replayed, None where it can, and whether another key opens it."""
    try:
        payload = setup.quarantine.payload(entry)
    except (RecordsGone, WrongStorageKey) as problem:
        return str(problem), isinstance(problem, WrongStorageKey)
    if entry.feed_kind != "dicom":
        return None, False
    paths = json.loads(payload)
    return spooled.segment_gone(entry, paths, setup) or _files_gone(entry, paths), False


def _files_gone(entry: Entry, texts: list[str]) -> str | None:
    """Of images quarantine keeps the paths only: what is missing of the files themselves."""
    gone = sum(
        not (spooled.is_of_a_segment(path) or path.exists())
        for path in (_file_of(text) for text in texts)
    )
    if not gone:
        return None
    return (
        f"{gone} of the {len(texts)} files of quarantine entry {entry.entry_id} have left their "
        "place; put them back, or have them delivered again and dismiss the entry"
    )


def replay_waiting(found: list[Waiting], setup: Setup, *, now: datetime) -> Iterator[Replayed]:
    """Replay entries one by one; one that cannot be is told, and the others go on."""
    for one in found:
        if one.hindrance is not None:
            yield Replayed(one.entry, None, one.hindrance)
            continue
        yield Replayed(one.entry, replay(one.entry, setup, now=now))


def replay(entry: Entry, setup: Setup, *, now: datetime) -> HarvestResult:
    """Harvest the records of a quarantine entry again; closes the entry when they have left it.

    Records that are rejected once more stay in quarantine: in an entry of their own, or in this
    one, which then stays open; so it does when not every record of it was received again. The
    decrypted records are in memory only. Doing it again changes nothing more.
    """
    with spooled.at_hand(entry, setup.quarantine.payload(entry), setup) as payload:
        return _replay(entry, payload, setup, now)


def _replay(entry: Entry, payload: bytes, setup: Setup, now: datetime) -> HarvestResult:
    day = date.fromisoformat(entry.delivered_on)
    if entry.feed_kind == "dicom":
        sent = _dicom_replay(entry, json.loads(payload), setup, day)
    else:
        sent = [Delivery(entry.feed_kind, Path(entry.file_name), day, payload)]
    result = harvest(
        entry.feed_kind,
        sent,
        setup,
        now=now,
        replay_of=entry.source_sha,
        is_selection=entry.scope == "row",
    )
    is_gone = not result.files_refused and entry.entry_id not in result.quarantined
    if is_gone and _reconciles(entry, result):
        note = f"{result.rows_landed} records landed, {result.rows_rejected} rejected again"
        setup.quarantine.close(entry, "replayed", note)
    return result


def _reconciles(entry: Entry, result: HarvestResult) -> bool:
    """Say whether a replay accounts for every record of its entry."""
    adds_up = result.rows_received == result.rows_landed + result.rows_rejected
    return adds_up and (entry.scope == "file" or result.rows_received == entry.record_count)


def _dicom_replay(entry: Entry, paths: list[str], setup: Setup, day: date) -> list[Delivery]:
    """The files of an entry as deliveries, by the folder or archive that they were delivered in.

    That is the nearest one that names a party; of a refused delivery the one of its name.
    """
    chosen: dict[Path, list[str]] = {}
    for text in paths:
        chosen.setdefault(_delivered_in(_file_of(text), entry, setup, day), []).append(text)
    return [
        Delivery("dicom", folder, day, json.dumps(texts).encode())
        for folder, texts in sorted(chosen.items())
    ]


def _file_of(text: str) -> Path:
    """The file that a kept path leads to: an image, or the archive that holds it."""
    inside = split_inside(text)
    return path_of_text(text if inside is None else inside[0])


def _delivered_in(path: Path, entry: Entry, setup: Setup, day: date) -> Path:
    folders = [path, *path.parents]
    for folder in folders:
        if public_name(dicom_delivery(folder, day), setup) == entry.file_name.partition("#")[0]:
            return folder
    for folder in folders:
        if feed_of(dicom_delivery(folder, day), setup.network)[0] is not None:
            return folder
    return path.parent
