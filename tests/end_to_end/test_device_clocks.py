"""Clocks of the scanners of a synthetic network against the truth of each clock.

A tenth of the region, since a clock shows itself only in the studies of a day: the archive alone
is made, told as its series lists, harvested and built. Its live weeks hold the clock change of
October and the go-live of one archive.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines.contracts import read_contracts
from pipelines.harvest import Setup
from pipelines.harvest.intake import harvest
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.sources.inbox import Delivery
from pipelines.synthetic import archive, calendar, device_clocks, dicom_files, series_lists
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.generation import delivered_months
from pipelines.synthetic.pathways import Simulation
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile
from pipelines.synthetic.worlds import World
from tests.demo_home import ROOT
from tests.warehouse.conftest import Project, Warehouse, build

SCALE, SEED, PERIOD = 0.1, 20201016, Period.of(date(2020, 9, 1), 4)
KEYS = Keys(b"p" * 32, b"e" * 32, base64.urlsafe_b64encode(b"s" * 32))
# From here on times are corrected, and a step has to be found.
THRESHOLD = 120


@dataclass(frozen=True)
class Fleet:
    """The clocks as they were, the series as they were made and told, and what was found."""

    clocks: pl.DataFrame
    series: pl.DataFrame
    warehouse: Warehouse

    def rows(self, table: str) -> pl.DataFrame:
        with duckdb.connect(str(self.warehouse.file), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            return connection.sql(f"select * from {table}").pl()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    network = Network.load(ROOT / "dbt_project" / "seeds")
    world = World.load("effect", calendar.day_number(PERIOD.first_on))
    simulation = Simulation(network, load_profile(), PERIOD, SCALE, SEED, world)
    images = archive.ImageArchive(simulation, SCALE, DirtLedger())
    planned = [images.add(exams) for exams in delivered_months(simulation, SCALE)]
    planned.append(images.close())
    told = pl.concat(dicom_files.series_truth(*each, set()) for each in planned)
    listed = pl.concat(series_lists.list_series(*each, network) for each in planned)
    contracts = {
        room: read_contracts(ROOT / "data_contracts" / room) for room in ("inbound", "landing")
    }
    setup = Setup(
        network=network,
        inbound=contracts["inbound"],
        landing=LandingStore(folder / "landing", contracts["landing"]),
        quarantine=Quarantine(folder / "quarantine", KEYS),
        keys=KEYS,
        workers=1,
    )
    setup.landing.prepare()
    deliveries = []
    for file, rows in series_lists.files_of(listed):
        kind, day, name = file.split("/")
        payload = rows.write_csv().encode()
        deliveries.append(Delivery(kind, Path(name), date.fromisoformat(day), payload))
    harvest(series_lists.FEED, deliveries, setup, now=datetime(2021, 1, 2, tzinfo=UTC))
    warehouse = build(
        Project(folder / "target"),
        folder / "landing",
        folder / "fleet.duckdb",
        *("--select", "+rpt_device_clocks_weekly", "+dim_device"),
        *("--exclude-resource-type", "unit_test"),
    )
    uids = pseudonyms(told["series_instance_uid"], "series", KEYS.pseudonym)
    return Fleet(device_clocks.clock_truth(images.clocks), told.with_columns(uids), warehouse)


@pytest.fixture(scope="module")
def steps(fleet: Fleet) -> pl.DataFrame:
    """One row per step a clock really made: station_name, at, jump (seconds it leapt ahead)."""
    lasted = (pl.col("valid_to_at") - pl.col("valid_from_at")).dt.total_seconds() / 86_400
    ended = pl.col("offset_seconds") + lasted * pl.col("drift_seconds_per_day")
    return (
        fleet.clocks.sort("station_name", "valid_from_at")
        .with_columns(before=ended.shift(1).over("station_name"))
        .select(
            "station_name",
            at="valid_from_at",
            jump=pl.col("offset_seconds") - pl.col("before"),
        )
        .drop_nulls()
    )


@pytest.fixture(scope="module")
def timed(fleet: Fleet) -> pl.DataFrame:
    """Series of scanners with the error (seconds) of their start as told, and as corrected."""
    found = fleet.rows("intermediate.int_dicom_series")
    both = fleet.series.filter(pl.col("scan_kind") != "prior").join(
        found, on="series_instance_uid", suffix="_found"
    )
    return both.with_columns(
        raw=(pl.col("started_at_raw") - pl.col("start_at")).dt.total_seconds().abs(),
        corrected=(pl.col("started_at") - pl.col("start_at")).dt.total_seconds().abs(),
    )


def test_every_step_of_two_minutes_is_found_and_no_other_than_real_ones(fleet, steps):
    """Failing means that a clock that was set moves exams of weeks, or one that was not does."""
    stations = fleet.rows("marts.dim_device").select("device_key", "station_name").unique()
    found = fleet.rows("intermediate.int_device_clock_steps").join(stations, on="device_key")
    both = steps.join(found, on="station_name").filter(
        (pl.col("stepped_at") - pl.col("at")).abs() < pl.duration(days=2)
    )
    # the delay falls when the clock leaps ahead
    assert (both["jump"] * (both["level_after"] - both["level_before"]) < 0).all()
    large = steps.filter(pl.col("jump").abs() >= THRESHOLD)
    assert both.filter(pl.col("jump").abs() >= THRESHOLD).height == large.height >= 4
    assert both.height == found.height, "a step that no clock made"


def test_a_missed_clock_change_is_named_as_that(fleet):
    """Failing means that an hour's error passes for a drift, or sets somebody looking for one."""
    missed = fleet.clocks.filter(pl.col("kind") == "dst")
    found = fleet.rows("marts.rpt_device_clocks_weekly")
    named = found.filter(pl.col("clock_state").str.starts_with("dst"))
    assert set(named["clock_state"]) == {"dst_not_put_back"}
    assert set(named["station_name"]) == set(missed["station_name"])
    for station, begun, ended in missed.select(
        "station_name", "valid_from_at", "valid_to_at"
    ).iter_rows():
        mine = named.filter(pl.col("station_name") == station)
        assert abs(mine["week_start_on"].min() - begun.date()) < timedelta(days=7)
        assert abs(mine["week_start_on"].max() - ended.date()) < timedelta(days=14)
    assert named["is_proven_fast"].all()


def test_an_offset_is_what_the_clock_was_off_by(fleet):
    """Failing means that times are corrected by a wrong amount."""
    levels = fleet.rows("intermediate.int_device_clock_levels").filter(
        (pl.col("method") == "days") & pl.col("offset_seconds").is_not_null()
    )
    placed = (
        levels.sort("valid_from")
        .join_asof(
            fleet.clocks.select(
                "station_name", "valid_from_at", "drift_seconds_per_day", off="offset_seconds"
            ).sort("valid_from_at"),
            left_on="valid_from",
            right_on="valid_from_at",
            by="station_name",
            check_sortedness=False,
        )
        .with_columns(
            since=(pl.col("valid_from") - pl.col("valid_from_at")).dt.total_seconds() / 86_400
        )
    )
    ahead = placed["off"] + placed["since"] * placed["drift_seconds_per_day"]
    error = (placed["offset_seconds"] + ahead).abs()
    assert placed.height > 300
    assert error.quantile(0.5) < 20
    assert error.quantile(0.95) < 60


def test_corrected_times_are_right_and_times_of_right_clocks_untouched(fleet, steps, timed):
    """Failing means that a correction does harm, or that it corrects nothing."""
    # A wall clock alone cannot tell which of the two hours is meant; such series are marked.
    told = timed.filter(~pl.col("is_repeated_hour"))
    assert (told["raw"] >= 600).sum() > 500
    # A clock that is put back shows some minutes twice: these series lie on either side of it.
    near = told.join(steps, on="station_name").filter(
        (pl.col("start_at") - pl.col("at")).abs() < pl.duration(hours=2)
    )
    others = told.join(near, on="series_instance_uid", how="anti")
    assert (others["corrected"] >= 600).sum() == 0
    assert (told["corrected"] >= 600).sum() < 0.01 * (told["raw"] >= 600).sum()
    assert told["corrected"].mean() < 0.2 * told["raw"].mean()
    harmed = others.filter(pl.col("is_clock_corrected") & (pl.col("raw") < THRESHOLD / 2))
    assert harmed.is_empty()
    kept = told.filter(~pl.col("is_clock_corrected"))
    assert (kept["started_at"] == kept["started_at_raw"]).all()
    length = told.filter("has_usable_end").select(
        raw=pl.col("ended_at_raw") - pl.col("started_at_raw"),
        corrected=pl.col("ended_at") - pl.col("started_at"),
    )
    assert length["raw"].equals(length["corrected"], check_names=False)


def test_phantoms_and_old_studies_are_told_apart_from_exams(fleet):
    """Failing means that quality assurance or a migration passes for work done."""
    found = fleet.rows("intermediate.int_dicom_series")
    told = ("scan_kind", "is_quality_assurance", "is_migrated")
    kinds = fleet.series.join(found, on="series_instance_uid", how="left")
    # Only a radiology system, which sends nothing here, tells whose exam is in images without a number.
    is_unnumbered = (pl.col("scan_kind") == "exam") & pl.col("accession_number").is_null()
    assert set(kinds.filter(~is_unnumbered).select(told).unique().iter_rows()) == {
        ("exam", False, False),
        ("phantom", True, False),
        ("prior", False, True),
    }
    unnumbered = kinds.filter(is_unnumbered)
    assert 0 < unnumbered.height < 0.01 * kinds.height
    assert set(unnumbered.select(told).unique().iter_rows()) == {("exam", True, False)}


def test_each_scanner_of_the_register_is_one_device(fleet):
    """Failing means that a scanner is split in two, or that two are one."""
    devices = fleet.rows("marts.dim_device")
    register = Network.load(ROOT / "dbt_project" / "seeds").scanner_register
    assert devices["is_current"].all()
    assert set(devices["device_rung"]) == {"serial"}
    placed = devices.select("station_name", "site_code", "dicom_modality", "manufacturer")
    expected = register.select("station_name", "site_code", "dicom_modality", "manufacturer")
    assert placed.sort("station_name").equals(expected.sort("station_name"))


def test_the_share_of_corrected_series_adds_up(fleet):
    """Failing means that a figure made of corrected times does not say so."""
    found = fleet.rows("intermediate.int_dicom_series").filter(
        pl.col("is_timed") & ~pl.col("is_migrated")
    )
    weekly = fleet.rows("marts.rpt_device_clocks_weekly")
    assert weekly["series_count"].sum() == found.height
    assert weekly["corrected_series_count"].sum() == found["is_clock_corrected"].sum() > 500
