"""One network delivered as files and landed at once: the marts must not tell which."""

from collections import Counter

import polars as pl
import pytest

from pipelines.settings import Settings
from tests.demo_home import SCALE, Home

# Faults that a series list can hold as well as image files.
OF_LISTS = [
    "qa_phantom", "migrated_prior", "resent_series", "device_clock_drift", "device_clock_step",
    "device_clock_dst",
]  # fmt: skip


@pytest.fixture(scope="module")
def landed(demo, tmp_path_factory) -> Home:
    """The demo's network, landed without files; test_archive_feed compares the marts of such a one."""
    home = Home(tmp_path_factory.mktemp("landed") / "home", demo.key_file)
    made = home.imaging("synthesise", "--as", "landing", "--scale", str(SCALE))
    assert made.returncode == 0, made.stderr[-3000:]
    return home


def test_the_faults_put_in_are_those_of_the_files(demo, landed):
    """Failing means that a landed network is dirtier, or cleaner, than its truth says."""
    counts = []
    for home in (demo, landed):
        planted = pl.read_parquet(home.path / "truth" / "dirt.parquet")
        listed = planted.filter(pl.col("kind").is_in(OF_LISTS))
        others = planted.filter(pl.col("feed").is_in(["ris_extract", "hl7"]))
        counts.append(
            [Counter(listed["kind"].to_list()), Counter(others.select("feed", "kind").iter_rows())]
        )
    assert counts[0] == counts[1]
    assert len(counts[0][0]) > 2


def test_landing_again_changes_nothing(landed):
    """Failing means that an interrupted landing cannot be taken up again."""
    names = sorted(p.name for p in (landed.path / "landing").rglob("*.parquet"))
    again = landed.imaging("synthesise", "--as", "landing", "--scale", str(SCALE))
    assert again.returncode == 0, again.stderr[-3000:]
    assert sorted(p.name for p in (landed.path / "landing").rglob("*.parquet")) == names


def test_an_invented_network_is_not_mixed_with_anything_else(landed):
    """Failing means that invented exams can end up among real ones."""
    other = landed.imaging("synthesise", "--as", "landing", "--scale", str(SCALE), "--seed", "1")
    assert other.returncode == 2
    assert "holds other records" in other.stderr


def test_a_home_that_was_filled_so_says_that_its_data_are_invented(landed):
    """Failing means that invented figures are published as real ones."""
    assert Settings(home=landed.path).holds_synthetic_data
