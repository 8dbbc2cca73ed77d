"""Clocks of the scanners: what a device writes is not what the radiology system writes.

A clock is exact, or it drifts until service sets it again; a few are left behind when the clocks
change, until somebody mends them. A device that sends a time zone knows of the change by itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY
from pipelines.synthetic.clocks import instant, london
from pipelines.synthetic.period import Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS = ("exact", "drift", "step", "dst")
_LEAST_DRIFT_SHARE = 0.02  # a clock that is not exact drifts at least this share of the usual

_SCHEMA = {
    "station_name": pl.String,
    "valid_from": pl.Int64,
    "valid_to": pl.Int64,
    "offset_seconds": pl.Float64,
    "drift_seconds_per_day": pl.Float64,
    "kind": pl.String,
}


def simulate_clocks(
    stations: Mapping[str, bool], period: Period, habits: Mapping[str, float], seed: int
) -> pl.DataFrame:
    """One row per period of a device's clock within the live weeks, without gaps.

    `stations` are the station names with whether the device knows its time zone. Columns:
    station_name, valid_from, valid_to (UTC seconds), offset_seconds (what the clock shows less
    the London wall clock, at the start), drift_seconds_per_day, kind: exact, drift, step (since
    service set the clock), dst (left behind at a clock change).
    """
    rng = np.random.default_rng([seed, 50])
    names = list(stations)
    is_exact = rng.random(len(names)) < habits["exact_clock_rate"]
    changes = _missed_changes(names, is_exact, stations, period, habits, rng)
    rows: list[tuple[Any, ...]] = []
    for name, exact in zip(names, is_exact.tolist(), strict=True):
        if exact:
            rows.append((name, period.cutoff, period.end, 0.0, 0.0, "exact"))
        else:
            rows += _drifting(name, changes.get(name, []), period, habits, rng)
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _missed_changes(
    names: list[str],
    is_exact: np.ndarray,
    stations: Mapping[str, bool],
    period: Period,
    habits: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, list[tuple[int, int, int]]]:
    """By device: from and until when it is left behind, and by how much."""
    able = [name for name, exact in zip(names, is_exact, strict=True) if not exact]
    able = [name for name in able if not stations[name]]
    longest = int(habits["longest_days_until_mended"])
    found: dict[str, list[tuple[int, int, int]]] = {}
    if not able:
        return found
    count = max(1, round(habits["missed_clock_change_rate"] * len(able)))
    for change, seconds in calendar.clock_changes(period.cutoff - longest * DAY, period.end):
        for place in rng.choice(len(able), min(count, len(able)), replace=False).tolist():
            until = change + int(rng.integers(5 * DAY, longest * DAY))
            found.setdefault(able[place], []).append((change, until, -seconds))
    return found


def _drifting(
    name: str,
    missed: list[tuple[int, int, int]],
    period: Period,
    habits: Mapping[str, float],
    rng: np.random.Generator,
) -> Iterable[tuple[Any, ...]]:
    usual = habits["drift_seconds_per_day"]
    size = usual * float(np.exp(habits["drift_spread"] * rng.standard_normal()))
    size = min(max(size, _LEAST_DRIFT_SHARE * usual), habits["largest_drift_seconds_per_day"])
    drift = round(size if rng.random() < 0.5 else -size, 3)
    between = habits["days_between_services"]
    # The last service before the live weeks, then those within them, at no hour in particular.
    set_at = [period.cutoff - int(rng.exponential(between) * DAY)]
    while set_at[-1] < period.end:
        set_at.append(set_at[-1] + int((0.25 + rng.exponential(0.75)) * between * DAY))
    for begun, ended in pairwise(set_at):
        left = round(float(rng.normal(0, habits["set_within_seconds"])), 1)
        if ended <= period.cutoff:
            continue
        # Service that sets a clock also mends a missed change.
        behind = [(a, min(b, ended), s) for a, b, s in missed if begun <= a < ended]
        cuts = sorted({begun, ended, *(a for a, _, _ in behind), *(b for _, b, _ in behind)})
        for start, end in pairwise(cuts):
            start, end = max(start, period.cutoff), min(end, period.end)
            if start >= end:
                continue
            wrong = sum(s for a, b, s in behind if a <= start < b)
            kind = "dst" if wrong else "step" if begun > period.cutoff else "drift"
            offset = round(left + drift * (start - begun) / DAY + wrong, 1)
            yield (name, start, end, offset, drift, kind)


def seconds_ahead(rows: pl.DataFrame, moment: str, clocks: pl.DataFrame) -> pl.Series:
    """Whole seconds by which the device of each row is ahead; 0 where the device is not known."""
    found = (
        rows.select("station_name", moment)
        .with_row_index("_row")
        .sort(moment)
        .join_asof(
            clocks.drop("valid_to", "kind").sort("valid_from"),
            left_on=moment,
            right_on="valid_from",
            by="station_name",
            check_sortedness=False,
        )
        .sort("_row")
    )
    since = (found[moment] - found["valid_from"]) / DAY
    ahead = found["offset_seconds"] + found["drift_seconds_per_day"] * since
    return ahead.fill_null(0.0).round(0).cast(pl.Int64).alias("seconds_ahead")


def wall_seconds(moment: pl.Expr) -> pl.Expr:
    """Seconds of the London wall clock of UTC seconds, in any year."""
    return london(moment).dt.epoch("s")


def clock_truth(clocks: pl.DataFrame) -> pl.DataFrame:
    """The periods with instants: truth/device_clocks.parquet."""
    return clocks.select(
        "station_name",
        instant(pl.col("valid_from")).alias("valid_from_at"),
        instant(pl.col("valid_to")).alias("valid_to_at"),
        "offset_seconds",
        "drift_seconds_per_day",
        "kind",
    )
