"""What the archive holds of the live weeks: series of exams, of phantoms and of old studies.

The same plan is written as image files or told as series lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic import (
    archive_route,
    calendar,
    device_clocks,
    dicom_files,
    migrated_priors,
    phantoms,
    unlisted_scans,
)
from pipelines.synthetic.calendar import DAY, HOUR
from pipelines.synthetic.dicom_encoding import new_uids
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.reference_tables import read_text_table

if TYPE_CHECKING:
    from collections.abc import Mapping

# What image files need of an exam, a phantom or an old study; `delivered` is when the archive has
# it, `scan_kind` is exam, phantom or prior.
SCAN_COLUMNS = (
    "exam_no", "party_code", "site_code", "station_name", "dicom_modality", "accession_number",
    "study_instance_uid", "patient_id", "exam_code", "exam_code_delivered", "exam_name",
    "body_region", "surname", "given_name", "birth_on", "sex", "started", "completed",
    "delivered", "scan_kind", "every_days",
)  # fmt: skip
# Scans that are no exam of the network are numbered from here on, away from the exams.
PHANTOMS_FROM, PRIORS_FROM = 10**12, 2 * 10**12


@cache
def archive_habits() -> Mapping[str, float]:
    """The figures of reference/archive_habits.csv by name."""
    rows = read_text_table("archive_habits").select("habit", "value").iter_rows()
    return {habit: float(value) for habit, value in rows}


@dataclass
class ImageArchive:
    """Plans the series month by month; `clocks` are those of the scanners."""

    simulation: Simulation
    scale: float
    ledger: DirtLedger
    feed: str = dicom_files.FEED
    _scans: list[pl.DataFrame] = field(default_factory=list)
    _busy: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        simulation = self.simulation
        self.scanners = dicom_files.scanners_of(simulation.network)
        stations = {name: dicom_files.tells_zone(row) for name, row in self.scanners.items()}
        self.clocks = device_clocks.simulate_clocks(
            stations, simulation.period, archive_habits(), simulation.seed
        )
        self.route = archive_route.Route(
            simulation.network.sites["site_code"].to_list(),
            archive_habits(),
            simulation.seed,
            simulation.period.end,
        )
        self._unlisted = unlisted_scans.UnlistedScans(archive_habits(), self.ledger, self.feed)
        party = dict(simulation.network.sites.select("site_code", "party_code").iter_rows())
        for station, kind in self.clocks.select("station_name", "kind").iter_rows():
            if kind != "exact":
                place = f"{self.feed}/*/{party[self.scanners[station]['site_code']]}"
                self.ledger.add(self.feed, f"device_clock_{kind}", place, None)

    def add(self, exams: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The scans and series of one month of exams; months come in order."""
        seed, period, number = self.simulation.seed, self.simulation.period, len(self._scans)
        rng = np.random.default_rng([seed, 10, number])
        series = dicom_files.plan_series(exams, self.simulation.network, period, rng)
        scans = exams.join(series.select("exam_no").unique(), on="exam_no", how="semi")
        scans = scans.with_columns(
            delivered=self.route.arrivals(scans, series, ("exams", number)),
            scan_kind=pl.lit("exam"),
            every_days=pl.lit(None, pl.Int64),
        )
        told = ~scans["is_refused"]
        self._scans.append(scans.select(SCAN_COLUMNS))
        rng = np.random.default_rng([seed, 55, number])
        scans = self._unlisted.mark(scans.select(SCAN_COLUMNS), told, rng)
        over = pl.col("completed").fill_null(period.end)
        self._busy.append(
            exams.filter(
                pl.col("station_name").is_not_null()
                & pl.col("started").is_not_null()
                & (over >= period.cutoff)
            ).select("station_name", "started", completed=over)
        )
        series = self._by_clock(series, scans)
        return scans, self._with_resent(series, scans, np.random.default_rng([seed, 51, number]))

    def close(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The scans and series that are no exam: phantoms, and old studies of go-lives."""
        simulation, exams = self.simulation, pl.concat(self._scans)
        network, period, seed = simulation.network, simulation.period, simulation.seed
        found = phantoms.plan_phantoms(
            simulation.sessions,
            pl.concat([*self._busy, _out_of_order(simulation.downtime)]),
            network,
            period,
            self.scale,
            np.random.default_rng([seed, 52]),
        )
        old = migrated_priors.plan_priors(
            exams,
            simulation.profile.go_lives,
            period,
            self.scale,
            archive_habits(),
            np.random.default_rng([seed, 53]),
        )
        old = _numbered(old, PRIORS_FROM).with_columns(scan_kind=pl.lit("prior"))
        found = _numbered(found, PHANTOMS_FROM)
        checks = _as_scans(found, exams, seed)
        enhanced = dicom_files.enhanced_stations(self.scanners)
        of_phantoms = phantoms.phantom_series(found, enhanced)
        checks = checks.with_columns(
            delivered=self.route.arrivals(checks, of_phantoms, ("phantoms", 0))
        )
        series = pl.concat([of_phantoms, migrated_priors.prior_series(old)])
        rng = np.random.default_rng([seed, 54])
        uids = pl.Series("series_instance_uid", new_uids(series.height, rng), pl.String)
        scans = pl.concat([checks.select(SCAN_COLUMNS), old.select(SCAN_COLUMNS)])
        series = self._by_clock(series.with_columns(uids), scans)
        return scans, series.with_columns(resent=pl.lit(None, pl.Int64))

    def _by_clock(self, series: pl.DataFrame, scans: pl.DataFrame) -> pl.DataFrame:
        """Add start_local and end_local: what the clock of the device shows.

        A series is timed by the clock at its start, so that its length stays what it was.
        """
        placed = series.join(
            scans.select("exam_no", "station_name"),
            on="exam_no",
            how="left",
            maintain_order="left",
        )
        ahead = device_clocks.seconds_ahead(placed, "start", self.clocks)
        return series.with_columns(
            start_local=device_clocks.wall_seconds(pl.col("start")) + ahead,
        ).with_columns(end_local=pl.col("start_local") + pl.col("end") - pl.col("start"))

    def _with_resent(
        self, series: pl.DataFrame, scans: pl.DataFrame, rng: np.random.Generator
    ) -> pl.DataFrame:
        """Add resent: when the series comes a second time (UTC seconds), else null."""
        habits, end = archive_habits(), self.simulation.period.end
        chosen = pl.Series(rng.random(series.height) < habits["resent_series_rate"])
        days = rng.integers(1, int(habits["longest_days_until_resent"]) + 1, series.height)
        came = series.select("exam_no").join(
            scans.select("exam_no", "delivered"), on="exam_no", how="left", maintain_order="left"
        )
        again = came["delivered"] + pl.Series(days) * DAY
        return series.with_columns(
            resent=pl.when(chosen & (again < end - HOUR)).then(again).cast(pl.Int64)
        )


def _out_of_order(downtime: pl.DataFrame) -> pl.DataFrame:
    """Downtimes of scanners (local seconds) as station_name, started, completed (UTC seconds)."""
    spans = {
        name: pl.Series(calendar.local_to_utc(downtime[column].to_numpy()))
        for name, column in (("started", "down_from"), ("completed", "down_to"))
    }
    return downtime.select(pl.col("asset").alias("station_name")).with_columns(**spans)


def _numbered(scans: pl.DataFrame, first: int) -> pl.DataFrame:
    numbers = pl.int_range(first, first + scans.height, dtype=pl.Int64)
    return scans.with_columns(numbers.alias("exam_no"))


def _as_scans(found: pl.DataFrame, exams: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Scans of phantoms with the columns of an exam: no accession number, a patient id of QA."""
    uids = new_uids(found.height, np.random.default_rng([seed, 52, 1]))
    empty = {
        name: pl.lit(None, exams.schema[name])
        for name in ("accession_number", "exam_name", "exam_code_delivered", "birth_on", "sex")
    }
    return found.with_columns(
        pl.Series("study_instance_uid", uids, pl.String),
        patient_id=pl.format("QA{}", "station_name"),
        exam_code=pl.lit("XMAML"),  # a mammograph takes one view of its phantom
        body_region=pl.lit("phantom"),
        surname=pl.lit(""),
        given_name=pl.lit(""),
        scan_kind=pl.lit("phantom"),
        **empty,
    )
