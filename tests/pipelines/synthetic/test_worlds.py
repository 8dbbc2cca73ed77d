"""Worlds with and without an effect of go-lives: the truth says what was put in, and it is there."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.network import Network
from pipelines.synthetic import generate
from pipelines.synthetic.calendar import day_number
from pipelines.synthetic.worlds import UnknownWorld, World

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
WORLDS = ("effect", "null", "confounded")
ORIGIN = day_number(date(2018, 4, 1))


@pytest.fixture(scope="module")
def truths(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("worlds")
    for world in WORLDS:
        home = folder / world
        generate(
            Network.load(SEEDS), home / "inbox", home / "truth", seed=5, scale=0.001, world=world
        )
    return {world: folder / world / "truth" for world in WORLDS}


def reports(truth: Path) -> pl.DataFrame:
    rows = pl.read_parquet(truth / "exams.parquet")
    return rows.filter(
        pl.col("verified_at").is_not_null()
        & (pl.col("reporter_org") != "ZZT01")
        & pl.col("modality_group").is_in(["CT", "MRI", "Plain radiography"])
    ).with_columns(hours=(pl.col("verified_at") - pl.col("completed_at")).dt.total_minutes() / 60)


def cross_site(rows: pl.DataFrame, first: int, last: int) -> float:
    years = pl.col("verified_at").dt.year()
    return float(rows.filter(years.is_between(first, last))["is_cross_site"].mean())


def test_without_an_effect_cross_site_reporting_stays_where_it_was(truths):
    """Failing means that the null world would show a benefit that does not exist."""
    rows = reports(truths["null"])
    assert cross_site(rows, 2018, 2019) == pytest.approx(cross_site(rows, 2023, 2026), abs=0.01)


@pytest.mark.parametrize("world", ["effect", "confounded"])
def test_with_an_effect_cross_site_reporting_rises(truths, world):
    """Failing means that a benefit put in is not there to be found."""
    rows = reports(truths[world])
    assert cross_site(rows, 2018, 2019) < 0.03
    assert cross_site(rows, 2023, 2026) > 0.15


def test_parties_of_the_confounded_world_drift_apart_before_any_go_live(truths):
    """Failing means that a plain before-and-after comparison would pass as evidence."""

    def median_hours(world: str, party: str) -> float:
        rows = reports(truths[world]).filter(
            (pl.col("party_code") == party)
            & pl.col("completed_at").is_between(date(2020, 1, 1), date(2020, 12, 31))
        )
        return float(rows["hours"].median())

    def ratio(world: str) -> float:
        return median_hours(world, "R0A") / median_hours(world, "RW6")

    assert ratio("confounded") > 1.1 * ratio("effect")


def test_the_truth_names_the_world_and_everything_in_it(truths):
    """Failing means that a claim cannot be checked against what was put in."""
    told = {
        world: json.loads((truth / "parameters.json").read_text())
        for world, truth in truths.items()
    }
    assert [told[world]["world"] for world in WORLDS] == list(WORLDS)
    assert told["effect"]["effects_of_network_reporting"]["turnaround_factor_after"] == 0.9
    assert told["null"]["effects_of_network_reporting"]["turnaround_factor_after"] == 1.0
    assert told["effect"]["trends_and_shocks"] == []
    assert len(told["confounded"]["trends_and_shocks"]) == 24


def test_a_shock_ends_and_a_trend_goes_on():
    """Failing means that the drift of a party is not the one in the table."""
    world = World.load("confounded", ORIGIN)
    days = np.array([day_number(d) for d in (date(2018, 4, 1), date(2023, 1, 1), date(2024, 1, 1))])
    drift = world.drift("turnaround", ["R0A"], np.zeros(3, dtype=np.int64), days.astype(float))
    years = (days - ORIGIN) / 365.25
    assert drift == pytest.approx(np.exp(0.06 * years) * np.array([1.0, 1.3, 1.0]))


def test_an_unknown_world_names_the_known_ones():
    """Failing means that a typing error makes another world than asked for."""
    with pytest.raises(UnknownWorld, match="effect, null, confounded"):
        World.load("efect", ORIGIN)
