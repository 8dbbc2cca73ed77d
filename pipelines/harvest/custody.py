"""What a home keeps where, for how long, what leaves next and what waits: published/custody.json.

Counts, dates, rules and settings only: no name of a file, no record, no reason in a sender's words.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from pipelines.harvest.model import Setup
from pipelines.landing.quarantine import Entry
from pipelines.receivers.spool import CLOSED, READ, read_at, segments
from pipelines.sources.inbox import SPOOLED

CUSTODY_FILE = "custody.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Kept:
    """How long things are kept: days in inbox and spool after landing, builds for going back."""

    inbox_days: int
    spool_days: int
    builds: int


@dataclass(frozen=True)
class Place:
    """One place of a home.

    `items` is how many rest there, None where nobody counts; `next_due_at` the UTC instant from
    which the next run deletes `next_due_items` of them, None where no instant is set.
    """

    place: str
    holds: str
    kept: str
    setting: str = ""
    items: int | None = None
    next_due_at: str | None = None
    next_due_items: int | None = None


@dataclass(frozen=True)
class Held:
    """Quarantine entries of one feed, rule, scope (row, file) and state (open, replayed, dismissed).

    `oldest_days` is the age of the oldest delivery in whole days, of open entries only.
    """

    feed_kind: str
    rule: str
    scope: str
    state: str
    entries: int
    records: int
    oldest_delivered_on: str
    oldest_days: int | None


def custody(setup: Setup, kept: Kept, builds: Sequence[str], now: datetime) -> dict[str, object]:
    """The document of published/custody.json; `builds` are the ids of the kept builds."""
    entries = setup.quarantine.entries()
    return {
        "schema_version": SCHEMA_VERSION,
        "written_at": now.astimezone(UTC).isoformat(),
        "time_zone": setup.network.time_zone,
        "places": [asdict(place) for place in places(setup, entries, kept, builds, now)],
        "quarantine": [asdict(one) for one in held(entries, now.date())],
        "positions": positions(setup.network.governance_positions, now.date()),
    }


def places(
    setup: Setup, entries: Sequence[Entry], kept: Kept, builds: Sequence[str], now: datetime
) -> list[Place]:
    """The places that data of patients or staff rest in, in the order of their way."""
    since = now - timedelta(days=kept.inbox_days)
    landed = [at for at in leaving(setup.landing.receipts(), entries) if at >= since]
    read = [read_at(path) for root in setup.spools.values() for path in segments(root, READ)]
    unread = [path for root in setup.spools.values() for path in segments(root, CLOSED)]
    is_open = [entry for entry in entries if entry.state == "open"]
    return [
        _dated(
            "inbox",
            "deliveries with identities, as they came",
            landed,
            kept.inbox_days,
            "IMAGING_INBOX_RETENTION_DAYS",
        ),
        _dated(
            "spool",
            f"what receivers were sent, encrypted; {len(unread)} segments wait for the harvest",
            read,
            kept.spool_days,
            "IMAGING_SPOOL_RETENTION_DAYS",
        ),
        Place(
            "quarantine",
            "rejected records and refused files, encrypted",
            "until replayed or dismissed",
            items=len(is_open),
        ),
        Place("landing", "pseudonymised rows", "for good", items=len(setup.landing.file_names())),
        Place("warehouse", "pseudonymised rows and what is counted of them", "until built anew"),
        Place(
            "published",
            "one file per audience of each build",
            f"the newest {kept.builds} builds",
            "IMAGING_KEEP_BUILDS",
            len(builds),
        ),
        Place("history", "published metrics that changed, no rows of patients", "for good"),
        Place("exports", "national submissions without identities", "until somebody deletes them"),
    ]


def leaving(receipts: pl.DataFrame, entries: Sequence[Entry]) -> list[datetime]:
    """The landing instants (UTC) of deliveries whose time in the inbox counts, one per delivery.

    As the retention judges them: the latest receipt says that they landed, or their refusal is
    closed. What came by a receiver rests in the spool.
    """
    source = ["feed_kind", "source_sha"]
    closed = pl.DataFrame(
        [(e.feed_kind, e.source_sha) for e in entries if e.state != "open"],
        schema=dict.fromkeys(source, pl.String),
        orient="row",
    )
    latest = receipts.sort("landed_at").unique(source, keep="last")
    latest = latest.filter(~pl.col("file_name").str.starts_with(SPOOLED))
    is_landed = latest.filter(pl.col("status") == "landed")
    refused = latest.filter(pl.col("status") != "landed").join(closed, on=source, how="semi")
    return [*is_landed["landed_at"], *refused["landed_at"]]


def held(entries: Sequence[Entry], today: date) -> list[Held]:
    """What quarantine holds, the longest waiting first, then what was closed."""
    found: dict[tuple[str, str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.feed_kind, entry.rule, entry.scope, entry.state].append(entry)
    rows = []
    for (feed_kind, rule, scope, state), group in found.items():
        oldest = min(entry.delivered_on for entry in group)
        age = (today - date.fromisoformat(oldest)).days if state == "open" else None
        records = sum(entry.record_count for entry in group)
        rows.append(Held(feed_kind, rule, scope, state, len(group), records, oldest, age))
    return sorted(rows, key=lambda one: (one.state != "open", one.oldest_delivered_on, one.rule))


def positions(seed: pl.DataFrame, on: date) -> list[dict[str, str | None]]:
    """The rows of the seed governance_positions (every cell text) in force on a day, in its order."""
    day = f"{on:%Y-%m-%d}"
    return seed.filter(
        pl.col("valid_from").fill_null("") <= day, pl.col("valid_to").fill_null("9") >= day
    ).to_dicts()


def _dated(place: str, holds: str, since: Sequence[datetime], days: int, setting: str) -> Place:
    """A place that things leave so many days after an instant; those of one UTC day leave together."""
    due = sorted((one + timedelta(days=days)).astimezone(UTC) for one in since)
    first = due[0] if due else None
    return Place(
        place,
        holds,
        f"{days} days after landing",
        setting,
        len(due),
        first.isoformat() if first else None,
        sum(one.date() == first.date() for one in due) if first else None,
    )
