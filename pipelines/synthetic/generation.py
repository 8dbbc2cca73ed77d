"""One call writes a whole invented network as files: inbox and truth."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.demo import DEMO_SCALE, DEMO_SEED, DEMO_WORLD
from pipelines.problems import Problem
from pipelines.synthetic import (
    appointments,
    archive,
    calendar,
    device_clocks,
    diary,
    dicom_files,
    dirt,
    hl7_messages,
    image_sharing,
    operations,
    reference_feeds,
    reporting,
    ris_extract,
    series_lists,
)
from pipelines.synthetic.clock_changes import ClockChanges, note_clock_changes
from pipelines.synthetic.hl7_clocks import time_styles
from pipelines.synthetic.joint_scans import JointScans, note_joint_scans
from pipelines.synthetic.offices import find_offices
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.patients import invent_patients
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.truth import patient_truth, write_identity_truth, write_truth
from pipelines.synthetic.worlds import World
from pipelines.synthetic.writer import write_bytes, write_csv, write_parquet

if TYPE_CHECKING:
    from pipelines.network import Network

Progress = Callable[[str, int, int], None]

STEPS = ("exams", "ris_extract", "hl7", "dicom", "reference feeds", "operations", "images", "truth")


# Below, tables come out empty; above, no region is so large.
SMALLEST_SCALE, LARGEST_SCALE = 0.0001, 20.0


class NotAScale(Problem, ValueError):
    """A network of no size, or larger than any, was asked for."""


@dataclass(frozen=True)
class SyntheticSummary:
    """What was written. Keys are feed names.

    files and records (CSV rows, messages, DICOM files) by feed; dirt by "feed.kind"; exams is
    the number of requests in the truth. seconds, where a timer was handed in, by feed or by step
    of STEPS where several feeds are made together.
    """

    files: dict[str, int]
    records: dict[str, int]
    dirt: dict[str, int]
    exams: int
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class _Stopwatch:
    """Seconds by what was done; without a timer nothing is measured."""

    timer: Callable[[], float] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Generator[None]:
        """Add the time until the end of the block."""
        if self.timer is None:
            yield
            return
        began = self.timer()
        yield
        self.seconds[what] = self.seconds.get(what, 0.0) + self.timer() - began


def check_scale(scale: float) -> None:
    """Raise NotAScale where a network of this scale would be empty, or larger than any."""
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise NotAScale(
            f"scale must be from {SMALLEST_SCALE} to {LARGEST_SCALE}, got {scale}; 1.0 is about "
            "2.6 million exams a year"
        )


def check_size(network: Network, period: Period, scale: float) -> None:
    """Raise NotAScale or RegisterTooSmall where `generate` would, before anything is written."""
    check_scale(scale)
    find_offices(network, load_profile(), period, scale)


def generate(
    network: Network,
    inbox: Path,
    truth: Path,
    *,
    seed: int = DEMO_SEED,
    scale: float = DEMO_SCALE,
    period: Period | None = None,
    world: str = DEMO_WORLD,
    progress: Progress | None = None,
    timer: Callable[[], float] | None = None,
) -> SyntheticSummary:
    """Write the inbox and the truth folder of a synthetic network.

    Scale 1 is about 2.6 million exams a year. The same network, seed and scale give
    the same bytes. `progress` is called with (step, number of the step, number of steps).
    `timer` gives seconds, for the summary only; no file depends on it. `world` names a world of
    `worlds`. Raises NotAScale when the scale is not positive,
    RegisterTooSmall when the scanners cannot hold it, UnknownWorld.
    """
    period, profile = period or Period.of(), load_profile()
    check_size(network, period, scale)

    def tell(step: int) -> None:
        if progress is not None:
            progress(STEPS[step], step + 1, len(STEPS))

    chosen = World.load(world, calendar.day_number(period.first_on))
    ledger = dirt.DirtLedger()
    tell(0)
    watch, written = _Stopwatch(timer), {}
    simulation = Simulation(network, profile, period, scale, seed, chosen)
    exams, parts = [], ris_extract.ExtractParts(period, ledger)
    activity = operations.MonthlyActivity(period, seed)
    images, planned, listed = archive.ImageArchive(simulation, scale, ledger), [], []
    extracts: dict[str, int] = {}
    months = delivered_months(simulation, scale)
    for _ in period.months:
        with watch.on("exams"):
            month = next(months)
            exams.append(month)
        with watch.on("operations"):
            activity.add(month)
        with watch.on("dicom"):
            planned.append(images.add(month))
            listed.append(series_lists.list_series(*planned[-1], network))
        with watch.on("ris_extract"):
            extracts |= {file: write_csv(inbox / file, rows) for file, rows in parts.add(month)}
    tell(1)
    with watch.on("ris_extract"):
        extracts |= {file: write_csv(inbox / file, rows) for file, rows in parts.close()}
    written["ris_extract"] = extracts
    exams = pl.concat(exams).sort("exam_no")
    tell(2)
    with watch.on("hl7"):
        written["hl7"] = {}
        messages = hl7_messages.MessageDays(period, scale, seed, ledger)
        for day in messages.days(exams):
            for file, texts in day.items():
                write_bytes(inbox / file, "".join(texts).encode("utf-8"))
                written["hl7"][file] = len(texts)
    tell(3)
    with watch.on("dicom"):
        planned.append(images.close())
        listed.append(series_lists.list_series(*planned[-1], network))
        written[series_lists.FEED] = {
            file: write_csv(inbox / file, rows)
            for file, rows in series_lists.files_of(pl.concat(listed))
        }
        scans, series = map(pl.concat, zip(*planned, strict=True))
        folders, told_series, dose_events = dicom_files.write_dicom(
            scans,
            series,
            network,
            images.clocks,
            scale,
            inbox,
            np.random.default_rng([seed, 11]),
            ledger,
        )
    tell(4)
    with watch.on("rota"):
        written["rota"] = reference_feeds.write_rota(simulation.sessions, network, period, inbox)
    with watch.on("reference feeds"):
        for file, rows in reference_feeds.write_reference_feeds(
            network, period, scale, inbox
        ).items():
            written[file.split("/")[0]] = {file: rows}
    tell(5)
    with watch.on("operations"):
        found = activity.operations(simulation, scale)
        operations.write_operations_truth(found, truth)
        written |= operations.write_operations(found, network, period, inbox, ledger)
        written[diary.FEED] = diary.write_diary(exams, network, period, inbox, truth, seed)
    tell(6)
    parties = network.programme_parties["party_code"].to_list()
    with watch.on("images"):
        sharing = image_sharing.simulate_sharing(
            exams, network, profile.go_lives, period, chosen, (seed,)
        )
        written |= image_sharing.write_feeds(
            sharing, exams, parties, period, scale, inbox, (seed,), ledger
        )
    tell(7)
    exams = exams.with_columns(
        pl.col("exam_no").is_in(series["exam_no"].unique().to_list()).alias("has_images")
    )
    with watch.on("truth"):
        note_live_dirt(exams, period, ledger)
        write_truth(
            truth,
            exams=exams,
            series=told_series,
            dose_events=dose_events,
            rota=reference_feeds.session_instants(simulation.sessions, period),
            ledger=ledger,
            parameters=describe_run(simulation, scale),
        )
        write_identity_truth(truth, messages.identities)
        write_parquet(truth / "patients.parquet", patient_truth(exams))
        image_sharing.write_sharing_truth(truth, sharing)
        write_parquet(truth / "device_clocks.parquet", device_clocks.clock_truth(images.clocks))
    files = {feed: len(found) for feed, found in written.items()}
    records = {feed: sum(found.values()) for feed, found in written.items()}
    files["dicom"] = records["dicom"] = sum(folders.values())
    pieces = {
        f"{feed}.{kind}": number
        for feed, kinds in ledger.counts().items()
        for kind, number in kinds.items()
    }
    return SyntheticSummary(
        files=files, records=records, dirt=pieces, exams=exams.height, seconds=watch.seconds
    )


def delivered_months(simulation: Simulation, scale: float) -> Iterator[pl.DataFrame]:
    """The exams of each month with their patients, and what the feeds say of them.

    Columns of `pathways.Simulation.months`, of `patients.invent_patients` and of `dirt`.
    """
    seed, period = simulation.seed, simulation.period
    people = invent_patients(simulation.network, scale, np.random.default_rng([seed, 0]))
    scans, changes = JointScans(period), ClockChanges(period, scale)
    spoiler = dirt.ExamDirt(
        sorted(simulation.network.programme_parties["party_code"].to_list()), period
    )
    described = people.rename({"home_party": "patient_home_party"})
    for number, exams in enumerate(simulation.months(people)):
        exams = scans.perform(exams, np.random.default_rng([seed, 61, number]))
        exams = changes.move(exams, np.random.default_rng([seed, 62, number]))
        exams = exams.join(described, on="patient_no", how="left", maintain_order="left")
        exams = spoiler.mark(exams, np.random.default_rng([seed, 8, number]))
        exams = dirt.as_delivered(exams)
        yield dirt.recoded(exams, np.random.default_rng([seed, 63, number]))


def note_live_dirt(exams: pl.DataFrame, period: Period, ledger: dirt.DirtLedger) -> None:
    """Faults of whole exams, which may come in several messages or files."""
    for party, kind, accession in (
        exams.filter(pl.col("live_dirt").is_not_null())
        .select("party_code", "live_dirt", "accession_number")
        .iter_rows()
    ):
        ledger.add("hl7", kind, f"hl7/*/{party}_*.hl7", accession)
    for kind, told in (("addendum", "addendum"), ("corrected_report", "corrected")):
        for party, accession in (
            exams.filter(pl.col(told) >= period.cutoff)
            .select("party_code", "accession_number")
            .iter_rows()
        ):
            ledger.add("hl7", kind, f"hl7/*/{party}_*.hl7", accession)
    note_clock_changes(exams, period, ledger)
    note_joint_scans(exams, period.cutoff, ledger)
    dirt.note_recodings(exams, ledger)


def describe_run(simulation: Simulation, scale: float) -> dict[str, Any]:
    """Everything a reader needs to know what was put in: truth/parameters.json."""
    period, profile = simulation.period, simulation.profile
    go_lives = profile.go_lives.with_columns(pl.col("go_live_on").cast(pl.String))
    return {
        "seed": simulation.seed,
        "scale": scale,
        "first_request_on": str(period.first_on),
        "history_extract_on": str(period.live_on),
        "last_day_on": str(period.live_days[-1]),
        "time_zone": "Europe/London",
        "slot_minutes": dict(profile.offices.select("office", "slot_minutes").iter_rows()),
        **simulation.world.as_parameters(),
        **operations.parameters(),
        "appointment_habits": appointments.habits(),
        "report_habits": reporting.report_habits(),
        "effects_apply_from": "network_reporting go-live of the acquiring party, by exam end",
        "image_effects_apply_from": "viewing and archive go-lives, by exam end; between two parties "
        "the later of them",
        "outsourcing_organisation": reporting.OUTSOURCE,
        "go_lives": go_lives.to_dicts(),
        "extract_fault_rates": dirt.EXTRACT_RATES | dirt.EXTRACT_REJECT_RATES,
        "live_fault_rates": dict(dirt.LIVE_RATES),
        "hl7_time_styles": time_styles(),
        "stream_recodings": dirt.stream_recodings().to_dicts(),
        "archive_habits": dict(archive.archive_habits()),
    }
