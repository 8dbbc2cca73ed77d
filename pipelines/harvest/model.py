"""What a harvest is handed, what it passes on, and what it reports."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS
from pipelines.landing.keys import Keys
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.quality.dids_reference import DidsReference
from pipelines.quality.suites import VIOLATION_SCHEMA
from pipelines.sources.extract_tables import Refused
from pipelines.sources.hl7 import Feed
from pipelines.sources.inbox import Delivery
from pipelines.sources.series_list_maps import SeriesListMap

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Setup:
    """What every harvest needs: the network, the contracts, where to land, and the keys.

    `spools` are the folders of the receivers' spools by the feed kind they bring.
    """

    network: Network
    inbound: dict[str, Contract]
    landing: LandingStore
    quarantine: Quarantine
    keys: Keys
    spools: Mapping[str, Path] = field(default_factory=dict)
    known_descriptions: frozenset[str] = frozenset()
    workers: int = 2
    # Share of the DICOM headers that pydicom reads once more; 0 compares none.
    compare_share: float = 0.005
    # By feed: how its sender's series lists are to be read, where not by the contract.
    series_list_maps: Mapping[str, SeriesListMap] = field(default_factory=dict)
    # By feed: how its sender's extracts are to be read, where not by the contract.
    extract_maps: Mapping[str, SeriesListMap] = field(default_factory=dict)
    # Code lists that rules of national submissions look into.
    dids_reference: DidsReference = field(default_factory=DidsReference)
    # By feed: how its sender's messages differ from the default maps.
    hl7_feeds: Mapping[str, Feed] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A file that was refused whole: which contract, which rule, how many records, what next."""

    contract: str
    rule: str
    file_name: str
    count: int
    message: str


@dataclass(frozen=True)
class HarvestResult:
    """Counts of one harvest; received = landed + rejected, in records of the source.

    `quarantined` are the ids of the quarantine entries that hold what did not land; `notes` say
    of a file that landed which rules only warned, or could not be evaluated. `tallies` are
    further counts of a feed kind by name: of DICOM the headers per reader.
    """

    feed_kind: str
    files_seen: int = 0
    files_known: int = 0
    files_landed: int = 0
    files_refused: int = 0
    rows_received: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    rows_written: int = 0
    failures: tuple[Failure, ...] = ()
    quarantined: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rejects_by_rule: dict[str, int] = field(default_factory=dict)
    tallies: dict[str, int] = field(default_factory=dict)

    @classmethod
    def merged(cls, feed_kind: str, parts: Sequence["HarvestResult"]) -> "HarvestResult":
        """Counts of several harvests of one feed kind as those of one."""
        counts = {
            name: sum(getattr(part, name) for part in parts)
            for name, kind in cls.__annotations__.items()
            if kind is int
        }
        rules: Counter[str] = Counter()
        tallies: Counter[str] = Counter()
        for part in parts:
            rules.update(part.rejects_by_rule)
            tallies.update(part.tallies)
        return cls(
            feed_kind,
            **counts,
            failures=tuple(failure for part in parts for failure in part.failures),
            notes=tuple(note for part in parts for note in part.notes),
            quarantined=tuple(entry for part in parts for entry in part.quarantined),
            rejects_by_rule=dict(sorted(rules.items())),
            tallies=dict(tallies),
        )

    def telling(self, others: Sequence["HarvestResult"]) -> "HarvestResult":
        """The same with what others failed, rejected, kept and noted; the counts stay its own."""
        both = HarvestResult.merged(self.feed_kind, [self, *others])
        return replace(
            self,
            failures=both.failures,
            quarantined=both.quarantined,
            notes=both.notes,
            rejects_by_rule=both.rejects_by_rule,
        )


@dataclass
class SourceFile:
    """One source file on its way: what it is, and what became of its records."""

    delivery: Delivery
    name: str
    sha: str
    feed_id: str
    issuer: str | None
    data: bytes = b""
    received: int = 0
    refused: Refused | None = None
    refused_count: int = 0
    replay_of: str | None = None
    manifest: str | None = None
    paths: dict[int, str] = field(default_factory=dict)
    # What the receipt says of a file that landed: rules not evaluable, rules that only warn.
    notes: list[str] = field(default_factory=list)
    record_shas: dict[int, str] = field(default_factory=dict)


@dataclass
class Batch:
    """Records of several files of one feed kind, and what reading already rejected."""

    records: pl.DataFrame
    rejected: pl.DataFrame
    landing_rows: Callable[[pl.DataFrame], pl.DataFrame]
    tallies: dict[str, int] = field(default_factory=dict)
    # Of a workbook: by source hash and record the sheet as a delivery of its own feed.
    beside: dict[tuple[str, int], Delivery] = field(default_factory=dict)


def contract_of(feed_kind: str, setup: Setup) -> Contract:
    """The inbound contract that a feed kind is held to."""
    return setup.inbound[FEEDS[feed_kind].contract]


def rejects_of(file: SourceFile, rejected: pl.DataFrame) -> pl.DataFrame:
    """Messages of a file that could not be read (message_no, rule, detail) as VIOLATION_SCHEMA."""
    return rejected.select(
        pl.lit(file.sha).alias("source_sha"),
        pl.col("message_no").alias("row_no"),
        "rule",
        pl.col("detail").alias("reason"),
        pl.lit("").alias("column_name"),
    )


def empty_rejects() -> pl.DataFrame:
    """No reject yet, in the shape of the violations."""
    return pl.DataFrame(schema=VIOLATION_SCHEMA)
