"""What assets are handed: the pipeline's folders, contracts and keys, and a journal of counts."""

import json
import sys
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource

from pipelines.contracts import Contract, read_contracts
from pipelines.durable import write_bytes
from pipelines.feeds import FEEDS, RECEIVED
from pipelines.gate import GateFailure, record, standing
from pipelines.harvest import (
    CUSTODY_FILE,
    Kept,
    Setup,
    custody,
    prune_inbox,
    prune_spool,
    waiting_segments,
)
from pipelines.journal import Journal
from pipelines.landing.keys import load_keys
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.quality.dids_reference import DidsReference
from pipelines.receivers.spool import READ, segments
from pipelines.settings import PROJECT_ROOT, Settings, environment_value
from pipelines.sources.dicom_archives import (
    Archive,
    ArchiveProblem,
    Places,
    is_due,
    read_archives,
    read_list_maps,
)
from pipelines.sources.dicom_archives.ask import FEED as SERIES_FEED
from pipelines.sources.hl7 import Feed
from pipelines.sources.inbox import Delivery, deliveries
from pipelines.sources.series_list_maps import EXTRACTS_FOLDER, SeriesListMap, SeriesListMapProblem
from pipelines.sources.series_list_maps import FOLDER as MAPS_FOLDER
from pipelines.warehouse import fingerprint

# Feeds whose senders may name columns as they like.
MAPPED_KINDS = ("ris_extract", "epic_audit")
# dbt of this environment, whether or not it is activated.
DBT = Path(sys.executable).parent / "dbt"


class Pipeline:
    """Everything an asset needs of the outside world, opened when first asked for."""

    def __init__(self, settings: Settings | None = None, *, full_refresh: bool = False) -> None:
        """Take the settings of the environment unless others are given.

        `full_refresh`: a build computes every table anew, whatever it has kept.
        """
        self.settings = settings or Settings()
        self.full_refresh = full_refresh

    def now(self) -> datetime:
        """The current instant (UTC); the only clock of the wiring."""
        return datetime.now(UTC)

    @cached_property
    def landing_contracts(self) -> dict[str, Contract]:
        """Contracts of the landing tables by name."""
        return read_contracts(self.settings.contracts / "landing")

    @cached_property
    def inbound_contracts(self) -> dict[str, Contract]:
        """Contracts of the feeds by name."""
        return read_contracts(self.settings.contracts / "inbound")

    @cached_property
    def landing(self) -> LandingStore:
        """The landing folder, with its empty first files."""
        store = LandingStore(self.settings.landing_dir, self.landing_contracts)
        store.prepare()
        return store

    @cached_property
    def network(self) -> Network:
        """The network as its seeds describe it."""
        return Network.load(self.settings.seeds)

    @cached_property
    def setup(self) -> Setup:
        """What the harvest needs; raises KeyFileProblem when there is no key."""
        keys, network = load_keys(self.settings.key_file), self.network
        return Setup(
            network=network,
            spools={kind: self.settings.spool_dir / kind for kind in RECEIVED},
            inbound=self.inbound_contracts,
            landing=self.landing,
            quarantine=Quarantine(self.settings.quarantine_dir, keys),
            keys=keys,
            # A description that names an exam of the code list is no free text.
            known_descriptions=frozenset(network.exam_codes["exam_name"]),
            workers=self.settings.harvest_workers,
            compare_share=self.settings.harvest_compare_share,
            series_list_maps=self.series_list_maps,
            extract_maps=self.extract_maps,
            dids_reference=DidsReference.load(self.settings.dids_reference_dir),
            hl7_feeds=Feed.folder(
                self.settings.hl7_feeds,
                set(network.feeds["feed_id"]),
                set(network.event_types["event_type"]),
            ),
        )

    @cached_property
    def archives(self) -> dict[str, Archive]:
        """Archives that are asked for their series, by name."""
        return read_archives(self.settings.archives_file)

    @cached_property
    def archive_places(self) -> Places:
        """Where answers of archives go, and what asking them needs to know."""
        return Places(
            home=self.settings.home,
            inbox=self.settings.inbox_dir,
            zone=self.network.time_zone,
            columns=tuple(self.inbound_contracts[SERIES_FEED].column_names()),
            feeds=frozenset(self.network.feeds["feed_id"]),
            environment=environment_value,
        )

    def archives_due(self) -> list[str]:
        """Names of the archives that a scheduled run should ask now.

        One with a damaged cursor is among them: the run asks the others and tells of it.
        """
        places, now = self.archive_places, self.now()

        def wanted(archive: Archive) -> bool:
            try:
                return is_due(archive, places, now)
            except ArchiveProblem:
                return True

        return [name for name, one in self.archives.items() if wanted(one)]

    @cached_property
    def series_list_maps(self) -> dict[str, SeriesListMap]:
        """By feed: the column map of senders whose series lists need one."""
        folder = self.settings.archives_file.parent / MAPS_FOLDER
        contract = self.inbound_contracts[SERIES_FEED]
        return {
            f"dicom_{party}": SeriesListMap.load(folder / f"{name}.toml", contract)
            for party, name in read_list_maps(self.settings.archives_file).items()
        }

    @cached_property
    def extract_maps(self) -> dict[str, SeriesListMap]:
        """By feed: the column map of senders whose extracts need one, a file named as the feed."""
        registry = self.network.feeds.select("feed_id", "feed_kind").iter_rows()
        kinds = {feed: kind for feed, kind in registry if kind in MAPPED_KINDS}
        paths = sorted((self.settings.home / EXTRACTS_FOLDER).glob("*.toml"))
        for path in paths:
            if path.stem not in kinds:
                raise SeriesListMapProblem(
                    f"{path} is named as no feed of kind {' or '.join(MAPPED_KINDS)}; name it as "
                    "the feed_id of seeds/network/feeds.csv whose extracts it maps"
                )
        return {
            path.stem: SeriesListMap.load(path, self.inbound_contracts[kinds[path.stem]])
            for path in paths
        }

    def waiting(self) -> list[Delivery]:
        """Everything the inbox holds, feed by feed."""
        inbox = self.settings.inbox_dir
        return [delivery for kind in FEEDS for delivery in deliveries(inbox, kind)]

    def spooled(self) -> list[Path]:
        """Closed segments of the receivers' spools that wait for the harvest."""
        return waiting_segments(self.setup)

    def uses_spool(self) -> bool:
        """Say whether a spool has taken anything within its retention."""
        read = (segments(root, READ) for root in self.setup.spools.values())
        return bool(self.spooled() or any(read))

    def retire_landed(self) -> list[Path]:
        """Delete what landed longer ago than its retention (inbox, spool); returns the paths."""
        self.setup.quarantine.remove_closed()
        kept, spooled = self.settings.inbox_retention_days, self.settings.spool_retention_days
        gone = prune_inbox(
            self.waiting(), self.setup, retention=timedelta(days=kept), now=self.now()
        )
        gone += prune_spool(self.setup, retention=timedelta(days=spooled), now=self.now())
        self.tell_custody()
        return gone

    def tell_custody(self) -> None:
        """Write published/custody.json anew: what rests where, what leaves next, what waits."""
        settings = self.settings
        kept = Kept(
            settings.inbox_retention_days, settings.spool_retention_days, settings.keep_builds
        )
        builds = [path.stem for path in settings.published_dir.glob("manifest_*.json")]
        told = custody(self.setup, kept, builds, self.now())
        write_bytes(json.dumps(told, indent=1).encode(), settings.published_dir / CUSTODY_FILE)

    def record(self, check: str, failures: list[GateFailure], run_id: str) -> None:
        """Keep the verdict of one check of the gate."""
        settings = self.settings
        record(
            settings.gate_dir,
            settings.published_dir,
            check,
            failures,
            now=self.now(),
            run_id=run_id,
        )

    def standing_failures(
        self, checks: Collection[str] | None = None
    ) -> dict[str, list[GateFailure]]:
        """What has landed against its contracts, per check of the gate: every one, or `checks`."""
        return standing(
            self.landing.receipts(),
            self.landing.read("rejects"),
            self.setup.quarantine.entries(),
            self.inbound_contracts,
            checks,
        )

    def inputs_fingerprint(self) -> str:
        """Identity of what the warehouse is built from."""
        code = sorted((PROJECT_ROOT / "pipelines" / "statistics").glob("*.py"))
        code += sorted((PROJECT_ROOT / "pipelines" / "publishing").glob("*.py"))
        return fingerprint(self.landing.file_names(), self.settings.dbt_project, code)


@dg.definitions
def resources() -> dg.Definitions:
    """Resources by the names that assets ask for."""
    settings = Settings()
    folder = str(Path(settings.dbt_project))
    return dg.Definitions(
        executor=dg.in_process_executor,
        resources={
            "pipeline": Pipeline(),
            "journal": Journal(),
            "dbt": DbtCliResource(project_dir=folder, profiles_dir=folder, dbt_executable=str(DBT)),
        },
    )
