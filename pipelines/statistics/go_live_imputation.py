"""What a party would have shown without its go-live, imputed by least squares.

Level and trend of each party and a common effect of each month are fitted to the cells (party x
month) in which a party was not live yet; the effect is the mean difference from that fit.
"""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.statistics.intervals import SIGNIFICANCE, t_quantile

Month = date | int
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
# Share of the largest value below which a difference is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Series:
    """Values (party x month used) with the go-live of each party, months counted from the first.

    `outside` are parties that are not of the programme; of them alone a value may be missing (NaN).
    """

    trusts: tuple[str, ...]
    starts: tuple[int, ...]
    outside: tuple[bool, ...]
    months: tuple[int, ...]
    length: int
    values: Floats

    @classmethod
    def of(
        cls,
        panel: pl.DataFrame,
        go_live: Mapping[str, Month | None],
        months_left_out: Collection[Month],
    ) -> "Series":
        """Check the arguments of `go_live_effect.estimate`; ValueError names what is wrong."""
        missing = [name for name in ("trust", "month", "value") if name not in panel.columns]
        if missing:
            raise ValueError(f"the panel has no column {', '.join(missing)}")
        if panel.is_empty():
            raise ValueError("the panel has no rows")
        rows = panel.select("trust", "month", pl.col("value").cast(pl.Float64)).sort(
            "trust", "month"
        )
        for trust, month, value in rows.iter_rows():
            if value is None or not math.isfinite(value):
                raise ValueError(f"{trust} {month}: the value is {value}; leave out its month")
        trusts = tuple(rows["trust"].unique().sort())
        if set(trusts) != set(go_live):
            raise ValueError(
                "the panel and the go-lives name different parties: "
                f"{', '.join(sorted(set(trusts) ^ set(go_live)))}"
            )
        numbers = [_month_number(month) for month in rows["month"]]
        first, length = min(numbers), max(numbers) - min(numbers) + 1
        skipped = {_month_number(month) - first for month in months_left_out}
        months = tuple(month for month in range(length) if month not in skipped)
        places = {
            (trust, number - first): value
            for trust, number, value in zip(rows["trust"], numbers, rows["value"], strict=True)
        }
        if len(places) != len(rows):
            double = rows.filter(pl.struct("trust", "month").is_duplicated()).row(0)
            raise ValueError(f"{double[0]} {double[1]}: more than one value")
        for trust, month in itertools.product(trusts, months):
            if (trust, month) not in places and go_live[trust] is not None:
                told = _month_like(rows["month"][0], first + month)
                raise ValueError(
                    f"{trust} {told}: no value; every party of the programme needs every month, "
                    "so deliver it or leave the month out for all"
                )
        starts = tuple(
            length if (start := go_live[trust]) is None else _month_number(start) - first
            for trust in trusts
        )
        return cls(
            trusts,
            tuple(min(start, length) for start in starts),
            tuple(go_live[trust] is None for trust in trusts),
            months,
            length,
            np.array(
                [[places.get((trust, month), math.nan) for month in months] for trust in trusts]
            ),
        )

    def without(self, place: int) -> "Series":
        """The series of all parties but one."""
        kept = [number for number in range(len(self.trusts)) if number != place]
        return replace(
            self,
            trusts=tuple(self.trusts[number] for number in kept),
            starts=tuple(self.starts[number] for number in kept),
            outside=tuple(self.outside[number] for number in kept),
            values=self.values[kept],
        )

    @property
    def rounding(self) -> float:
        """Difference of two results of these values below which they are the same."""
        return ROUNDING * float(np.nanmax(np.abs(self.values), initial=0))

    @property
    def absent(self) -> tuple[tuple[int, int], ...]:
        """Place of the trust and of the month of every missing value."""
        return tuple((int(row), int(column)) for row, column in np.argwhere(np.isnan(self.values)))


def _month_number(month: Month) -> int:
    return month.year * 12 + month.month - 1 if isinstance(month, date) else int(month)


def _month_like(sample: Month, number: int) -> Month:
    return date(number // 12, number % 12 + 1, 1) if isinstance(sample, date) else number


@dataclass(frozen=True)
class Design:
    """Which cells (party x month) say what would have been, and how the rest is imputed.

    `rows` is the row of each cell in the least-squares problem, `inverse` the pseudo-inverse of
    those of the untreated cells.
    """

    starts: tuple[int, ...]
    months: tuple[int, ...]
    untreated: Mask
    rows: Floats
    inverse: Floats

    @classmethod
    def of(cls, series: Series, *, trends: bool) -> "Design":
        """The design of the go-lives of a series, with a trend of each party or without."""
        return _designed(series.starts, series.months, series.length, trends, series.absent)

    def after(self, horizon_months: int) -> Mask:
        """The cells of the first months after go-live in which somebody was not live yet."""
        since = np.array(self.months)[None, :] - np.array(self.starts)[:, None]
        return (since >= 0) & (since < horizon_months) & self.untreated.any(axis=0)

    def weights(self, cells: Mask) -> Floats:
        """What each cell counts in the mean effect over `cells`; sums up with the values to it.

        Raises ValueError where the untreated cells do not determine what would have been.
        """
        mean_row = self.rows[cells].mean(axis=0)
        untreated = self.rows[self.untreated]
        weights = np.zeros(self.untreated.shape)
        weights[self.untreated] = -(mean_row @ self.inverse)
        if not np.allclose(weights[self.untreated] @ untreated, -mean_row, atol=1e-8):
            raise ValueError("too few months without an effect to tell what would have been")
        weights[cells] = 1 / cells.sum()
        return weights


@lru_cache(maxsize=256)
def _designed(
    starts: tuple[int, ...],
    months: tuple[int, ...],
    length: int,
    trends: bool,
    absent: tuple[tuple[int, int], ...],
) -> Design:
    """Cached: a list of metrics has one go-live calendar, and its subsets, again and again."""
    used = tuple(month for month in months if month < max(starts))
    trust_count, month_count = len(starts), len(used)
    untreated = np.array(used)[None, :] < np.array(starts)[:, None]
    for place, column in absent:
        if column < month_count:
            untreated[place, column] = False
    trust = np.eye(trust_count)[:, None, :].repeat(month_count, axis=1)
    month = np.eye(month_count)[None, :, 1:].repeat(trust_count, axis=0)
    blocks = [trust, month]
    if trends:
        # One party's own trend would be that of the months once more.
        blocks.append(trust[:, :, 1:] * (np.array(used) / length)[None, :, None])
    rows = np.concatenate(blocks, axis=2)
    inverse = np.linalg.pinv(rows[untreated]) if month_count else np.zeros((rows.shape[2], 0))
    return Design(starts, used, untreated, rows, inverse)


@dataclass(frozen=True)
class Effect:
    """Mean effect over a set of cells, with its interval; None for what cannot be told."""

    att: float | None
    se: float | None
    ci_low: float | None
    ci_high: float | None
    cell_count: int
    weights: Floats


NO_EFFECT = Effect(None, None, None, None, 0, np.zeros((0, 0)))


@dataclass(frozen=True)
class Fit:
    """A design and what its fit leaves of one series (party x month used)."""

    series: Series
    design: Design
    values: Floats
    left: Floats

    @classmethod
    def of(cls, design: Design, series: Series) -> "Fit":
        """Fit the untreated cells of a series."""
        values = series.values[:, : len(design.months)]
        # Levels and common months change no effect; without them less is lost to rounding.
        values = values - np.nanmean(values, axis=1, keepdims=True)
        values = values - np.nanmean(values, axis=0, keepdims=True)
        fitted = design.rows @ (design.inverse @ values[design.untreated])
        # A missing value has no weight: 0 keeps it out of every sum.
        return cls(series, design, np.nan_to_num(values), np.nan_to_num(values - fitted))

    def month_spread(self) -> Floats:
        """Standard deviation of a single month of each trust around the fit.

        Of the months in which it was not live yet, raised by the degrees of freedom of the whole fit.
        """
        used = self.design.untreated
        taken = float(np.einsum("ij,ji->", self.design.inverse, self.design.rows[used]))
        free = max(int(used.sum()) - round(taken), 1)
        squares = np.where(used, self.left, 0) ** 2
        mean = squares.sum(axis=1) / np.maximum(used.sum(axis=1), 1)
        return np.sqrt(mean * used.sum() / free)

    def effect(self, cells: Mask) -> "ToldEffect":
        """Mean effect over `cells` with its cluster-t interval."""
        weights = self.design.weights(cells)
        att = float((weights * self.values).sum())
        left = np.where(self.design.untreated, self.left, 0)
        left[cells] = self.left[cells] - att
        count = len(left)
        by_trust = (weights * left).sum(axis=1)
        se = math.sqrt(float((by_trust**2).sum()) * count / (count - 1))
        reach = t_quantile(1 - SIGNIFICANCE / 2, count - 1) * se
        # What is only rounding must not exclude 0.
        att = 0.0 if abs(att) <= self.series.rounding else att
        return ToldEffect(att, se, att - reach, att + reach, int(cells.sum()), weights)


@dataclass(frozen=True)
class ToldEffect(Effect):
    """An effect that could be estimated."""

    att: float
    se: float
    ci_low: float
    ci_high: float
