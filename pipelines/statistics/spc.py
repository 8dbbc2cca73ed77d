"""Control charts of individual values (XmR) by the "Making Data Count" rules of NHS England.

The rules are those of the R package NHSRplotthedots 0.2.2, which the worked cases of the tests were
computed with. Many series are judged in one call: points of all series stand behind each other in
flat arrays, and a rule looks back by shifting them; only sums are made group by group, exactly
(`math.fsum`), because a rounded mean can put a point that equals it on one side of it.

A control chart describes. That a programme caused a change, it cannot show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

Improvement = Literal["increase", "decrease", "neutral"]
DIRECTIONS = {"increase": 1, "decrease": -1, "neutral": 0}
LIMIT = 2.66
NEAR_LIMIT = 2 * (LIMIT / 3)
SCREEN = 3.267
RUN = 7
LEAST_FIXED = 12
MISSING = "missing_before"
# Groups of fewer points are warned of; the package's text says 12, its code 13.
SHORT_GROUP = 13

COMMON = "Common Cause"
LABELS = (
    COMMON,
    "Above UCL",
    "Below LCL",
    "7 Point Trend (Increasing)",
    "7 Point Trend (Decreasing)",
    "2 in 3 Above CL",
    "2 in 3 Below CL",
    "7 Points Above CL",
    "7 Points Below CL",
)
POINT_TYPES = (
    "common_cause",
    "special_cause_improvement",
    "special_cause_concern",
    "special_cause_neutral_high",
    "special_cause_neutral_low",
)
ICONS = (
    "common_cause",
    "improvement_high",
    "improvement_low",
    "concern_high",
    "concern_low",
    "neutral_high",
    "neutral_low",
)
ASSURANCE_ICONS = {
    "consistent_pass": "pass",
    "consistent_fail": "fail",
    "inconsistent": "inconsistent",
}


@dataclass(frozen=True)
class SpcChart:
    """One series judged: its points in date order, and what the last of them says.

    `points` has one row per value: date, value, rebase_group, mean, lpl, upl, near_lpl, near_upl
    (the unit of the values, limits null where none can be computed), outside_limits,
    relative_to_mean (-1, 0, 1), close_to_limits, special_cause_type, special_cause_flag,
    point_type, short_group_warning, and missing_before: the periods without a value since the
    point before. `missing` has the dates that were dropped. The icons are None for a chart without
    points, assurance is None without a target or a good direction.
    """

    points: pl.DataFrame
    variation_icon: str | None
    assurance_type: str | None
    assurance_icon: str | None
    missing: tuple[date, ...]


def analyse(
    values: Sequence[float | None],
    dates: Sequence[date],
    *,
    improvement: Improvement = "increase",
    target: float | None = None,
    rebase: Sequence[date] = (),
    fix_after_n_points: int | None = None,
    screen_outliers: bool = True,
) -> SpcChart:
    """Limits, special causes and icons of one series; the order of the input does not matter.

    A value that is None or NaN is dropped, never filled in. A date of `rebase` starts a new group,
    with its own limits and runs; where its value is missing, the next one starts it; a date that
    is not in the series starts none. `fix_after_n_points` takes limits from that many first points
    of each group. `screen_outliers` False leaves large moving ranges in, as the Excel tool does.
    Raises ValueError on unequal lengths, two values of one date, an infinite value or target, an
    unknown direction, or limits fixed after fewer than LEAST_FIXED points.
    """
    _check(values, dates, improvement, target, fix_after_n_points)
    given = pl.DataFrame(
        {"date": pl.Series(dates, dtype=pl.Date), "value": pl.Series(values, dtype=pl.Float64)}
    ).sort("date")
    starts = pl.col("date").is_in(pl.Series(rebase, dtype=pl.Date).implode())
    marked = given.with_columns(
        pl.col("value").fill_nan(None),
        starts.cast(pl.Int64).cum_sum().alias("rebase_group"),
        pl.lit(DIRECTIONS[improvement], pl.Int8).alias("direction"),
    )
    is_missing = pl.col("value").is_null()
    missing_so_far = is_missing.cast(pl.Int64).cum_sum()
    kept = marked.with_columns(missing_so_far.alias("missing_before")).filter(~is_missing)
    kept = kept.with_columns(
        pl.col("missing_before") - pl.col("missing_before").shift(fill_value=0)
    )
    judged = judge(kept, (), fix_after_n_points=fix_after_n_points, screen_outliers=screen_outliers)
    last = judged.tail(1).with_columns(pl.lit(target, pl.Float64).alias("target_value"))
    icons = last.select(variation_icon(), assurance_type())
    variation, assurance = icons.row(0) if len(icons) else (None, None)
    return SpcChart(
        judged.select(pl.exclude("direction", "missing_before", "group_point_count"), MISSING),
        variation,
        assurance,
        ASSURANCE_ICONS[assurance] if assurance else None,
        tuple(marked.filter(is_missing)["date"]),
    )


def _check(
    values: Sequence[float | None],
    dates: Sequence[date],
    improvement: str,
    target: float | None,
    fix_after_n_points: int | None,
) -> None:
    if len(values) != len(dates):
        raise ValueError(f"{len(values)} values but {len(dates)} dates")
    twice = pl.Series(dates, dtype=pl.Date)
    twice = twice.filter(twice.is_duplicated())
    if len(twice):
        raise ValueError(f"{twice[0]} has two values; a series has one per date")
    if any(value is not None and math.isinf(value) for value in values):
        raise ValueError("values must be finite; a value that is not known is None")
    if target is not None and not math.isfinite(target):
        raise ValueError("the target must be finite; without a target it is None")
    if improvement not in DIRECTIONS:
        raise ValueError(f"improvement is one of {', '.join(DIRECTIONS)}, not {improvement}")
    if fix_after_n_points is not None and fix_after_n_points < LEAST_FIXED:
        raise ValueError(
            f"limits are fixed after {LEAST_FIXED} points or more, not {fix_after_n_points}"
        )


def judge(
    series: pl.DataFrame,
    keys: Sequence[str],
    *,
    fix_after_n_points: int | None = None,
    screen_outliers: bool = True,
) -> pl.DataFrame:
    """One row per point of many series, as received, with limits and special causes.

    `series` is in the order of `keys` and then of time, with one row per point: keys, `value`
    (given and finite), `rebase_group` and `direction` (1 where an increase is an improvement, -1
    a decrease, 0 neither). Each rebase group of a series is judged alone. Added are the columns of
    SpcChart.points and group_point_count.
    """
    count, group = len(series), (*keys, "rebase_group")
    values = series["value"].to_numpy().astype(float)
    starts = np.flatnonzero(
        series.select(
            pl.any_horizontal((pl.col(name) != pl.col(name).shift()) for name in group).fill_null(
                True
            )
        )
        .to_series()
        .to_numpy()
    )
    sizes = np.diff(np.append(starts, count))
    place = np.arange(count) - np.repeat(starts, sizes)
    mean, range_mean = _centre_and_spread(
        values, starts, sizes, place, fix_after_n_points, screen_outliers
    )
    found = {
        "mean": mean,
        "lpl": mean - LIMIT * range_mean,
        "upl": mean + LIMIT * range_mean,
        "near_lpl": mean - NEAR_LIMIT * range_mean,
        "near_upl": mean + NEAR_LIMIT * range_mean,
    }
    found = {name: np.repeat(of_group, sizes) for name, of_group in found.items()}
    side = np.sign(values - found["mean"]).astype(np.int8)
    # Comparisons with limits that are NaN are False.
    outside = (values > found["upl"]) | (values < found["lpl"])
    close = ~outside & ((values < found["near_lpl"]) | (values > found["near_upl"]))
    label = _labels(values, place, side, outside, close)
    high = (label % 2 == 1).astype(np.int8)
    is_special = label > 0
    towards = np.where(high, 1, -1) * series["direction"].to_numpy()
    point_type = np.where(
        ~is_special, 0, np.where(towards > 0, 1, np.where(towards < 0, 2, np.where(high, 3, 4)))
    )
    has_limits = pl.Series(~np.isnan(found["upl"]))
    group_count = np.repeat(sizes, sizes)
    return series.with_columns(
        *(pl.Series(name, column).fill_nan(None) for name, column in found.items()),
        pl.Series("outside_limits", outside).set(~has_limits, None),
        pl.Series("relative_to_mean", side),
        pl.Series("close_to_limits", close).set(~has_limits, None),
        pl.Series("special_cause_type", LABELS).gather(label),
        pl.Series("special_cause_flag", is_special),
        pl.Series("point_type", POINT_TYPES).gather(point_type),
        pl.Series("short_group_warning", group_count < SHORT_GROUP),
        pl.Series("group_point_count", group_count, dtype=pl.Int64),
    )


def _centre_and_spread(
    values: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    place: np.ndarray,
    fix_after_n_points: int | None,
    screen_outliers: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and mean of the moving ranges (NaN where none is left), of each group."""
    used = sizes if fix_after_n_points is None else np.minimum(sizes, fix_after_n_points)
    mean = _sums(values, starts, used) / used
    # The second pass takes back what the division rounded: a constant is its own mean.
    mean = mean + _sums(values - np.repeat(mean, sizes), starts, used) / used
    ranges = np.where(place > 0, np.abs(np.diff(values, prepend=0.0)), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        range_mean = _sums(ranges, starts, used) / (used - 1)
        if screen_outliers:
            kept = (ranges < SCREEN * np.repeat(range_mean, sizes)) & (place > 0)
            kept &= place < np.repeat(used, sizes)
            counts = np.add.reduceat(kept, starts, dtype=int) if len(starts) else sizes
            range_mean = _sums(np.where(kept, ranges, 0.0), starts, used) / counts
    return mean, range_mean


def _sums(values: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Exact sum of the first `sizes` values of each group, rounded once."""
    flat = values.tolist()
    spans = zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
    return np.fromiter((math.fsum(flat[a:b]) for a, b in spans), float, len(starts))


def _labels(
    values: np.ndarray, place: np.ndarray, side: np.ndarray, outside: np.ndarray, close: np.ndarray
) -> np.ndarray:
    """Index into LABELS of each point; odd is high, even is low."""
    step = _steps(values, place)
    in_trend = _part_of_run(trend_completed(values, place) != 0)
    in_shift = _part_of_run(shift_completed(side, place))
    in_two_of_three = close & two_in_three(close, side, place)
    following, next_in_trend = _later(step, 1), _later(in_trend, 1)
    # A turning point takes the later trend; two trends side by side with equal values at the seam
    # have no step between them, and each end keeps its own.
    takes_later = in_trend & next_in_trend & (_later(place, 1) > 0) & (following != 0)
    rising = np.where(takes_later, following, step) > 0
    found = np.where(in_shift, np.where(side > 0, 7, 8), 0)
    found = np.where(in_two_of_three, np.where(side > 0, 5, 6), found)
    found = np.where(in_trend, np.where(rising, 3, 4), found)
    return np.where(outside, np.where(side > 0, 1, 2), found)


def _earlier(column: np.ndarray, by: int) -> np.ndarray:
    """The column moved down: at a row stands what stood `by` rows above, 0 at the top."""
    moved = np.zeros_like(column)
    moved[by:] = column[:-by]
    return moved


def _later(column: np.ndarray, by: int) -> np.ndarray:
    moved = np.zeros_like(column)
    moved[:-by] = column[by:]
    return moved


def _steps(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """1 or -1 where a point lies above or below the one before it of its group, otherwise 0."""
    return np.where(place > 0, np.sign(np.diff(values, prepend=0.0)), 0).astype(np.int8)


def trend_completed(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """1 or -1 at a point that completes seven rising or falling ones of its group, otherwise 0.

    `place` counts the points of each group from 0.
    """
    step = _steps(values, place)
    is_run = step != 0
    for by in range(1, RUN - 1):
        is_run &= _earlier(step, by) == step
    return np.where(is_run, step, 0)


def shift_completed(side: np.ndarray, place: np.ndarray) -> np.ndarray:
    """True at a point that completes seven of its group on the same side of the mean."""
    is_run = (side != 0) & (place >= RUN - 1)
    for by in range(1, RUN):
        is_run &= _earlier(side, by) == side
    return is_run


def two_in_three(close: np.ndarray, side: np.ndarray, place: np.ndarray) -> np.ndarray:
    """True at each of three points of a group on one side, two of them close to their limit."""
    near, sign = close.astype(np.int8), side.astype(np.int8)
    nears = near + _earlier(near, 1) + _earlier(near, 2)
    sides = sign + _earlier(sign, 1) + _earlier(sign, 2)
    ends = (nears >= 2) & (np.abs(sides) == 3) & (place >= 2)
    return ends | _later(ends, 1) | _later(ends, 2)


def _part_of_run(completed: np.ndarray) -> np.ndarray:
    """True at a point that one of this and the next six completes the run of."""
    found = completed.copy()
    for by in range(1, RUN):
        found |= _later(completed, by)
    return found


def variation_icon() -> pl.Expr:
    """The icon of the last point of a series, from its point_type and special_cause_type."""
    kind = pl.col("point_type").str.strip_prefix("special_cause_")
    is_high = pl.col("special_cause_type").str.contains("Above|Increasing")
    height = pl.when(is_high).then(pl.lit("_high")).otherwise(pl.lit("_low"))
    return (
        pl.when(kind.is_in(["improvement", "concern"]))
        .then(kind + height)
        .otherwise(kind)
        .alias("variation_icon")
    )


def assurance_type() -> pl.Expr:
    """Whether the limits of the last point lie on the good side of `target_value`.

    Null without a target or a good direction; inconsistent also where there are no limits.
    """
    direction, target = pl.col("direction"), pl.col("target_value")
    above, below = (target > pl.col("upl")), (target < pl.col("lpl"))
    passes = pl.when(direction > 0).then(below).otherwise(above).fill_null(False)
    fails = pl.when(direction > 0).then(above).otherwise(below).fill_null(False)
    return (
        pl.when(target.is_null() | (direction == 0))
        .then(None)
        .when(passes)
        .then(pl.lit("consistent_pass"))
        .when(fails)
        .then(pl.lit("consistent_fail"))
        .otherwise(pl.lit("inconsistent"))
        .alias("assurance_type")
    )
