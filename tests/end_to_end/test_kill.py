"""Kill -9 in the middle of harvest, build and publish, run again: the published tables are the same."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from pipelines.landing.writer import PARSER_VERSION
from tests.demo_home import HANG_SECONDS, ROOT, Home
from tests.published_files import differences

# Seeded, so that a failure can be repeated: after how many landing files, after how many started dbt
# nodes, or how long after publication began, the process group is killed.
SEED = 20201016
MOMENTS = random.Random(SEED)
KILLS = [
    ("harvest", 5),
    *(("build", nodes) for nodes in sorted(MOMENTS.sample(range(3, 150), 3))),
    *(("publish", round(MOMENTS.uniform(0.0, 0.25), 3)) for _ in range(2)),
]
# One home suffers a kill of each stage, one after another; in full, each moment has a home of its own.
SAMPLE = [
    next(kill for kill in KILLS if kill[0] == stage) for stage in ("harvest", "build", "publish")
]
WRECKS = [[kill] for kill in KILLS] if os.environ.get("IMAGING_TEST_FULL") else [SAMPLE]
NODE = re.compile(r"(\d+) of (\d+) START")


def start(home: Home) -> subprocess.Popen:
    """Harvest, build and publish; publish alone where a complete build waits for it."""
    built = (home.path / "build.json").exists()
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *(["publish"] if built else ["run", "--force"])],
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


def kill_harvest(home: Home, files: int) -> None:
    """Kill a harvest after so many landing files of headers."""
    landing = home.path / "landing"
    process = start(home)
    landed = f"*.p{PARSER_VERSION}.parquet"
    wait_until(
        lambda: len(list((landing / "dicom_headers").glob(landed))) >= files, process, "landing"
    )
    kill(process)
    receipts = list((landing / "receipts").glob("dicom-*.parquet"))
    assert not receipts, "the kill came after the receipt"


def kill_build(home: Home, nodes: int) -> None:
    """Kill a build after so many started dbt nodes."""
    log = home.path / "logs" / "run.log"
    before = log.stat().st_size if log.exists() else 0

    def started_nodes() -> int:
        return len(NODE.findall(log.read_bytes()[before:].decode())) if log.exists() else 0

    process = start(home)
    wait_until(lambda: started_nodes() >= nodes, process, f"dbt node {nodes}")
    kill(process)
    assert started_nodes() >= nodes, "the log does not prove that work had begun"
    assert not (home.path / "build.json").exists(), "a half build may not carry a stamp"
    assert not (home.published / "manifest.json").exists()


def kill_publication(home: Home, delay: float) -> None:
    """Kill a publication so many seconds after its first file was begun."""
    process = start(home)
    begun = f".demo_*.{process.pid}.tmp"
    wait_until(lambda: any(home.published.glob(begun)), process, "publication")
    time.sleep(delay)
    kill(process)
    assert (home.path / "build.json").exists(), "publication begins after a complete build"
    assert not (home.published / "manifest.json").exists()


KILL = {"harvest": kill_harvest, "build": kill_build, "publish": kill_publication}


def make_good(home: Home, *verbs: str) -> None:
    """Go on stage by stage, as an operator may."""
    for verb in verbs:
        again = home.imaging(verb)
        assert again.returncode == 0, f"{verb}: {again.stderr[-3000:]}"


@pytest.mark.parametrize("kills", WRECKS, ids=str)
def test_what_was_killed_is_made_good_by_the_next_run(demo, tmp_path, kills):
    """What a crash left must be counted once; no half build or file may be trusted or served."""
    parts = ("landing", "quarantine", "gate", "published", "warehouse.duckdb*", "build*.json")
    home = demo.copy(tmp_path / "home", without=(*parts, "logs"))
    home.published.mkdir()
    for stage, moment in kills:
        if stage == "publish":
            make_good(home, "harvest", "build")
        KILL[stage](home, moment)
    built = (home.path / "build.json").exists()
    make_good(home, *(() if built else ("harvest", "build")), "publish")
    assert differences(demo.published_file(), home.published_file()) == []
    assert not list(home.published.glob(".*.tmp")), "abandoned files are cleared"
    served = {audience["file"] for audience in home.manifest()["audiences"].values()}
    assert {p.name for p in home.published.glob("*.duckdb")} == served
