"""The warehouse at one, three and ten million exams: build, gate, publish, an ordinary day, queries.

Each size is a synthetic network of eight years landed at once, and `imaging run` in a home of its
own: from an empty warehouse, then with the deliveries of one more day. What dbt, Dagster and the
published file tell of these runs is read afterwards; nothing is measured inside them. The landed
networks are kept in the folder of the benchmark and used again: they take longer than the builds.
What a size came to is kept there too, so that the largest can be measured in a night of its own.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmarks.bench_journey import machine
from benchmarks.dashboard_queries import time_queries
from benchmarks.process_memory import MemoryWatch, peak_bytes
from benchmarks.report import write_report
from pipelines.contracts import read_contracts
from pipelines.landing.keys import create_key_file
from pipelines.landing.writer import LandingStore
from pipelines.settings import PROJECT_ROOT, Settings

SIZES = (1_000_000, 3_000_000, 10_000_000)
QUICK_SIZES = (100_000, 300_000, 1_000_000)
# Exams performed in the eight years of the synthetic network at scale 1.
EXAMS_AT_SCALE_1 = 20_000_000
AIMS = {
    "growth_exponent": 1.1,
    "day_over_full": 0.03,
    "slowest_query_median_milliseconds": 50.0,
}
# What the network delivered from so many days before its last message on is left out, so that the
# day that is added lies in the middle of a month; in the demo's period it is a Wednesday.
DAYS_LEFT_OUT = 13
AUDIENCE = "demo"
SLOWEST_MODELS = 10
# A model that takes less at the smallest size has no growth: its time is that of a statement.
SHORTEST_SECONDS = 0.05
MEGABYTE = 1_000_000
KEPT_OF_LANDING = ("receipts", "rejects")


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the exams")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    parser.add_argument("--exams", type=int, nargs="+", help="other sizes, ascending")
    parser.add_argument("--folder", type=Path, help="default: bench_warehouse in IMAGING_HOME")
    parser.add_argument("--keep", action="store_true", help="keep the built homes")
    parser.add_argument(
        "--go-on", action="store_true", help="take the sizes measured before from the folder"
    )
    arguments = parser.parse_args()
    sizes = arguments.exams or (QUICK_SIZES if arguments.quick else SIZES)
    folder = arguments.folder or Settings().home / "bench_warehouse"
    document = measure(folder, sorted(sizes), keeps_homes=arguments.keep, goes_on=arguments.go_on)
    write_report(document, as_json=arguments.json)


def measure(
    folder: Path, sizes: Iterable[int], *, keeps_homes: bool = False, goes_on: bool = False
) -> dict[str, Any]:
    """Every size once, smallest first; ratios, aims, slowest models and queries of the largest.

    `goes_on` takes the sizes that the folder holds as measured, each with its `measured_at`.
    """
    measured = []
    for exams in sizes:
        place = Place(folder.resolve() / f"{exams}_exams")
        if goes_on and place.measured_note.exists():
            measured.append(json.loads(place.measured_note.read_text()))
            continue
        measured.append(measure_size(place, exams))
        place.measured_note.write_text(json.dumps(measured[-1]))
        if not keeps_homes:
            shutil.rmtree(place.home)
    return summary(measured)


def summary(sizes: list[dict[str, Any]]) -> dict[str, Any]:
    """The document of the sizes measured, ascending."""
    largest, queries = sizes[-1], sizes[-1]["queries"]
    slowest = queries[0]["median_milliseconds"]
    ratios = {
        "day_over_full": largest["day"]["model_seconds"] / largest["full"]["model_seconds"],
        "slowest_query_median_milliseconds": slowest,
    }
    missing = []
    if len(sizes) > 1:
        ratios |= {
            "growth_exponent": _exponent(sizes, lambda size: size["full"]["build_seconds"]),
            "growth_exponent_of_models": _exponent(
                sizes, lambda size: size["full"]["model_seconds"]
            ),
            "growth_exponent_of_memory": _exponent(
                sizes, lambda size: size["full"]["peak_megabytes"]
            ),
        }
    else:
        missing.append("growth: needs two sizes")
    return {
        "machine": machine(),
        "versions": {"duckdb": duckdb.__version__, "polars": pl.__version__},
        "sizes": sizes,
        "results": [line for size in sizes for line in _lines(size)],
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
        "aims": AIMS,
        "tables": {
            "slowest models at the largest size": _slowest_models(sizes),
            "slowest queries at the largest size": queries[:SLOWEST_MODELS],
        },
        "missing": missing,
    }


def growth_exponent(exams: list[float], values: list[float]) -> float:
    """Slope of a straight line through the logarithms: 1 is as the exams, 2 as their square."""
    logs = [[math.log(value) for value in series] for series in (exams, values)]
    return statistics.linear_regression(*logs).slope


def _exponent(sizes: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    return growth_exponent([size["exams"] for size in sizes], [value(size) for size in sizes])


def _lines(size: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of one size by name, value and unit."""
    units = {"seconds": "s", "megabytes": "MB", "per_second": "/s"}
    label, lines = f"{size['asked_exams'] / 1e6:g}m", []
    for part in ("landing", "full", "day"):
        for name, value in size[part].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                unit = next((unit for end, unit in units.items() if name.endswith(end)), "")
                lines.append({"name": f"{label}_{part}_{name}", "value": value, "unit": unit})
    return lines


def _slowest_models(sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per model that takes most at the largest size, with its share and growth."""
    by_size = [size["models"] for size in sizes]
    total = sum(model["seconds"] for model in by_size[-1].values())
    slowest = sorted(by_size[-1].items(), key=lambda item: -item[1]["seconds"])[:SLOWEST_MODELS]
    rows = []
    for name, model in slowest:
        row = {"model": name, "share": round(model["seconds"] / total, 3)} | model
        row["day_seconds"] = sizes[-1]["day_models"].get(name, {"seconds": 0.0})["seconds"]
        seconds = [models[name]["seconds"] for models in by_size if name in models]
        if len(seconds) > 1 and len(seconds) == len(sizes) and min(seconds) >= SHORTEST_SECONDS:
            exams = [size["exams"] for size in sizes]
            row["growth_exponent"] = round(growth_exponent(exams, seconds), 2)
        rows.append(row)
    return rows


# ------------------------------------------------------------ one size


@dataclass(frozen=True)
class Place:
    """Folders of one size: the landed network, which is kept, and the home that is built."""

    folder: Path

    @property
    def network(self) -> Path:
        """A home that holds the landed network and nothing else; never written to again."""
        return self.folder / "network"

    @property
    def home(self) -> Path:
        """The home that is measured."""
        return self.folder / "home"

    @property
    def project(self) -> Path:
        """The dbt project with the scanners of this network."""
        return self.folder / "dbt_project"

    @property
    def landed_note(self) -> Path:
        """What landing took; written once the network is whole."""
        return self.folder / "landed.json"

    @property
    def measured_note(self) -> Path:
        """What this size came to when it was last measured."""
        return self.folder / "measured.json"

    def settings(self, home: Path) -> Settings:
        """Settings of a home, with the key that the network was landed with."""
        key_file = self.folder / "keys.json"
        return Settings(home=home, key_file=key_file, dbt_project=self.project, is_synthetic=True)

    def environment(self, home: Path) -> dict[str, str]:
        """The same settings for a command; those of the caller's own home stay out."""
        settings = self.settings(home)
        others = {name: text for name, text in os.environ.items() if "IMAGING_" not in name}
        return others | {
            "IMAGING_HOME": str(home),
            "IMAGING_KEY_FILE": str(settings.key_file),
            "IMAGING_DBT_PROJECT": str(settings.dbt_project),
            "IMAGING_IS_SYNTHETIC": "true",
        }


def measure_size(place: Place, exams: int) -> dict[str, Any]:
    """Land the network unless it is there, build, add a day, build again, ask every query."""
    landing = landed(place, exams)
    day = day_to_add(place)
    start_home(place, day)
    copy_project(place)
    full = measured_run(place)
    counts = counts_of(place)
    add_day(place, day)
    ordinary = measured_run(place)
    return {
        "asked_exams": exams,
        "exams": counts["exams"],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "landing": landing,
        "full": full.figures(counts) | counts | sizes_of(place),
        "day": ordinary.figures(counts_of(place)) | {"added_on": day.isoformat()},
        "models": full.models(),
        "day_models": ordinary.models(),
        "queries": time_queries(place.home / "published", AUDIENCE),
    }


def landed(place: Place, exams: int) -> dict[str, Any]:
    """Land a synthetic network of so many exams, or find it landed; what that took."""
    if place.landed_note.exists():
        return json.loads(place.landed_note.read_text()) | {"is_reused": True}
    shutil.rmtree(place.folder, ignore_errors=True)
    place.network.mkdir(parents=True)
    create_key_file(place.settings(place.network).key_file)
    copy_project(place, with_scanners=False)
    scale = exams / EXAMS_AT_SCALE_1
    command = ("synthesise", "--as", "landing", "--scale", str(scale))
    seconds, looks = _imaging(place, place.network, *command)
    files = list((place.network / "landing").glob("*/*.parquet"))
    found = {
        "seconds": round(seconds, 1),
        "peak_megabytes": _megabytes(peak_bytes(looks, 0, math.inf)),
        "landing_megabytes": _megabytes(sum(file.stat().st_size for file in files)),
        "landed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    place.landed_note.write_text(json.dumps(found))
    return found | {"is_reused": False}


def copy_project(place: Place, *, with_scanners: bool = True) -> None:
    """Copy today's dbt project; a large network needs more scanners than are registered."""
    shutil.rmtree(place.project, ignore_errors=True)
    made = shutil.ignore_patterns("target", "logs", "dbt_packages")
    shutil.copytree(PROJECT_ROOT / "dbt_project", place.project, ignore=made)
    if with_scanners:
        register = place.network / "truth" / "scanner_register.csv"
        shutil.copy2(register, place.project / "seeds" / "network" / register.name)


# ------------------------------------------------------------ what has landed, and the day


def day_to_add(place: Place) -> date:
    """The last day of messages but DAYS_LEFT_OUT."""
    receipts = _store(place, place.network).receipts()
    last = receipts.filter(feed_kind="hl7")["delivered_on"].max()
    assert isinstance(last, date)
    return last - timedelta(days=DAYS_LEFT_OUT)


def start_home(place: Place, day: date) -> None:
    """A new home that holds what was delivered before a day: landing files by hard link."""
    shutil.rmtree(place.home, ignore_errors=True)
    source, target = _store(place, place.network), _store(place, place.home)
    target.prepare()
    receipts = source.receipts().filter(pl.col("delivered_on") < day)
    for file in _files_of(source, receipts):
        os.link(file, target.root / file.relative_to(source.root))
    for table in KEPT_OF_LANDING:
        rows = source.read(table).join(receipts, on="source_sha", how="semi")
        target.write(table, "before_the_day", rows)
    stamp = "synthetic.json"
    os.link(source.root / stamp, target.root / stamp)
    if (quarantine := place.network / "quarantine").exists():
        shutil.copytree(quarantine, place.home / "quarantine", copy_function=os.link)


def add_day(place: Place, day: date) -> None:
    """Lay the deliveries of a day beside the others, harvested a day later than those."""
    source, target = _store(place, place.network), _store(place, place.home)
    receipts = source.receipts()
    newest = receipts["landed_at"].max()
    assert isinstance(newest, datetime)
    landed_at = pl.lit(newest + timedelta(days=1)).alias("landed_at")
    receipts = receipts.filter(delivered_on=day)
    for file in _files_of(source, receipts):
        name = file.name.partition(".")[0]
        target.write(file.parent.name, name, pl.read_parquet(file).with_columns(landed_at))
    for table in KEPT_OF_LANDING:
        rows = source.read(table).join(receipts, on="source_sha", how="semi")
        target.write(table, "the_day", rows.with_columns(landed_at))


def _store(place: Place, home: Path) -> LandingStore:
    settings = place.settings(home)
    return LandingStore(settings.landing_dir, read_contracts(settings.contracts / "landing"))


def _files_of(store: LandingStore, receipts: pl.DataFrame) -> list[Path]:
    """Landing files of the deliveries of these receipts: they are named by source."""
    wanted = set(receipts["source_sha"])
    return [
        file
        for file in sorted(store.root.glob("*/*.parquet"))
        if file.name.partition(".")[0] in wanted
    ]


# ------------------------------------------------------------ a run


@dataclass(frozen=True)
class Node:
    """A model, seed or test of dbt: instants are UTC epoch seconds."""

    name: str
    kind: str
    seconds: float
    began: float
    ended: float


@dataclass(frozen=True)
class Run:
    """A command `imaging run`: its seconds, its steps by stage, dbt's nodes, looks at its memory."""

    seconds: float
    steps: dict[str, list[tuple[float, float]]]
    nodes: list[Node]
    looks: list[tuple[float, int]]

    def figures(self, counts: dict[str, int]) -> dict[str, Any]:
        """Seconds and peak memory per stage, and rates over the rows that were built from."""
        by_kind: dict[str, float] = defaultdict(float)
        for node in self.nodes:
            by_kind[node.kind] += node.seconds
        busy = 0.0
        if self.nodes:
            busy = max(n.ended for n in self.nodes) - min(n.began for n in self.nodes)
        found: dict[str, Any] = {"command_seconds": self.seconds}
        in_steps = 0.0
        for stage, spans in self.steps.items():
            took = sum(ended - began for began, ended in spans)
            in_steps += took
            found[f"{stage}_seconds"] = took
            peak = max(peak_bytes(self.looks, *span) for span in spans)
            # A step may end between two looks.
            if peak:
                found[f"{stage}_peak_megabytes"] = _megabytes(peak)
        found |= {
            # From the first node to the last, two at a time: models, seeds and tests.
            "build_seconds": busy,
            "model_seconds": by_kind["model"],
            "seed_seconds": by_kind["seed"],
            # before the first model: which landing files are new, and their rows
            "hook_seconds": by_kind["operation"],
            "test_seconds": by_kind["test"],
            "dbt_start_up_seconds": found.get("dbt_seconds", 0.0) - busy,
            "outside_steps_seconds": self.seconds - in_steps,
            "peak_megabytes": _megabytes(peak_bytes(self.looks, 0, math.inf)),
            "built_models": len(self.models()),
        }
        if busy:
            found["events_per_second"] = counts["events"] / busy
        return {name: round(value, 2) for name, value in found.items()}

    def models(self) -> dict[str, dict[str, float | None]]:
        """Seconds by model, and the most memory of the whole tree while it ran (two run at once)."""
        found: dict[str, dict[str, float | None]] = {}
        for node in self.nodes:
            if node.kind == "model":
                peak = peak_bytes(self.looks, node.began, node.ended)
                found[node.name] = {
                    "seconds": round(node.seconds, 3),
                    "peak_megabytes": _megabytes(peak) if peak else None,
                }
        return found


def measured_run(place: Place) -> Run:
    """`imaging run` in the home, and what it left behind."""
    began = time.time()
    seconds, looks = _imaging(place, place.home, "run")
    results = [
        json.loads(path.read_text())
        for path in (place.project / "target").rglob("run_results.json")
        if path.stat().st_mtime >= began
    ]
    return Run(seconds, steps_of(place.home, began), nodes_of(results), looks)


def nodes_of(run_results: Iterable[dict[str, Any]]) -> list[Node]:
    """What dbt has executed, of one or more of its calls."""
    nodes = []
    for result in (result for one in run_results for result in one["results"]):
        spans = [
            (_epoch(timing["started_at"]), _epoch(timing["completed_at"]))
            for timing in result["timing"]
        ]
        if spans:
            kind, _, name, *_ = result["unique_id"].split(".")
            began, ended = min(s for s, _ in spans), max(e for _, e in spans)
            nodes.append(Node(name, kind, result["execution_time"], began, ended))
    return nodes


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


# Stage of a step by the begin of its key, which is that of its asset; any other step is its own stage.
STAGES = {
    "warehouse_models": "dbt",
    "statistics__": "statistics",
    "gate__": "gate",
    "publish__": "publish",
}
HARVEST = "harvest"


def steps_of(home: Path, since: float) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of every step of the Dagster runs of a home since an instant, by stage."""
    import dagster as dg

    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with dg.DagsterInstance.from_config(str(home / "dagster_home")) as instance:
        runs = instance.get_runs(dg.RunsFilter(created_after=datetime.fromtimestamp(since, UTC)))
        for run in runs:
            for step in instance.get_run_step_stats(run.run_id):
                begins = (stage for key, stage in STAGES.items() if step.step_key.startswith(key))
                if step.start_time and step.end_time:
                    span = (step.start_time, step.end_time)
                    found[next(begins, HARVEST)].append(span)
    return found


class CommandFailed(RuntimeError):
    """An `imaging` command of the benchmark failed; the message names it and its last lines."""


def _imaging(place: Place, home: Path, *words: str) -> tuple[float, list[tuple[float, int]]]:
    """Seconds of a command and looks at the memory of all its processes."""
    log, began = place.folder / f"{words[0]}.log", time.monotonic()
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words],
            cwd=PROJECT_ROOT,
            env=place.environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as command,
        MemoryWatch(command.pid) as memory,
    ):
        code = command.wait()
        seconds = time.monotonic() - began
    if code:
        last = "\n".join(log.read_text().splitlines()[-20:])
        raise CommandFailed(f"imaging {' '.join(words)} ended with code {code}, see {log}:\n{last}")
    return seconds, memory.looks


# ------------------------------------------------------------ what was built


def counts_of(place: Place) -> dict[str, int]:
    """Rows of events that have landed, exams performed in the warehouse."""
    settings = place.settings(place.home)
    events = settings.landing_dir / "imaging_events" / "*.parquet"
    with duckdb.connect(str(settings.warehouse_file), read_only=True) as connection:
        count = connection.execute(
            "select (select count(*) from read_parquet($events, union_by_name = true)), "
            "(select count(*) from marts.fct_exam where is_completed)",
            {"events": str(events)},
        ).fetchall()[0]
    return {"events": count[0], "exams": count[1]}


def sizes_of(place: Place) -> dict[str, float]:
    """Megabytes of the warehouse and of the newest published file."""
    settings = place.settings(place.home)
    published = max(settings.published_dir.glob("*.duckdb"), key=lambda file: file.stat().st_mtime)
    return {
        "warehouse_megabytes": _megabytes(settings.warehouse_file.stat().st_size),
        "published_megabytes": _megabytes(published.stat().st_size),
    }


def _megabytes(count: int) -> float:
    return round(count / MEGABYTE, 1)


if __name__ == "__main__":
    main()
