"""All control charts of a network: read from the marts, judged, stored; against one chart at a time.

The task is ten years of every metric of the registry for a network, eight parties and eight trusts,
over All and nine modality groups, with go-lives, targets and 2 % of the months missing, in a
warehouse file of its own. The peer does what a reader of the rules would write first: a loop that
calls `spc.analyse` for each series. It is timed on a sample, over the same values, and its points
are compared with those that were stored; its time for all series is extrapolated from the sample.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import polars as pl

from benchmarks.bench_journey import machine
from benchmarks.report import write_report
from pipelines.defs.statistics.spc import store_spc
from pipelines.metrics import Metric, read_registry
from pipelines.settings import Settings, export_environment
from pipelines.statistics import spc
from pipelines.statistics.control_charts import MONTH, SERIES
from pipelines.warehouse import ensure_manifest

ROUNDS = 3
SEED = 20261127
MONTHS, QUICK_MONTHS = 120, 24
SAMPLE, QUICK_SAMPLE = 600, 60
PARTIES = 8
MODALITIES = ("All", *(f"Modality {number}" for number in range(1, 10)))
MISSING = 0.02
FIRST_YEAR, GO_LIVE_YEAR = 2016, 2017
AIMS = {"store_seconds": 60.0}


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two years, a tenth of the sample")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    months, sample = (QUICK_MONTHS, QUICK_SAMPLE) if arguments.quick else (MONTHS, SAMPLE)
    write_report(measure(months, sample), as_json=arguments.json)


def measure(months: int, sample: int) -> dict[str, Any]:
    """Seconds of all charts, and of the peer for as many, in turns."""
    settings = Settings()
    export_environment(settings)
    registry = read_registry(ensure_manifest(settings.dbt_project))
    ours, theirs, parts = [], [], []
    with TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "w.duckdb")) as opened:
        values = fill(opened, registry, months)
        for number in range(ROUNDS):
            began = time.perf_counter()
            stored = store_spc(opened, registry)
            ours.append(time.perf_counter() - began)
            chosen = values.select(SERIES).unique(maintain_order=True)
            chosen = chosen.sample(sample // ROUNDS, seed=SEED + number)
            asked = values.join(chosen, on=SERIES, maintain_order="left").partition_by(
                SERIES, as_dict=True
            )
            began = time.perf_counter()
            found = {key: one_chart(key, rows, registry) for key, rows in asked.items()}
            seconds = time.perf_counter() - began
            theirs.append(seconds / len(found) * stored["spc_charts"])
            parts.append(found)
        differing = sum(
            not same_points(opened, key, chart) for found in parts for key, chart in found.items()
        )
    return {
        "machine": machine(),
        "months": months,
        "sampled_series": sum(len(found) for found in parts),
        "results": [
            {"name": "series", "unit": "", "value": stored["spc_charts"]},
            {"name": "points", "unit": "", "value": stored["spc_points"]},
            {
                "name": "store",
                "unit": "s",
                "value": median(ours),
                "least": min(ours),
                "most": max(ours),
            },
            {
                "name": "analyse_each_series",
                "unit": "s, from a sample, without reading and storing",
                "value": median(theirs),
                "least": min(theirs),
                "most": max(theirs),
            },
            {"name": "differing_series", "unit": "", "value": differing},
        ],
        "ratios": {
            "store_seconds": median(ours),
            "analyse_over_store": median(t / o for t, o in zip(theirs, ours, strict=True)),
        },
        "aims": AIMS,
    }


def go_live(party: int) -> date:
    """The day a party goes live: one every second month."""
    return date(GO_LIVE_YEAR, 1 + party, 14)


def rebase_month(party: int) -> date:
    """The first whole month after it."""
    return date(GO_LIVE_YEAR, 2 + party, 1)


def fill(
    connection: duckdb.DuckDBPyConnection, registry: Sequence[Metric], months: int
) -> pl.DataFrame:
    """Write the tables that the charts are read from; returns the values of the mart, sorted."""
    rng = np.random.default_rng(SEED)
    places = [("network", "NETWORK")]
    places += [(level, f"P{n}") for level in ("party", "trust") for n in range(PARTIES)]
    calendar = [date(FIRST_YEAR + n // 12, n % 12 + 1, 1) for n in range(months)]
    keys = [
        (metric.metric_id, *place, modality)
        for metric in registry
        for place in places
        for modality in MODALITIES
        if metric.metric_id != "R01"
    ]
    count = len(keys) * months
    values = (
        pl.DataFrame(keys, schema=list(SERIES), orient="row")
        .join(pl.DataFrame({MONTH: calendar}), how="cross")
        .with_columns(pl.Series("value", rng.normal(100.0, 5.0, count)))
        .filter(pl.Series(rng.random(count) >= MISSING))
        .sort(*SERIES, MONTH)
    )
    medians = values.filter(pl.col("metric_id") == keys[0][0]).with_columns(metric_id=pl.lit("R01"))
    events = pl.DataFrame(
        [(f"P{n}", "go_live_viewing", go_live(n), f"Party {n}") for n in range(PARTIES)],
        schema=["scope_code", "event_type", "event_on", "label"],
        orient="row",
    )
    targets = pl.DataFrame(
        {"metric_id": [metric.metric_id for metric in registry]},
    ).with_columns(
        scope=pl.lit("national"),
        comparator=pl.lit("at_most"),
        target_value=100.0,
        valid_from=pl.lit(None, pl.Date),
        valid_to=pl.lit(None, pl.Date),
        preference=1,
        source=pl.lit("benchmark"),
        source_status=pl.lit("design"),
    )
    parties = pl.DataFrame({"party_code": [f"P{n}" for n in range(PARTIES)]}).with_columns(
        trust_code=pl.col("party_code"), valid_from=date(2000, 1, 1)
    )
    for name, table in {
        "marts.rpt_metrics_monthly": values,
        "statistics.metric_estimates": medians,
        "marts.dim_event": events,
        "marts.dim_target": targets,
        "intermediate.int_party_trusts": parties,
    }.items():
        connection.execute(f"create schema if not exists {name.split('.')[0]}")
        connection.register("given", table.to_arrow())
        connection.execute(f"create table {name} as from given")
        connection.unregister("given")
    return values


def one_chart(key: tuple[Any, ...], rows: pl.DataFrame, registry: Sequence[Metric]) -> spc.SpcChart:
    """The chart of one series, from its own call of `spc.analyse`."""
    metric, level, place, _ = key
    known = dict(zip(rows[MONTH].to_list(), rows["value"].to_list(), strict=True))
    dates = pl.date_range(min(known), max(known), "1mo", eager=True).to_list()
    return spc.analyse(
        [known.get(month) for month in dates],
        dates,
        improvement=next(one.improvement for one in registry if one.metric_id == metric),
        target=100.0,
        rebase=[] if level == "network" else [rebase_month(int(place[1:]))],
    )


def same_points(
    connection: duckdb.DuckDBPyConnection, key: tuple[Any, ...], chart: spc.SpcChart
) -> bool:
    """Whether the points that were stored of a series are those of its chart."""
    stored = connection.sql(
        "select * exclude (metric_id, org_level, org_code, modality_group) "
        "from statistics.spc_points where (metric_id, org_level, org_code, modality_group) = "
        "(?, ?, ?, ?) order by period_start_on",
        params=list(key),
    ).pl()
    return stored.rename({MONTH: "date"}).equals(chart.points)


if __name__ == "__main__":
    main()
