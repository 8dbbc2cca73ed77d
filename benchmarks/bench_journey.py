"""The journey of the demo, stage by stage: sources, harvest, build, publish.

The peer of the harvest is what any tool must at least do: read the same extracts with polars and
write them as Parquet, nothing validated and nothing pseudonymised, in the same process.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.report import write_report
from pipelines.demo import DEMO_SCALE
from pipelines.journey import execute, prepare
from pipelines.landing.keys import create_key_file
from pipelines.network import Network
from pipelines.settings import Settings
from pipelines.sources.inbox import deliveries

# The demo's stages after installation, on 2 cores.
AIM_SECONDS = 240.0
QUICK_SCALE = DEMO_SCALE / 10


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the demo's exams")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    scale = QUICK_SCALE if arguments.quick else DEMO_SCALE
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), scale)
    write_report(document, as_json=arguments.json)


def measure(folder: Path, scale: float) -> dict[str, Any]:
    """Run every stage once in `folder`; cold start of each library included."""
    from pipelines.defs.resources import Journal
    from pipelines.synthetic import generate

    key_file = folder / "keys.json"
    create_key_file(key_file)
    settings = Settings(home=folder / "home", key_file=key_file, is_synthetic=True)
    prepare(settings)
    network, journal = Network.load(settings.seeds), Journal()
    seconds: dict[str, float] = {}
    inbox, truth = settings.inbox_dir, folder / "truth"
    _timed(seconds, "sources", lambda: generate(network, inbox, truth, scale=scale))
    for stage in ("harvest", "build", "publish"):
        outcome = _timed(seconds, stage, lambda name=stage: execute(settings, name, journal))
        if not outcome.succeeded:
            raise SystemExit(f"stage {stage} failed: {outcome.messages}")
    copied = _timed(seconds, "polars copy of the extracts", lambda: _copy(settings, folder))
    extract = next(e for e in journal.entries if e.name == "ris_extract")
    results = [_result(f"{name}_seconds", "s", value) for name, value in seconds.items()]
    results += [
        _result(f"harvest_{e.name}_rows_per_second", "rows/s", e.rows / e.seconds)
        for e in journal.entries
        if e.stage == "harvest" and e.rows
    ]
    total = sum(seconds[name] for name in ("sources", "harvest", "build", "publish"))
    results.append(_result("journey_seconds", "s", total))
    results.append(_result("extract_records", "rows", float(copied)))
    ratios = {"extract_harvest_over_polars_copy": extract.seconds / seconds[COPY]}
    if scale == DEMO_SCALE:
        ratios["journey_over_aim"] = total / AIM_SECONDS
    return {"machine": machine(), "scale": scale, "results": results, "ratios": ratios}


COPY = "polars copy of the extracts"


def _timed(seconds: dict[str, float], name: str, run: Callable[[], Any]) -> Any:
    began = time.monotonic()
    outcome = run()
    seconds[name] = time.monotonic() - began
    return outcome


def _copy(settings: Settings, folder: Path) -> int:
    """The peer: every extract to Parquet with polars, no rule checked."""
    rows = 0
    for delivery in deliveries(settings.inbox_dir, "ris_extract"):
        frame = pl.read_csv(delivery.path, infer_schema=False)
        frame.write_parquet(folder / f"{delivery.name}.parquet", compression="zstd")
        rows += len(frame)
    return rows


def _result(name: str, unit: str, value: float) -> dict[str, Any]:
    return {"name": name.replace(" ", "_"), "unit": unit, "value": round(value, 3)}


def machine() -> dict[str, Any]:
    """What the figures were measured on; memory_mb is all of the machine's."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": next(names, ""),
        "memory_mb": pages // 1_000_000,
        "python": platform.python_version(),
        "system": platform.system(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    main()
