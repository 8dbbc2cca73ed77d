"""How the interval of a benefit is carried from effect to pounds: by draws that lines share.

The error of the mean effect is one for all parties and months of its metric and the value of a unit
one for all lines with it; what a month of a party varies by itself is drawn for each. Method:
docs/benefit_evidence.md.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import PARTIES_LESS_ONE, UncertainLine, multipliers
from pipelines.statistics.intervals import SIGNIFICANCE

INTERVAL = (SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2)
LINE_MONTH = ("benefit_id", "party", "month")
ENDS = ("ci_low", "ci_high")
# A month of a party in the estimate of an effect.
CELL = ("measure_metric_id", "go_live_type", "party", "month")
# What the interval of an effect is made from.
OF_INTERVAL = ("value", "effect", "se", "month_spread")
POUND_ENDS = ("realised_low_gbp", "realised_high_gbp")


@dataclass(frozen=True)
class Drawn:
    """`count` draws of what pounds share.

    `scores`: standard scores of the error of an effect, by metric and type of go-live. `values`:
    pounds, by what `value_key` says of a unit value. `months`: standard normal draws of what a month
    varies by itself, by CELL; the same for every line with the metric.
    """

    count: int
    scores: dict[tuple[str, str], np.ndarray]
    values: dict[tuple[Any, ...], np.ndarray]
    months: dict[tuple[Any, ...], np.ndarray]


def draws_of(rows: pl.DataFrame, generator: np.random.Generator, draws: int) -> Drawn:
    """The draws of the rows of `benefits_by_month`; the same in whatever order they come."""
    # Drawn in the order of their names, so that the order of the rows changes nothing.
    degrees = (
        rows.group_by("measure_metric_id", "go_live_type")
        .agg(pl.col("degrees").max().fill_null(PARTIES_LESS_ONE))
        .sort("measure_metric_id", "go_live_type")
    )
    scores = {
        (metric, kind): generator.standard_t(freedom, draws)
        for metric, kind, freedom in degrees.iter_rows()
    }
    values = _drawn_values(rows, generator, draws)
    cells = rows.filter(pl.col("effect").is_not_null() & (pl.col("month_spread") > 0))
    cells = cells.select(CELL).unique().sort(CELL)
    # Thousands of months: half the memory is precise enough.
    own = generator.standard_normal((len(cells), draws), dtype=np.float32)
    return Drawn(draws, scores, values, dict(zip(cells.iter_rows(), own, strict=True)))


def effect_draws(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray:
    """Draws of the effect (row x draw) in the unit of the metric; nan where it has no interval.

    `rows` of `benefits_by_month`. The error is drawn in the scale of the estimate. Of a logarithm it
    multiplies the counterfactual, of which it takes away as much as the effect gains.
    """
    found = np.full((len(rows), drawn.count), np.nan)
    for place, row in enumerate(rows.iter_rows(named=True)):
        if any(row[name] is None or not math.isfinite(row[name]) for name in OF_INTERVAL):
            continue
        metric, kind = row["measure_metric_id"], row["go_live_type"]
        error = row["se"] * drawn.scores[metric, kind]
        if row["month_spread"]:
            error = error + row["month_spread"] * drawn.months[tuple(row[name] for name in CELL)]
        if row["is_logged"]:
            error = -(row["value"] - row["effect"]) * np.expm1(-error)
        found[place] = row["effect"] + error
    return found


def pound_draws(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray:
    """Draws of the realised pounds (row x draw); nan where a row has none or no interval."""
    return _pounds_of(rows, effect_draws(rows, drawn), drawn)


def _pounds_of(rows: pl.DataFrame, effects: np.ndarray, drawn: Drawn) -> np.ndarray:
    nothing = np.full(drawn.count, np.nan)
    keys = [value_key(row) for row in rows.iter_rows(named=True)]
    values = np.array([drawn.values.get(key, nothing) for key in keys])
    units, factors = (
        rows[name].cast(pl.Float64).fill_null(math.nan).to_numpy()[:, None]
        for name in ("units_of_effect", "price_factor")
    )
    return effects * units * values.reshape(effects.shape) * factors


def ends_of(rows: pl.DataFrame, drawn: Drawn) -> pl.DataFrame:
    """The rows that have an effect, with the ends of the intervals of effect and pounds."""
    parts = [pl.DataFrame(schema={name: rows.schema[name] for name in LINE_MONTH} | dict.fromkeys(
        (*ENDS, *POUND_ENDS), pl.Float64))]  # fmt: skip
    # A line at a time: the draws of all of them would not fit in memory.
    for line in rows.drop_nulls("effect").sort(LINE_MONTH).partition_by("benefit_id"):
        effects = effect_draws(line, drawn)
        ends = {}
        for names, told in (
            (ENDS, effects),
            (POUND_ENDS, _pounds_of(line, effects, drawn)),
        ):
            for name, end in zip(names, np.quantile(told, INTERVAL, axis=1), strict=True):
                ends[name] = pl.Series(name, end, dtype=pl.Float64).fill_nan(None)
        parts.append(line.select(LINE_MONTH).with_columns(**ends))
    return pl.concat(parts)


def drawn_sum(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray | None:
    """Draws of the pounds of rows together; None where one has no interval, or there is no row."""
    total = np.zeros(drawn.count)
    for line in rows.sort(LINE_MONTH).partition_by("benefit_id"):
        total = total + pound_draws(line, drawn).sum(axis=0)
    return None if rows.is_empty() or np.isnan(total).any() else total


def interval_of_sum(rows: pl.DataFrame, drawn: Drawn) -> tuple[float, float] | tuple[None, None]:
    """2.5 and 97.5 percentile of the pounds of some rows together.

    None where a row has no effect, no interval or no value, or there is no row.
    """
    total = drawn_sum(rows, drawn)
    if total is None:
        return None, None
    low, high = np.quantile(total, INTERVAL)
    return float(low), float(high)


def value_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What the draws of a unit value are kept by: assumption, low, value and high."""
    names = ("assumption_id", "unit_value_low_gbp", "unit_value_gbp", "unit_value_high_gbp")
    return tuple(row[name] for name in names)


def _drawn_values(
    rows: pl.DataFrame, generator: np.random.Generator, draws: int
) -> dict[tuple[Any, ...], np.ndarray]:
    keys = {value_key(row) for row in rows.iter_rows(named=True) if row["unit_value_gbp"]}
    drawn = {}
    for key in sorted(keys, key=str):
        _, low, mode, high = key
        line = UncertainLine(str(key), "benefit", (0.0,), low, mode, high)
        drawn[key] = multipliers(line, generator, draws)
    # What is worth nothing is worth nothing in every draw.
    return drawn | {
        value_key(row): np.zeros(draws)
        for row in rows.iter_rows(named=True)
        if row["unit_value_gbp"] == 0
    }
