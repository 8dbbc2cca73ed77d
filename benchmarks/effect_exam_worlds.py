"""Whether the marts give the panel, and so the effect, that the exams of a synthetic network have.

`python -m benchmarks.effect_exam_worlds` makes ten networks exam by exam (four with an effect, three
without, three confounded), lands them with their dirt, builds the marts, and compares the monthly
shares R06 and R08 of each party with those of the pre-dirt truth: a JSON line per network and
metric, and exit code 1 where a cell differs. Table: docs/go_live_effect.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from pipelines.defs.statistics.go_live_effects import GO_LIVES, SHOCKS, VALUES
from pipelines.statistics.effect_panel import Measure, panel_of, shock_months
from pipelines.statistics.go_live_effect import GoLiveEffect, estimate
from tests.demo_home import Home
from tests.truth_effect import shares
from tests.warehouse.conftest import Project

WORLDS = ("effect",) * 4 + ("null",) * 3 + ("confounded",) * 3
# Five years, so that a year follows the last go-live; each party reports in every month.
MONTHS, SCALE = 60, 0.002
MEASURES = (
    Measure("R06", "network_reporting", "decrease", "rate"),
    Measure("R08", "network_reporting", "increase", "rate"),
)
ROUNDING = 1e-12
NEEDED = ("+rpt_metrics_monthly", "+rpt_published_waits_monthly", "+dim_event", "+dim_party")


def built(folder: Path, project: Project, world: str, seed: int, scale: float) -> Home:
    """A network landed below `folder`, with the marts that the panels need."""
    home = Home(folder / "home", folder / "keys.json")
    wanted = ("--scale", str(scale), "--months", str(MONTHS), "--seed", str(seed), "--world", world)
    for arguments in (("keys", "create"), ("synthesise", "--as", "landing", *wanted)):
        done = home.imaging(*arguments)
        if done.returncode:
            raise subprocess.SubprocessError(done.stdout[-2000:] + done.stderr[-2000:])
    kinds = ("--resource-type", "model", "--resource-type", "seed")
    done = project.run(
        home.path / "landing", home.path / "warehouse.duckdb", "build", *kinds, "--select", *NEEDED
    )
    if not done.success:
        raise subprocess.SubprocessError(f"dbt build of {world} {seed}: {done.exception}")
    return home


def compared(home: Home) -> Iterator[dict[str, Any]]:
    """One row per measure: cells of both panels, how far apart, and the effect of both."""
    with duckdb.connect(str(home.path / "warehouse.duckdb"), read_only=True) as connection:
        values = connection.sql(VALUES).pl()
        go_lives, shocks = connection.sql(GO_LIVES).pl(), connection.sql(SHOCKS).pl()
    for measure in MEASURES:
        told = values.filter(pl.col("metric_id") == measure.metric_id)
        true = shares(home.path / "truth", measure.metric_id)
        both = told.join(
            true, on=("party_code", "month_on"), how="full", coalesce=True, suffix="_true"
        )
        lone = both.filter(pl.col("value").is_null() | pl.col("value_true").is_null())
        largest = float((both["value"] - both["value_true"]).abs().to_numpy().max())
        of_type = go_lives.filter(pl.col("go_live_type") == measure.go_live_type)
        go_live_on = dict(of_type.select("party_code", "go_live_on").iter_rows())
        effects = [
            _effect(measure, rows, go_live_on, shock_months(shocks))
            for rows in (told, true.with_columns(is_outside=pl.lit(False)))
        ]
        yield {
            "metric_id": measure.metric_id,
            "cells": len(both),
            "cells_of_one_side": len(lone),
            "largest_difference": largest,
            "att_of_marts": effects[0].att,
            "att_of_truth": effects[1].att,
            "ci": [effects[0].ci_low, effects[0].ci_high],
            "verdict": effects[0].verdict,
            "is_same": lone.is_empty()
            and largest <= ROUNDING
            and abs(effects[0].att - effects[1].att) <= ROUNDING
            and effects[0].verdict == effects[1].verdict,
        }


def _effect(
    measure: Measure, values: pl.DataFrame, go_live_on: dict[str, date], shocks: frozenset[date]
) -> GoLiveEffect:
    panel = panel_of(measure, values, go_live_on, shocks)
    return estimate(
        panel.rows,
        panel.go_live,
        improvement=measure.improvement,
        months_left_out=panel.months_left_out,
        generator=np.random.default_rng(0),
    )


def main() -> None:
    """Make and compare the networks; a JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=len(WORLDS), help="the first so many")
    parser.add_argument("--scale", type=float, default=SCALE)
    arguments = parser.parse_args()
    is_same = True
    with tempfile.TemporaryDirectory() as target:
        project = Project(Path(target))
        for seed, world in enumerate(WORLDS[: arguments.worlds], start=1):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                home = built(Path(folder), project, world, seed, arguments.scale)
                for row in compared(home):
                    is_same &= row["is_same"]
                    row |= {"world": world, "seed": seed}
                    row["seconds"] = round(time.perf_counter() - began)
                    sys.stdout.write(json.dumps(row) + "\n")
                    sys.stdout.flush()
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
