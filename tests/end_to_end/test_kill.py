"""Kill -9 in the middle of build and publish, run again: the published tables are the same."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from pipelines.landing.writer import PARSER_VERSION
from tests.demo_home import HANG_SECONDS, ROOT
from tests.published_files import differences

# Seeded, so that a failure can be repeated: after how many started dbt nodes, or how long after
# publication began, the process group is killed.
SEED = 20201016
MOMENTS = random.Random(SEED)
BUILD_MOMENTS = sorted(MOMENTS.sample(range(3, 150), 3))
PUBLISH_DELAYS = [round(MOMENTS.uniform(0.0, 0.25), 3) for _ in range(2)]
NODE = re.compile(r"(\d+) of (\d+) START")


def start(home):
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "--force"],
        cwd=ROOT,
        env=home.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(reached, process, what):
    deadline = time.monotonic() + HANG_SECONDS
    while not reached():
        assert process.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < deadline, f"{what} was not reached"
        time.sleep(0.005)


def started_nodes(log):
    return len(NODE.findall(log.read_text())) if log.exists() else 0


def unpublished(demo, target):
    """A home in which everything has landed and nothing is built."""
    home = demo.copy(target, without=("published", "warehouse.duckdb*", "build*.json", "logs"))
    home.published.mkdir()
    return home


def test_a_harvest_killed_midway_is_made_good_by_the_next_run(demo, tmp_path):
    """What a killed harvest left must be counted once, with a receipt."""
    parts = ("landing", "quarantine", "gate", "published", "warehouse.duckdb*", "build*.json")
    home = demo.copy(tmp_path / "home", without=(*parts, "logs"))
    landing = home.path / "landing" / "dicom_headers"
    process = start(home)
    wait_until(
        lambda: len(list(landing.glob(f"*.p{PARSER_VERSION}.parquet"))) >= 5, process, "landing"
    )
    kill(process)
    receipts = home.path / "landing" / "receipts"
    assert not list(receipts.glob("dicom-*.parquet")), "the kill came after the receipt"
    again = home.imaging("run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert differences(demo.published_file(), home.published_file()) == []


@pytest.mark.parametrize("nodes", BUILD_MOMENTS)
def test_a_build_killed_midway_is_made_good_by_the_next_run(demo, tmp_path, nodes):
    """A crash in the build must leave nothing that the next run trusts."""
    home = unpublished(demo, tmp_path / "home")
    log = home.path / "logs" / "run.log"
    process = start(home)
    wait_until(lambda: started_nodes(log) >= nodes, process, f"dbt node {nodes}")
    kill(process)
    assert started_nodes(log) >= nodes, "the log does not prove that work had begun"
    assert not (home.path / "build.json").exists(), "a half build may not carry a stamp"
    assert not (home.published / "manifest.json").exists()
    again = home.imaging("run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert differences(demo.published_file(), home.published_file()) == []


@pytest.mark.parametrize("delay", PUBLISH_DELAYS)
def test_a_publication_killed_midway_is_made_good_by_the_next_run(demo, tmp_path, delay):
    """A crash in the publication must never leave half a file under a served name."""
    home = unpublished(demo, tmp_path / "home")
    process = start(home)
    begun = lambda: any(home.published.glob(".demo_*.tmp"))  # noqa: E731
    wait_until(begun, process, "publication")
    time.sleep(delay)
    kill(process)
    assert (home.path / "build.json").exists(), "publication begins after a complete build"
    again = home.imaging("run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert differences(demo.published_file(), home.published_file()) == []
    assert not list(home.published.glob(".*.tmp")), "abandoned files are cleared"
    served = {audience["file"] for audience in home.manifest()["audiences"].values()}
    assert {p.name for p in home.published.glob("*.duckdb")} == served
