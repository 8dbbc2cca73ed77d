"""A network's deliveries once more: in another order, in parts, twice, and after a refusal."""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from pipelines.defs.resources import Pipeline
from pipelines.feeds import FEEDS
from pipelines.harvest import Setup, harvest_arrived, replay
from pipelines.settings import Settings
from pipelines.sources.hl7 import framed as framed_hl7
from pipelines.sources.hl7 import split_messages
from pipelines.sources.image_access import framed as framed_audit
from pipelines.sources.image_access import split_audit
from pipelines.sources.inbox import deliveries
from tests.demo_home import Home

# Feeds of messages: how a file of them is cut, and how messages become a file.
MESSAGES = {"hl7": (split_messages, framed_hl7), "image_access": (split_audit, framed_audit)}
# Lists that may come refused, and are closed by a good one of their name only.
REFUSED_WHOLE = ("benefit_register", "go_lives", "unit_costs")
T = TypeVar("T")
TWICE_RATE = 0.15
MOVED_RATE = 0.5
HIDDEN_COUNT = 10


@dataclass(frozen=True)
class Sent:
    """One file of an inbox; `path` is relative to its feed and day."""

    feed_kind: str
    day: date
    path: Path
    data: bytes

    @property
    def place(self) -> Path:
        """Where it lies below the inbox."""
        return Path(self.feed_kind, str(self.day), self.path)

    def write(self, inbox: Path) -> None:
        """Deliver it."""
        target = inbox / self.place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.data)


def sent(inbox: Path) -> list[Sent]:
    """One entry per file of an inbox, feed by feed and day by day."""
    found = []
    for kind in FEEDS:
        for folder in sorted((inbox / kind).glob("*")):
            day = date.fromisoformat(folder.name)
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                found.append(Sent(kind, day, path.relative_to(folder), path.read_bytes()))
    return found


def with_messages_moved(files: list[Sent], rng: random.Random) -> list[Sent]:
    """The same messages in other files and another order.

    One moves to a later file of its sender, never to an earlier one: it would be told of before
    it was sent. A file that is left without any is not delivered.
    """
    found = [file for file in files if file.feed_kind not in MESSAGES]
    for kind, (split, framed) in MESSAGES.items():
        of_sender: dict[str, list[Sent]] = {}
        for file in (file for file in files if file.feed_kind == kind):
            of_sender.setdefault(file.path.name.partition("_")[0], []).append(file)
        for mine in of_sender.values():
            told: list[list[bytes]] = [[] for _ in mine]
            for number, file in enumerate(mine):
                for message in split(file.data):
                    later = rng.randrange(number, len(mine))
                    told[later if rng.random() < MOVED_RATE else number].append(message)
            for file, messages in zip(mine, told, strict=True):
                rng.shuffle(messages)
                if messages or not split(file.data):
                    found.append(replace(file, data=framed(messages)))
    return found


def with_copies(files: list[Sent], rng: random.Random, *, but: Collection[str]) -> list[Sent]:
    """The files, and some of them, `but` for these, under another name of the same day as well."""
    copied = [
        file
        for file in files
        if file.feed_kind not in REFUSED_WHOLE
        and str(file.place) not in but
        and rng.random() < TWICE_RATE
    ]
    return files + [
        replace(file, path=file.path.with_name(f"{rng.choice('az')}_{file.path.name}"))
        for file in copied
    ]


def deliver_shuffled(home: Home, files: list[Sent], *, parts: int, rng: random.Random) -> None:
    """Harvest the files into a home in so many runs, feeds and files of each in any order.

    Some senders are not registered at first: their files are refused, and replayed later. What was
    rejected is replayed now and then, as an operator may.
    """
    settings = Settings(home=home.path, key_file=home.key_file)
    part_of = [rng.randrange(parts) for _ in files]
    for part in range(parts):
        for file, number in zip(files, part_of, strict=True):
            if number == part:
                file.write(settings.inbox_dir)
        setup = Pipeline(settings).setup
        is_last = part == parts - 1
        hidden = (
            [] if is_last else rng.sample(setup.network.feeds["feed_id"].to_list(), k=HIDDEN_COUNT)
        )
        _harvest(settings.inbox_dir, _without(setup, hidden), rng)
        if is_last or rng.random() < 0.5:
            _replay(setup, rng)


def _without(setup: Setup, feed_ids: list[str]) -> Setup:
    feeds = setup.network.feeds.filter(~pl.col("feed_id").is_in(feed_ids))
    return replace(setup, network=replace(setup.network, feeds=feeds))


def _harvest(inbox: Path, setup: Setup, rng: random.Random) -> None:
    for kind in shuffled(FEEDS, rng):
        found = shuffled(deliveries(inbox, kind), rng)
        harvest_arrived(kind, found, setup, now=datetime.now(UTC))


def _replay(setup: Setup, rng: random.Random) -> None:
    for entry in shuffled(setup.quarantine.entries(state="open"), rng):
        replay(entry, setup, now=datetime.now(UTC))


def shuffled(items: Iterable[T], rng: random.Random) -> list[T]:
    """The items in any order."""
    found = list(items)
    rng.shuffle(found)
    return found
