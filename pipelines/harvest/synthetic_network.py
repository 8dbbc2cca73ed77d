"""A synthetic network landed month by month, without source files in between.

The deliveries are those that `pipelines.synthetic.generate` would write, byte for byte; they stay
in memory and take the way of every delivery through the harvest, in processes of their own. Only
the archive is landed coarser: one row per series instead of one per file.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from pipelines.demo import LANDING_STAMP
from pipelines.durable import write_bytes
from pipelines.harvest.intake import harvest
from pipelines.harvest.model import HarvestResult, Progress, Setup
from pipelines.problems import Problem
from pipelines.sources.inbox import Delivery, deliveries
from pipelines.synthetic import (
    archive,
    calendar,
    dicom_files,
    hl7_messages,
    operations,
    reference_feeds,
    ris_extract,
    series_lists,
)
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.generation import (
    check_scale,
    delivered_months,
    describe_run,
    note_live_dirt,
)
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.truth import MonthlyTruth, write_identity_truth
from pipelines.synthetic.worlds import World
from pipelines.synthetic.writer import write_csv

REFERENCE_FEEDS = ("rota", "opening_hours", "go_lives", "benefit_register", "unit_costs")
# Extract files that one process reads together: one at a time bounds the memory of the processes.
FILES_AT_ONCE = 1


class LandingInUse(Problem):
    """The landing folder holds something else; invented records must not be mixed with it."""


def land_network(
    setup: Setup,
    truth: Path,
    *,
    seed: int,
    scale: float,
    period: Period,
    world: str,
    progress: Progress | None = None,
) -> dict[str, HarvestResult]:
    """Fill landing, quarantine and truth; returns what became of the records, by feed kind.

    At scales that the scanner register cannot hold, rooms are added; `scanner_register.csv` in
    the truth folder is the register such a network needs. Everything is landed at the end of the
    period, so that a seed and a key give the same files. A second run changes nothing. Raises
    NotAScale, UnknownWorld, and LandingInUse where the folder holds other records.
    """
    check_scale(scale)
    _claim(setup, {"seed": seed, "scale": scale, "world": world, "period": str(period)})
    tell = progress or (lambda *_: None)
    origin = calendar.day_number(period.first_on)
    simulation = Simulation(
        setup.network,
        load_profile(),
        period,
        scale,
        seed,
        World.load(world, origin),
        may_add_rooms=True,
    )
    setup.landing.prepare()
    ledger, told = DirtLedger(), MonthlyTruth(truth)
    parts = ris_extract.ExtractParts(period, ledger)
    activity = operations.MonthlyActivity(period, seed)
    images = archive.ImageArchive(simulation, scale, ledger, feed=series_lists.FEED)
    live: list[pl.DataFrame] = []
    listed: list[pl.DataFrame] = []
    with _Harvesters(setup, datetime.fromtimestamp(period.end, UTC)) as harvesters:
        _land_reference_feeds(simulation, scale, harvesters)
        months = period.months
        for number, exams in enumerate(delivered_months(simulation, scale), start=1):
            for file, rows in parts.add(exams):
                harvesters.hand("ris_extract", _delivery(file, rows.write_csv().encode()))
            live.append(hl7_messages.exams_told_of(exams, period.cutoff, period.end))
            scans, series = images.add(exams)
            listed.append(series_lists.list_series(scans, series, simulation.network))
            series_lists.note_faults(scans, series, ledger)
            activity.add(exams)
            note_live_dirt(exams, period, ledger)
            has_images = pl.col("exam_no").is_in(series["exam_no"].unique().to_list())
            told.add(
                months[number - 1],
                exams.with_columns(has_images=has_images),
                dicom_files.series_truth(scans, series, set()),
            )
            tell("exams", number, len(months))
        scans, series = images.close()
        listed.append(series_lists.list_series(scans, series, simulation.network))
        series_lists.note_faults(scans, series, ledger)
        told.add_other_scans(dicom_files.series_truth(scans, series, set()), images.clocks)
        found = activity.operations(simulation, scale)
        operations.write_operations_truth(found, truth)
        _land_operations(found, simulation, harvesters)
        write_csv(truth / "scanner_register.csv", simulation.network.scanner_register)
        rota = reference_feeds.session_instants(simulation.sessions, period)
        parameters = describe_run(simulation, scale)
        # The bookings of all the years; what is landed from here on needs the room.
        del simulation, images, activity, exams, found
        for file, rows in parts.close():
            harvesters.hand("ris_extract", _delivery(file, rows.write_csv().encode()))
        harvesters.hand_over("ris_extract")
        for file, rows in series_lists.files_of(pl.concat(listed)):
            harvesters.hand("dicom_series", _delivery(file, rows.write_csv().encode()), at_once=40)
        harvesters.hand_over("dicom_series")
        messages = hl7_messages.MessageDays(period, scale, seed, ledger)
        _land_messages(messages, pl.concat(live).sort("exam_no"), harvesters, tell)
        write_identity_truth(truth, messages.identities)
    told.close(rota=rota, ledger=ledger, parameters=parameters)
    return harvesters.results()


def _claim(setup: Setup, wanted: dict[str, object]) -> None:
    """Say in the landing folder which network it holds; raise LandingInUse where it is another."""
    stamp = setup.landing.root / LANDING_STAMP
    held = json.loads(stamp.read_text()) if stamp.exists() else None
    if held != wanted and not setup.landing.receipts().is_empty():
        raise LandingInUse(
            f"{setup.landing.root} holds other records, and these are invented; name an empty "
            "folder with --to, or another IMAGING_HOME"
        )
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(json.dumps(wanted, indent=2).encode(), stamp)


def _land_messages(
    messages: hl7_messages.MessageDays,
    live: pl.DataFrame,
    harvesters: _Harvesters,
    tell: Progress,
) -> None:
    for number, files in enumerate(messages.days(live), start=1):
        for file, texts in files.items():
            harvesters.hand("hl7", _delivery(file, "".join(texts).encode()), at_once=len(files))
        tell("hl7", number, len(messages.period.live_days))
    harvesters.hand_over("hl7")


def _land_reference_feeds(simulation: Simulation, scale: float, harvesters: _Harvesters) -> None:
    """Rota, opening hours, go-lives, benefit register and unit costs, which hold no identity."""
    network, period = simulation.network, simulation.period
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder)
        reference_feeds.write_rota(simulation.sessions, network, period, inbox)
        reference_feeds.write_reference_feeds(network, period, scale, inbox)
        for kind in REFERENCE_FEEDS:
            _hand_folder(inbox, kind, harvesters)


def _land_operations(
    found: operations.Operations, simulation: Simulation, harvesters: _Harvesters
) -> None:
    """The feeds that follow from counts; their faults are not told in the truth."""
    with tempfile.TemporaryDirectory() as folder:
        inbox = Path(folder)
        written = operations.write_operations(
            found, simulation.network, simulation.period, inbox, DirtLedger()
        )
        for kind in written:
            _hand_folder(inbox, kind, harvesters)


def _hand_folder(inbox: Path, kind: str, harvesters: _Harvesters) -> None:
    for found in deliveries(inbox, kind):
        harvesters.hand(
            kind,
            Delivery(kind, Path(found.name), found.delivered_on, found.data()),
            at_once=500,
        )
    harvesters.hand_over(kind)


def _delivery(file: str, payload: bytes) -> Delivery:
    """A file of the inbox that is in memory only; `file` is relative to the inbox."""
    kind, day, name = file.split("/")
    return Delivery(kind, Path(name), date.fromisoformat(day), payload)


_setup_of_process: list[Setup] = []


def _begin(setup: Setup) -> None:
    _setup_of_process.append(setup)


def _harvest_here(kind: str, waiting: list[Delivery], now: datetime) -> HarvestResult:
    return harvest(kind, waiting, _setup_of_process[-1], now=now)


@dataclass
class _Harvesters:
    """Processes that harvest what they are handed; the caller waits while all are busy."""

    setup: Setup
    now: datetime
    _held: dict[str, list[Delivery]] = field(default_factory=dict)
    _running: set[Future[HarvestResult]] = field(default_factory=set)
    _done: list[HarvestResult] = field(default_factory=list)

    def __enter__(self) -> _Harvesters:
        # A fresh process holds none of the simulation's memory, and no lock of its threads.
        self._pool = ProcessPoolExecutor(
            self.setup.workers,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(self.setup,),
        )
        return self

    def __exit__(self, *failure: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        if failure[0] is None:
            self._collect(self._running)

    def hand(self, kind: str, delivery: Delivery, at_once: int = FILES_AT_ONCE) -> None:
        """Hand over a delivery, together with as many others as are read at once."""
        held = self._held.setdefault(kind, [])
        held.append(delivery)
        if len(held) >= at_once:
            self.hand_over(kind)

    def hand_over(self, kind: str) -> None:
        """Start on what is held of a feed kind; waits while every process has work."""
        while len(self._running) >= self.setup.workers + 1:
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
            self._collect(finished)
        if waiting := self._held.pop(kind, []):
            self._running.add(self._pool.submit(_harvest_here, kind, waiting, self.now))

    def _collect(self, finished: set[Future[HarvestResult]]) -> None:
        self._running = self._running - finished
        self._done += [future.result() for future in finished]

    def results(self) -> dict[str, HarvestResult]:
        """What became of the records, by feed kind."""
        kinds = sorted({result.feed_kind for result in self._done})
        return {
            kind: HarvestResult.merged(kind, [r for r in self._done if r.feed_kind == kind])
            for kind in kinds
        }
