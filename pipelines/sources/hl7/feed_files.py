"""How one sender's messages differ from the field map and the event map, as a file of its own."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.problems import Problem
from pipelines.sources.hl7.character_sets import CHARSETS, UNKNOWN
from pipelines.sources.hl7.events import (
    ACTOR_COLUMNS,
    MATCHED,
    NETWORK_CLOCK,
    TIME_COLUMNS,
    SenderClock,
    read_event_map,
)
from pipelines.sources.hl7.field_map import MAPPED, paths

FOLDER = Path(__file__).parent.parent / "hl7_feeds"
KEYS = ("time_zone", "stated_offsets", "character_set", "fields", "events")
RULE_KEYS = (*MATCHED, "event_type", "carried", "ts_paths", "actor", "note")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class FeedFileProblem(Problem):
    """A feed file cannot be used; the message names file, key and next step."""


@dataclass(frozen=True)
class Feed:
    """How one sender's messages are read; without a file by the default maps.

    `clock` says on whose wall clock times without an offset are, and whether offsets count.
    `fields` replace the paths of columns. `charset` is the codec whatever MSH-18 says,
    `default_charset` the one where it says nothing known. `events` are changes of the event map by
    rank: cells, or None for a rule that this sender's messages do not follow.
    """

    feed_id: str
    clock: SenderClock = NETWORK_CLOCK
    charset: str | None = None
    default_charset: str = UNKNOWN
    fields: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[int, Mapping[str, str] | None] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, folder: Path = FOLDER) -> "Feed":
        """The feed of a name, with what its file says where it has one.

        Raises FeedFileProblem for a file that cannot be used.
        """
        path = folder / f"{name}.toml"
        if PLAIN_NAME.fullmatch(name) and path.is_file():
            return cls.load(path)
        return cls(name)

    @classmethod
    def load(cls, path: Path, event_types: Collection[str] | None = None) -> "Feed":
        """Read a feed file; raises FeedFileProblem that names file, key and next step.

        `event_types`, where given, are those that a rule may name.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FeedFileProblem(f"{path} is not TOML: {error}; mend that line") from error
        _only(path, "", document, KEYS)
        charset, default_charset = _character_sets(path, document)
        return cls(
            path.stem,
            SenderClock(_time_zone(path, document), _offsets_count(path, document)),
            charset,
            default_charset,
            _fields(path, _table(path, document, "fields")),
            _events(path, _table(path, document, "events"), event_types),
        )

    @classmethod
    def folder(
        cls, folder: Path, feed_ids: Collection[str], event_types: Collection[str]
    ) -> dict[str, "Feed"]:
        """Every feed file of a folder by feed; raises FeedFileProblem."""
        feeds = {}
        for path in sorted(folder.glob("*.toml")):
            if path.stem not in feed_ids:
                raise FeedFileProblem(
                    f"{path}: no feed {path.stem} is registered in seeds/network/feeds.csv; name "
                    "the file after the feed_id, or register the feed"
                )
            feeds[path.stem] = cls.load(path, event_types)
        return feeds

    def rules(self, event_map: pl.DataFrame) -> pl.DataFrame:
        """The event map with what this feed changes of it, by rank; a new rank is a new rule."""
        if not self.events:
            return event_map
        rules = {int(rule["rule_rank"]): rule for rule in event_map.iter_rows(named=True)}
        for rank, cells in self.events.items():
            before = rules.pop(rank, dict.fromkeys(event_map.columns))
            if cells is not None:
                changed = {name: value or None for name, value in cells.items()}
                rules[rank] = {"carried": "false"} | before | changed | {"rule_rank": str(rank)}
        return pl.DataFrame([rules[rank] for rank in sorted(rules)], schema=event_map.schema)


def _only(path: Path, where: str, found: Mapping[str, Any], known: Collection[str]) -> None:
    for key in found:
        if key not in known:
            raise FeedFileProblem(f"{path}: unknown key {where}{key}; there are {', '.join(known)}")


def _table(path: Path, document: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise FeedFileProblem(f"{path}: {key} must be a table; write [{key}] above its lines")
    return found


def _offsets_count(path: Path, document: Mapping[str, Any]) -> bool:
    value = document.get("stated_offsets", "used")
    if value not in ("used", "ignored"):
        raise FeedFileProblem(f'{path}: stated_offsets is {value!r}; write "used" or "ignored"')
    return value == "used"


def _time_zone(path: Path, document: Mapping[str, Any]) -> str | None:
    zone = document.get("time_zone")
    if zone is None:
        return None
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, TypeError, OSError):
        raise FeedFileProblem(
            f'{path}: time_zone {zone!r} is no zone; write one such as "Europe/London" or "UTC"'
        ) from None
    return str(zone)


def _character_sets(path: Path, document: Mapping[str, Any]) -> tuple[str | None, str]:
    """Codec whatever MSH-18 says, and the one where it says nothing known."""
    table = _table(path, document, "character_set")
    _only(path, "character_set.", table, ("always", "default"))
    for key, label in table.items():
        if label not in CHARSETS:
            raise FeedFileProblem(
                f"{path}: character_set.{key} {label!r} is not known; there are "
                f"{', '.join(CHARSETS)}"
            )
    always = table.get("always")
    return always and CHARSETS[always], CHARSETS[table.get("default", "UTF-8")]


def _fields(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    _only(path, "fields.", table, tuple(MAPPED))
    for column, written in table.items():
        try:
            paths(written if isinstance(written, str) else "")
        except ValueError as error:
            raise FeedFileProblem(
                f'{path}: fields.{column}: {error} (fields.{column} = "OBR-3.1 OBR-18.1")'
            ) from error
    return {column: str(written) for column, written in table.items()}


def _events(
    path: Path, table: Mapping[str, Any], event_types: Collection[str] | None
) -> dict[int, Mapping[str, str] | None]:
    changes: dict[int, Mapping[str, str] | None] = {}
    ranks = set(read_event_map()["rule_rank"].to_list())
    for rank, cells in table.items():
        where = f"events.{rank}"
        if not rank.isdecimal() or not isinstance(cells, dict):
            raise FeedFileProblem(
                f"{path}: {where} must be a table named by the rank of a rule, as in [events.30]"
            )
        if cells.get("dropped") is True and len(cells) == 1 and rank in ranks:
            changes[int(rank)] = None
            continue
        _only(path, f"{where}.", cells, RULE_KEYS)
        cells = {k: str(v).lower() if isinstance(v, bool) else v for k, v in cells.items()}
        if rank not in ranks and not {"event_type", "ts_paths"} <= set(cells):
            raise FeedFileProblem(
                f"{path}: {where} is no rule of hl7_event_map.csv; correct the rank, or give a new "
                "rule its event_type and ts_paths"
            )
        _check_rule(path, where, cells, event_types)
        changes[int(rank)] = {key: str(value) for key, value in cells.items()}
    return changes


def _check_rule(
    path: Path, where: str, cells: Mapping[str, Any], event_types: Collection[str] | None
) -> None:
    for key, value in cells.items():
        if not isinstance(value, str) or (key in ("event_type", "ts_paths") and not value):
            raise FeedFileProblem(f'{path}: {where}.{key} must be text; write {key} = "..."')
    unknown = [place for place in cells.get("ts_paths", "").split() if place not in TIME_COLUMNS]
    if unknown:
        raise FeedFileProblem(
            f"{path}: {where}.ts_paths names {unknown[0]}; there are {', '.join(TIME_COLUMNS)}"
        )
    if cells.get("actor", "") not in ("", *ACTOR_COLUMNS):
        raise FeedFileProblem(
            f"{path}: {where}.actor is {cells['actor']!r}; there are {', '.join(ACTOR_COLUMNS)}"
        )
    event_type = cells.get("event_type")
    if event_type is not None and event_types is not None and event_type not in event_types:
        raise FeedFileProblem(
            f"{path}: {where}.event_type {event_type!r} is none of seeds/national/event_types.csv; "
            "write one of those"
        )
