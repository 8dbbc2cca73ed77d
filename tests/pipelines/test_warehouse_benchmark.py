"""What `imaging bench warehouse` counts. A finding here means that its figures are not what they say."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from benchmarks.bench_warehouse import (
    Place,
    Run,
    add_day,
    day_to_add,
    growth_exponent,
    nodes_of,
    start_home,
    summary,
)
from benchmarks.process_memory import MemoryWatch, peak_bytes, tree_bytes
from tests.warehouse.tiny_landing import event, receipt, write_landing_file

LAST_DAY, THE_DAY = date(2026, 3, 31), date(2026, 3, 18)
LANDED = datetime(2026, 3, 31, 23, tzinfo=UTC)


def test_growth_is_the_power_of_the_exams_by_which_time_grows():
    """Failing means that a model that grows with the square passes."""
    assert growth_exponent([1.0, 3.0, 10.0], [5.0, 15.0, 50.0]) == pytest.approx(1)
    assert growth_exponent([1.0, 3.0, 10.0], [2.0, 18.0, 200.0]) == pytest.approx(2)


# ------------------------------------------------------------ the day that is added


@pytest.fixture
def place(tmp_path) -> Place:
    """A network that delivered messages on its last day, the day and the day before, and more."""
    place = Place(tmp_path)
    landing = place.network / "landing"
    receipts = []
    for day in (LAST_DAY, THE_DAY, THE_DAY - timedelta(days=1)):
        sha = f"message{day:%m%d}"
        told = event("one", "exam_started", f"{day} 09:00", issuer_ods="RMC", source_sha=sha)
        told["landed_at"] = LANDED
        write_landing_file(landing, "imaging_events", f"{sha}.p2", [told])
        came = {"delivered_on": day, "landed_at": LANDED}
        receipts.append(receipt("imaging_events", sha, "hl7_RMC", 1) | came)
    later = {"delivered_on": date(2026, 4, 1), "landed_at": LANDED}
    receipts.append(receipt("workforce", "later", "workforce_RMC", 0) | later)
    write_landing_file(landing, "receipts", "all.p2", receipts)
    write_landing_file(landing, "rejects", "all.p2", [])
    (landing / "synthetic.json").write_text("{}")
    return place


def delivered(place: Place, home: Path) -> set[str]:
    """Sources with a receipt, which are those with a landing file."""
    landing = home / "landing"
    told = pl.read_parquet(landing / "receipts" / "*.parquet")["source_sha"]
    files = {path.name.partition(".")[0] for path in (landing / "imaging_events").glob("mess*")}
    assert set(told) == files
    return files


def test_the_home_begins_with_what_came_before_the_day(place):
    """Failing means that the day is in the full build already, and adding it costs nothing."""
    assert day_to_add(place) == THE_DAY
    start_home(place, THE_DAY)
    assert delivered(place, place.home) == {"message0317"}


def test_a_day_is_added_with_its_receipt_as_harvested_later(place):
    """Failing means that the day is none to a build that looks for what is new."""
    start_home(place, THE_DAY)
    add_day(place, THE_DAY)
    assert delivered(place, place.home) == {"message0317", "message0318"}
    for table in ("imaging_events", "receipts"):
        rows = pl.read_parquet(place.home / "landing" / table / "*.parquet")
        landed = dict(rows.select("source_sha", "landed_at").iter_rows())
        assert landed["message0318"] - landed["message0317"] == timedelta(days=1)


def test_the_kept_network_stays_as_it_was(place):
    """Failing means that the next run of the benchmark measures another network."""

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in place.network.rglob("*") if path.is_file()}

    before = content()
    start_home(place, THE_DAY)
    add_day(place, THE_DAY)
    assert content() == before


# ------------------------------------------------------------ a run


def result(unique_id: str, began: str, ended: str) -> dict:
    """An entry of dbt's run_results.json between two times of one day."""
    timing = {"started_at": f"2026-03-18T{began}Z", "completed_at": f"2026-03-18T{ended}Z"}
    seconds = instant(ended) - instant(began)
    return {"unique_id": unique_id, "execution_time": seconds, "timing": [timing]}


def instant(clock: str) -> float:
    return datetime.fromisoformat(f"2026-03-18T{clock}Z").timestamp()


def run() -> Run:
    """Ten seconds: dbt starts for four and works for four, two models side by side."""
    results = [
        result("seed.imaging.sites", "09:00:05", "09:00:06"),
        result("model.imaging.fct_exam", "09:00:06", "09:00:09"),
        result("model.imaging.int_views", "09:00:06", "09:00:08"),
        result("test.imaging.unique_fct_exam.abc", "09:00:08", "09:00:09"),
        {"unique_id": "model.imaging.skipped", "execution_time": 0.0, "timing": []},
    ]
    return Run(
        seconds=10.0,
        steps={"dbt": [(instant("09:00:01"), instant("09:00:09"))]},
        nodes=nodes_of([{"results": results}]),
        looks=[(instant("09:00:00"), 9_000_000), (instant("09:00:07"), 4_000_000)],
    )


def test_time_of_models_tests_and_start_up_are_apart():
    """Failing means that a slow start of dbt passes for a slow warehouse."""
    figures = run().figures({"events": 400})
    assert figures["model_seconds"] == 5
    assert (figures["test_seconds"], figures["seed_seconds"]) == (1, 1)
    assert (figures["build_seconds"], figures["dbt_start_up_seconds"]) == (4, 4)
    assert figures["outside_steps_seconds"] == 2
    assert figures["events_per_second"] == 100
    assert figures["built_models"] == 2


def test_memory_is_that_of_the_stage():
    """Failing means that the memory of another stage is told of the build."""
    figures = run().figures({"events": 400})
    assert (figures["dbt_peak_megabytes"], figures["peak_megabytes"]) == (4, 9)
    assert run().models()["fct_exam"] == {"seconds": 3, "peak_megabytes": 4}


def test_the_summary_names_the_models_that_take_the_time():
    """Failing means that the next work goes to a model that costs nothing."""

    def size(exams: int, seconds: float) -> dict:
        figures = run().figures({"events": exams}) | {"build_seconds": seconds}
        return {
            "asked_exams": exams,
            "exams": exams,
            "landing": {"seconds": 1.0},
            "full": figures,
            "day": figures | {"model_seconds": 0.1},
            "models": {
                "quick": {"seconds": 0.1, "peak_megabytes": 1.0},
                "square": {"seconds": exams**2 / 1000, "peak_megabytes": 1.0},
            },
            "day_models": {},
            "queries": [{"query": "a.b", "median_milliseconds": 7.0}],
        }

    found = summary([size(10, 1.0), size(20, 2.0)])
    assert found["ratios"]["growth_exponent"] == 1
    assert found["ratios"]["day_over_full"] == 0.02
    assert found["ratios"]["slowest_query_median_milliseconds"] == 7
    square = found["tables"]["slowest models at the largest size"][0]
    assert (square["model"], square["growth_exponent"], square["share"]) == ("square", 2, 0.8)
    assert json.dumps(found)


HOLDS_A_BUFFER = """
import sys
held = bytearray(b"x" * 50_000_000)
print("ready", flush=True)
sys.stdin.readline()
"""
STARTS_IT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS_A_BUFFER!r}])"


def test_memory_of_a_process_counts_what_it_has_started():
    """Failing means that the memory of dbt, which the command starts, is not seen."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_IT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with MemoryWatch(process.pid) as memory:
            assert tree_bytes(process.pid) > 50_000_000
        process.communicate("\n")
    assert peak_bytes(memory.looks, 0, float("inf")) > 50_000_000
    assert tree_bytes(process.pid) == 0
