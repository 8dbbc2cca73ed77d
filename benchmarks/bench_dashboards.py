"""The pages in a real browser: cold, warm, a filter changed, and twenty readers at once.

Each page gets a fresh server. Its first visitor is the cold load, each further one (a new browser
context) a warm load. One reader then changes a filter through a list of options that nobody asked
for before (uncached), and through the same list again (cached). Then twenty readers open pages and
change filters at moments drawn from a fixed seed, all on one server; their browsers share the machine
with it. What ends the clock: see
page_clock. The peer is a bare Streamlit page with one stored query and one line (peer_page), loaded and
changed in turns with each page in the same browser: ratios are medians over its medians of these turns.
"""

import argparse
import asyncio
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import streamlit as st

try:
    from playwright.async_api import Browser, async_playwright
    from playwright.async_api import Error as BrowserError
except ModuleNotFoundError:
    raise SystemExit(
        "imaging bench dashboards drives a browser: run `make setup` and try again"
    ) from None

from benchmarks.bench_journey import machine
from benchmarks.bench_warehouse import Place, copy_project, landed, measured_run, start_home
from benchmarks.dashboard_queries import time_queries
from benchmarks.page_clock import PageFailed, Took, visitor
from benchmarks.process_memory import RESIDENT, MemoryWatch, peak_bytes
from benchmarks.report import write_report
from dashboards.components import filter_bar
from dashboards.contents import ENTRIES, Entry
from dashboards.data.published import Build, current_build
from dashboards.data.queries import effects, organisations
from dashboards.screenshots import CHROMIUM, ROOT
from pipelines.settings import Settings

EXAMS, QUICK_EXAMS = 27_000_000, 1_000_000
AUDIENCE = "demo"
SEED = 20261128
COLD, WARM = "load_cold", "load_warm"
UNCACHED, CACHED = "change_uncached", "change_cached"
PEER = "bare_page"
PATIENCE_SECONDS = 60
MEGABYTE = 1_000_000
AIMS = {
    "filter_change_p95_ms": 500.0,
    "filter_change_cached_p95_ms": 350.0,
    "warm_load_ms": 3000.0,
    "mart_query_median_ms": 50.0,
    "server_memory_mb": 600.0,
}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass(frozen=True)
class Amount:
    """How much is measured: warm loads and filter changes of a page, readers and their changes.

    Readers come within `arrive` seconds, and each waits up to `think` seconds before a change.
    """

    warm: int = 5
    changes: int = 12
    sessions: int = 20
    session_changes: int = 4
    arrive: float = 60.0
    think: float = 30.0
    query_repeats: int = 20


QUICK = Amount(warm=3, changes=6, session_changes=2)


@dataclass(frozen=True)
class Sample:
    """One load or change of a page, and the bare page in its turn beside it."""

    kind: str
    page: str
    took: Took
    peer: Took | None = None


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 million exams, fewer repeats")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    parser.add_argument("--exams", type=int, help="size of the synthetic network")
    parser.add_argument("--published", type=Path, help="a published folder that is there")
    parser.add_argument("--folder", type=Path, help="default: bench_warehouse in IMAGING_HOME")
    parser.add_argument("--pages", nargs="+", choices=[entry.view for entry in ENTRIES])
    parser.add_argument("--sessions", type=int, help="readers at once (20)")
    chosen = parser.parse_args()
    published = chosen.published
    if published is None:
        exams = chosen.exams or (QUICK_EXAMS if chosen.quick else EXAMS)
        folder = chosen.folder or Settings().home / "bench_warehouse"
        published = published_network(folder, exams)
    amount = QUICK if chosen.quick else Amount()
    if chosen.sessions is not None:
        amount = Amount(**vars(amount) | {"sessions": chosen.sessions})
    document = measure(published.resolve(), amount, chosen.pages)
    write_report(document, as_json=chosen.json)


@dataclass(frozen=True)
class DashboardsPlace(Place):
    """Folders of one size: the network of `bench warehouse`, and a home that is kept."""

    @property
    def home(self) -> Path:
        """Built of everything the network delivered, and used again."""
        return self.folder / "dashboards_home"


def published_network(folder: Path, exams: int) -> Path:
    """The published folder of a synthetic network of so many exams; made where it is not there."""
    place = DashboardsPlace(folder.resolve() / f"{exams}_exams")
    published = place.home / "published"
    if not (published / "manifest.json").exists():
        landed(place, exams)
        start_home(place, date.max)
        copy_project(place)
        measured_run(place)
    return published


def measure(published: Path, amount: Amount, pages: Sequence[str] | None = None) -> dict[str, Any]:
    """Every page, or those of these views, then all readers at once; samples, medians, ratios."""
    build = current_build(published, AUDIENCE)
    if build is None:
        raise SystemExit(f"{published} holds no published build")
    before = os.getloadavg()
    entries = [entry for entry in ENTRIES if not pages or entry.view in pages]
    seen = asyncio.run(_in_browser(build, published, entries, amount))
    queries = time_queries(published, AUDIENCE, amount.query_repeats)
    document = summary(seen, queries) | {
        "machine": machine(),
        "versions": {"duckdb": duckdb.__version__, "streamlit": st.__version__},
        "published": {"build_id": build.build_id},
        "amount": vars(amount),
    }
    document["results"] += [
        {"name": "exams", "unit": "in whole months of the file", "value": exams_in(build)},
        {"name": "load_average_before", "unit": "of the last minute", "value": before[0]},
        {"name": "load_average_after", "unit": "of the last minute", "value": os.getloadavg()[0]},
    ]
    return document


def exams_in(build: Build) -> int:
    """Exams performed in the whole months of a published file, as metric T01 counts them."""
    with duckdb.connect(str(build.path), read_only=True) as connection:
        found = connection.execute(
            "select sum(numerator) from marts.rpt_metrics_monthly "
            "where metric_id = 'T01' and org_level = 'network' and modality_group = 'All'"
        ).fetchone()
    return int(found[0] or 0) if found else 0


# ------------------------------------------------------------ what was found


@dataclass
class Seen:
    """What a run saw: samples, peak megabytes of the server of many readers, what failed."""

    samples: list[Sample] = field(default_factory=list)
    server_memory_mb: float = math.nan
    failed: list[str] = field(default_factory=list)


def summary(seen: Seen, queries: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and 95th percentiles over all pages, per page, and as ratios to the bare page."""
    found = seen.samples
    kinds = list(dict.fromkeys(sample.kind for sample in found))
    results = []
    for kind in kinds:
        took = [sample.took for sample in found if sample.kind == kind]
        for part in ("whole", "in_view", "script"):
            results.append(_result(f"{kind}_{part}", [getattr(one, part) for one in took]))
        if peers := _peers(found, kind):
            results.append(_result(f"{kind}_{PEER}", peers))
    figures = {
        "filter_change_p95_ms": _percentile(_whole(found, UNCACHED), 95),
        "filter_change_cached_p95_ms": _percentile(_whole(found, CACHED), 95),
        "warm_load_ms": _percentile(_whole(found, WARM), 50),
        "mart_query_median_ms": queries[0]["median_milliseconds"],
        "server_memory_mb": seen.server_memory_mb,
    }
    over_peer = {
        f"{kind}_over_{PEER}": _percentile(_whole(found, kind), 50) / _percentile(peers, 50)
        for kind in kinds
        if (peers := _peers(found, kind))
    }
    unknown = [f"{name}: no sample" for name, value in figures.items() if math.isnan(value)]
    parts = dict.fromkeys((sample.page, sample.kind) for sample in found)
    rows = [_row([one for one in found if (one.page, one.kind) == part], *part) for part in parts]
    return {
        "results": results,
        "ratios": {
            name: round(value, 2)
            for name, value in (figures | over_peer).items()
            if not math.isnan(value)
        },
        "aims": AIMS,
        "tables": {"milliseconds by page": rows, "slowest queries": queries[:10]},
        "missing": unknown + seen.failed,
    }


def _whole(found: Sequence[Sample], kind: str) -> list[float]:
    return [sample.took.whole for sample in found if sample.kind == kind]


def _peers(found: Sequence[Sample], kind: str) -> list[float]:
    return [sample.peer.whole for sample in found if sample.kind == kind and sample.peer]


def _percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was seen. Not a number where none was."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def _result(name: str, values: list[float]) -> dict[str, Any]:
    return {
        "name": f"{name}_ms",
        "unit": f"ms, p95 {_percentile(values, 95):,.0f}, of {len(values)}",
        "value": round(_percentile(values, 50), 1),
        "p95": round(_percentile(values, 95), 1),
        "least": round(min(values), 1),
        "most": round(max(values), 1),
    }


def _row(found: Sequence[Sample], page: str, kind: str) -> dict[str, Any]:
    took = [sample.took for sample in found]
    whole = [one.whole for one in took]
    row = {
        "page": page,
        "what": kind,
        "samples": len(took),
        "p50": round(_percentile(whole, 50)),
        "p95": round(_percentile(whole, 95)),
        "in_view_p50": round(_percentile([one.in_view for one in took], 50)),
        "script_p50": round(_percentile([one.script for one in took], 50)),
        "server_cpu_mean": round(statistics.mean(one.server_cpu for one in took)),
        "kilobytes": round(statistics.median(one.kilobytes for one in took)),
        "charts": took[-1].charts,
    }
    if peers := _peers(found, kind):
        row["bare_p50"] = round(_percentile(peers, 50))
        row["over_bare"] = round(row["p50"] / _percentile(peers, 50), 1)
    return row


# ------------------------------------------------------------ in the browser


async def _in_browser(
    build: Build, published: Path, entries: Sequence[Entry], amount: Amount
) -> Seen:
    seen = Seen()
    serve = partial(served, published, build)
    bare = _of_bare_page(build)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS
        )
        for entry in entries:
            await _one_page(browser, serve, entry.view, *steps(entry, build), bare, amount, seen)
        if amount.sessions:
            await _together(browser, serve, entries, build, amount, seen)
        await browser.close()
    return seen


def steps(entry: Entry, build: Build) -> tuple[str, list[str]]:
    """The filter of a page that is changed, and its options but the first, in a seeded order."""
    options: list[str] = []
    label = ""
    if entry.pick_organisation:
        label = "Organisation"
        options = [filter_bar.label(row) for row in organisations.choices(build).rows(named=True)]
    elif entry.pick_effect:
        label = "Metric"
        options = list(
            dict.fromkeys(
                f"{row['metric_id']} {row['metric']}"
                for row in effects.measures(build).rows(named=True)
            )
        )
    options = options[1:]
    random.Random(SEED).shuffle(options)
    return label, options


def _of_bare_page(build: Build) -> list[str]:
    """Options of the bare page but the first, which it shows when it is opened."""
    with duckdb.connect(str(build.path), read_only=True) as connection:
        found = connection.execute(
            "select distinct org_level, org_code from marts.rpt_metrics_monthly "
            "where metric_id = 'T01' order by all"
        ).fetchall()
    return [f"{level} {code}" for level, code in found[1:]]


async def _one_page(
    browser: Browser,
    serve: Callable[[str], Any],
    view: str,
    label: str,
    options: Sequence[str],
    bare: Sequence[str],
    amount: Amount,
    seen: Seen,
) -> None:
    """One page on a fresh server: one cold load, warm loads, then changes twice over.

    The bare page, on a fresh server too, takes its turn after each.
    """
    with serve(view) as server, serve(PEER) as peer, _told(seen, view):
        for number in range(1 + amount.warm):
            async with visitor(browser, server) as reader:
                took = await reader.open(view)
            async with visitor(browser, peer) as other:
                kind = WARM if number else COLD
                seen.samples.append(Sample(kind, view, took, await other.open("")))
        async with visitor(browser, server) as reader, visitor(browser, peer) as other:
            await reader.open(view)
            await other.open("")
            pairs = list(zip(options[: amount.changes], bare, strict=False))
            # Of a single option the second turn would change nothing.
            pairs = pairs if len(pairs) > 1 else []
            for kind in (UNCACHED, CACHED):
                for option, organisation in pairs:
                    took = await reader.choose(label, option)
                    beside = await other.choose("Organisation", organisation)
                    seen.samples.append(Sample(kind, view, took, beside))


async def _together(
    browser: Browser,
    serve: Callable[[str], Any],
    entries: Sequence[Entry],
    build: Build,
    amount: Amount,
    seen: Seen,
) -> None:
    """All readers at once on one warm server, and the peak of its memory."""
    with serve("readers") as server:
        async with visitor(browser, server) as first:
            await first.open(entries[0].view)
        with MemoryWatch(server[1], RESIDENT) as memory:
            chances = [random.Random(SEED + number) for number in range(amount.sessions)]
            readers = [
                _reader(browser, server, chance, chance.choice(entries), build, amount, seen)
                for chance in chances
            ]
            await asyncio.gather(*readers)
    seen.server_memory_mb = round(peak_bytes(memory.looks, 0, math.inf) / MEGABYTE, 1)


async def _reader(
    browser: Browser,
    server: tuple[str, int],
    chance: random.Random,
    entry: Entry,
    build: Build,
    amount: Amount,
    seen: Seen,
) -> None:
    """One of many: comes at some moment, opens a page, changes its filter now and then."""
    label, options = steps(entry, build)
    await asyncio.sleep(chance.uniform(0, amount.arrive))
    async with visitor(browser, server) as reader:
        with _told(seen, f"{entry.view}, among many readers"):
            took = await reader.open(entry.view)
            seen.samples.append(Sample("load_together", entry.view, took))
            for option in chance.sample(options, min(amount.session_changes, len(options))):
                await asyncio.sleep(chance.uniform(0, amount.think))
                took = await reader.choose(label, option)
                seen.samples.append(Sample("change_together", entry.view, took))


@contextmanager
def _told(seen: Seen, where: str) -> Iterator[None]:
    """A page that fails is named in the report and ends no run of an hour."""
    try:
        yield
    except (PageFailed, BrowserError) as failed:
        seen.failed.append(f"the rest of {where}: {failed}")


# ------------------------------------------------------------ the server


@contextmanager
def served(published: Path, build: Build, view: str) -> Iterator[tuple[str, int]]:
    """Address and process of a fresh server of the dashboards, or of the peer, while it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = "benchmarks/peer_page.py" if view == PEER else "dashboards/app.py"
    with tempfile.TemporaryDirectory() as home:
        others = {name: text for name, text in os.environ.items() if "IMAGING_" not in name}
        settings = {
            "IMAGING_HOME": home,
            "IMAGING_PUBLISHED": str(published),
            "IMAGING_AUDIENCE": AUDIENCE,
            "BENCH_PUBLISHED_FILE": str(build.path),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
        with (
            (Path(home) / "server.log").open("w") as log,
            subprocess.Popen(
                command, cwd=ROOT, env=others | settings, stdout=log, stderr=subprocess.STDOUT
            ) as server,
        ):
            try:
                _wait(f"http://127.0.0.1:{port}", server, Path(log.name))
                yield f"http://127.0.0.1:{port}", server.pid
            finally:
                server.terminate()


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text()}")


if __name__ == "__main__":
    main()
