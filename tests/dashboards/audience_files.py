"""The published build of this room as files for the demo, the network and analysts."""

import json
import shutil
from pathlib import Path

import duckdb
import polars as pl
import published_build

from pipelines.publishing.disclosure import WITHHELD, Disclosure, follow, tell_counts, told_values
from pipelines.publishing.suppression import Limits

LIMITS = Limits(1, 4, 5, needs_secondary=True)
# Tables of which the invented build has every column that the rule needs.
COUNTED = (
    "marts.rpt_metrics_monthly",
    "marts.rpt_waiting_times_monthly",
    "marts.rpt_throughput_daily",
    "statistics.turnaround_survival",
    "statistics.metric_estimates",
)


def masked(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables of the file of the network, each masked one with its marker."""
    disclosure = Disclosure.load()
    told = {name: tell_counts(tables[name], disclosure.counts[name], LIMITS) for name in COUNTED}
    told |= _shared(tables, disclosure)
    values = told_values(told[COUNTED[0]], told[COUNTED[-1]])
    points, rule = tables["statistics.spc_points"], disclosure.follows["statistics.spc_points"][0]
    rule = rule | {"empties": [name for name in rule["empties"] if name in points.columns]}
    rule = {key: part for key, part in rule.items() if key != "series"}
    told["statistics.spc_points"] = follow(points, rule, values)
    for name in tables:
        if name in disclosure.empty:
            told[name] = tables[name].clear()
        elif disclosure.is_masked(name) and name not in told:
            told[name] = tables[name].with_columns(pl.lit(None, pl.String).alias(WITHHELD))
    return told


def _shared(tables: dict[str, pl.DataFrame], disclosure: Disclosure) -> dict[str, pl.DataFrame]:
    """Reporting across sites, whose years and months are told together."""
    names = [f"marts.rpt_cross_site_reporting_{grain}" for grain in ("yearly", "monthly")]
    figures = disclosure.counts[names[1]]["figures"]
    frames = {name: tables[name] for name in names}
    frames[names[1]] = frames[names[1]].with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in figures
    )
    told = disclosure.tell(frames, LIMITS)
    return {names[0]: told[names[0]], names[1]: told[names[1]].drop(figures)}


def write(folder: Path, published: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Write all three into a folder, from the folder of the demo alone."""
    shutil.copytree(published, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    demo = folder / manifest["audiences"]["demo"]["file"]
    for name in ("network", "analyst"):
        shutil.copy(demo, folder / f"warehouse_x_{name}.duckdb")
        manifest["audiences"][name] = {
            "file": f"warehouse_x_{name}.duckdb",
            "suppressed": name == "network",
            "kind": name,
            "rule": "counts of 1 to 4 are hidden",
        }
    with duckdb.connect(str(folder / "warehouse_x_network.duckdb")) as connection:
        for name, frame in masked(tables).items():
            connection.register("incoming", frame)
            connection.execute(f"create or replace table {name} as from incoming")
    published_build.write_json(folder / "manifest.json", manifest)
