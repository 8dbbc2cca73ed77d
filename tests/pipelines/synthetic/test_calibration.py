"""The synthetic waiting lists against the published ones, at full scale."""

from pathlib import Path

import polars as pl
import pytest

from pipelines.network import Network
from pipelines.synthetic.calibration import BANDS, published
from pipelines.synthetic.calibration_report import (
    AIMED_SHARE,
    AIMS,
    Calibration,
    calibrate,
    write_report,
)

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"


@pytest.fixture(scope="module")
def found() -> Calibration:
    # Another seed than the fit's, so that what is tested is not what was fitted.
    return calibrate(Network.load(SEEDS), seed=11)


def test_the_published_figures_are_the_known_ones():
    """Failing means that a figure of the national statistics was altered (control sums)."""
    real = published()
    assert real.height == 1_088
    assert real["wl_total"].sum() == 1_836_162
    assert real["wl_six_weeks"].sum() == 305_248
    assert real.select(pl.sum_horizontal("^act_.*$")).to_series().sum() == 3_371_144


@pytest.mark.parametrize("error", list(AIMS))
def test_most_series_keep_the_aim(found, error):
    """Failing means that the synthetic network no longer looks like the real one."""
    assert found.series.height == 31
    assert found.share_within(error) >= AIMED_SHARE


def test_the_cliff_at_six_weeks_emerges(found):
    """Failing means that the booking target has no effect on the shape of the list."""
    mri = found.profile.filter(pl.col("dm01_test") == "MRI").sort("week")["simulated"]
    assert len(mri) == len(BANDS)
    assert mri[6] < 0.6 * mri[5]
    assert mri[5] < mri[0]


def test_the_mixes_are_those_of_a_health_service(found):
    """Failing means that a tenth of the exams stand under another modality or setting."""
    mixes = found.mixes.filter(pl.col("category") != "Fluoroscopy")
    assert set(mixes["mix"]) == {"modality", "setting", "setting of CT", "setting of MRI"}
    sums = found.mixes.group_by("mix").agg(pl.col("^.*_percent$").sum())
    assert sums.select(pl.col("^.*_percent$").round(6)).unique().row(0) == (100.0, 100.0)
    apart = (mixes["published_percent"] - mixes["simulated_percent"]).abs()
    assert apart.max() < 10.0


def test_the_report_names_its_command_and_every_series(found, tmp_path):
    """Failing means that a reader cannot repeat the comparison."""
    text, months, page = write_report(found, tmp_path, command="imaging synthesise --x")
    written = text.read_text()
    assert "`imaging synthesise --x`" in written
    assert written.count(" points |") == 31 + 1
    assert len(pl.read_csv(months)) == 1_088
    assert "plotly" in page.read_text()[:200_000]
