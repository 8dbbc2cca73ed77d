"""Effect of staged go-lives on one monthly series of each party.

What a party would have shown without its go-live is imputed: level and trend of each party and a
common effect of each month are fitted by least squares to the months in which a party was not live
yet, and the effect is the mean difference between the months after go-live and that fit. Months
from the last go-live on have nobody to compare with and are not used.

The interval clusters by party (t with one degree of freedom fewer than parties). The randomisation
p is the share of all orders of the parties' go-lives with an effect at least as large. Design, what
it cannot tell, and how often it is right in known worlds: docs/go_live_effect.md.
"""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Improvement = Literal["decrease", "increase"]
Verdict = Literal[
    "consistent with improvement",
    "consistent with worsening",
    "not shown",
    "could not have been seen",
]
Month = date | int
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A trend and a season cannot be told apart in less.
LEAST_MONTHS_BEFORE = 24
# The pretended go-live of the placebo lies a year earlier, so it has a year less before it.
PLACEBO_MONTHS = 12
LEAST_MONTHS_BEFORE_PLACEBO = 12
HORIZONS = (6, 12, 18)
SIGNIFICANCE = 0.05
POWER = 0.80
# 10! orders would be 3.6 million; from there on a sample is drawn.
MOST_PARTIES_IN_ALL_ORDERS = 9
DRAWN_ORDERS = 40_319
# The spread of fewer parties says nothing about that of the others.
LEAST_PARTIES_FOR_INTERVAL = 3
# Share of the largest value below which a difference is rounding.
ROUNDING = 1e-12

_ESTIMATE = {
    "att": pl.Float64,
    "se": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n_effect_cells": pl.Int64,
}
BY_TRUST = {
    "trust": pl.String,
    "months_before": pl.Int64,
    "att": pl.Float64,
    "n_effect_cells": pl.Int64,
}
BY_MONTH_SINCE = {"months_since": pl.Int64, "trust_count": pl.Int64, **_ESTIMATE}
DIAGNOSTICS = {"check": pl.String, "variant": pl.String, **_ESTIMATE, "note": pl.String}


@dataclass(frozen=True)
class GoLiveEffect:
    """Mean effect of the first months after go-live, in the unit of the values.

    `att` with its standard error and 95 % interval; `p_randomisation` is `ri_count` of
    `order_count` orders, `ri_low` and `ri_high` the effects that this test does not refuse
    (infinite where it refuses none on that side). `p_adjusted` is the p the verdict stands on:
    the same, or Holm's after `adjust`. `detectable` is the size that an interval of this width
    would leave 0 for in four of five programmes, `promised` the size somebody expected, without
    sign. `sign_holds` tells whether each estimate without one party has the sign of `att`.

    `by_trust`: one row per party with months after go-live. No interval: its only months after
    go-live are those that made the estimate.
    `by_month_since`: one row per month since go-live; negative ones are the placebo's. No interval
    for fewer than three parties. The months are of different parties.
    `diagnostics`: one row per check and variant; att is null where `note` says why.
    """

    att: float
    se: float
    ci_low: float
    ci_high: float
    p_randomisation: float
    ri_count: int
    order_count: int
    ri_low: float
    ri_high: float
    n_effect_cells: int
    n_untreated_cells: int
    sign_holds: bool
    improvement: Improvement
    p_adjusted: float
    detectable: float
    promised: float | None
    verdict: Verdict
    by_trust: pl.DataFrame = field(compare=False)
    by_month_since: pl.DataFrame = field(compare=False)
    diagnostics: pl.DataFrame = field(compare=False)


def estimate(
    panel: pl.DataFrame,
    go_live: Mapping[str, Month | None],
    *,
    improvement: Improvement,
    horizon_months: int = 12,
    trust_trends: bool = True,
    months_left_out: Collection[Month] = (),
    promised: float | None = None,
    generator: np.random.Generator | None = None,
) -> GoLiveEffect:
    """Effect of the first `horizon_months` months after go-live on one series.

    `panel` has one row per party and month: `trust` (the party), `month` (a date, or an integer
    that counts months), `value` (finite; logged before where effects multiply). `go_live` holds the
    first month with the effect of every party of the panel, in the type of `month`; None is a party
    outside the programme, compared with and never permuted. A go-live after the panel's last month
    makes a party one to compare with. `months_left_out` are not used for any party: a shock that
    met the parties unequally is not a common month. `promised` is the size of the effect
    somebody expected, in the unit of the values. More than nine parties of the programme need a
    `generator`, which draws the orders.

    Raises ValueError, naming the party and month where there is one, for columns or cells that are
    missing, double or not finite, parties without a go-live, fewer than 24 months before the first
    go-live, and go-lives that leave nobody to compare with.
    """
    if improvement not in ("decrease", "increase"):
        raise ValueError(f"improvement is 'decrease' or 'increase', not {improvement!r}")
    if horizon_months < 1:
        raise ValueError(f"horizon_months is at least 1, not {horizon_months}")
    series = _Series.of(panel, go_live, months_left_out)
    before = sum(month < min(series.starts) for month in series.months)
    if before < LEAST_MONTHS_BEFORE:
        first = series.trusts[series.starts.index(min(series.starts))]
        raise ValueError(
            f"{first}: {before} months before the first go-live, {LEAST_MONTHS_BEFORE} are needed "
            "to tell an effect from trend and season; deliver earlier months"
        )
    design = _Design.of(series, trends=trust_trends)
    cells = design.after(horizon_months)
    if not cells.any():
        raise ValueError(
            "no month in which one party is live and another is not: the go-lives are all in one "
            "month, so nobody can be compared with"
        )
    fit = _Fit.of(design, series)
    found = fit.effect(cells)
    order_count, ri_count, ri_low, ri_high = _randomised(fit, found, generator)
    checks = _diagnostics(series, trust_trends=trust_trends, horizon_months=horizon_months)
    left_out = [row.att for name, _, row, _ in checks if name == "leave one out"]
    sign_holds = bool(left_out) and all(one is not None and one * found.att > 0 for one in left_out)
    p = ri_count / order_count
    degrees = len(series.trusts) - 1
    detectable = found.se * (t_quantile(1 - SIGNIFICANCE / 2, degrees) + t_quantile(POWER, degrees))
    result = GoLiveEffect(
        att=found.att,
        se=found.se,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_randomisation=p,
        ri_count=ri_count,
        order_count=order_count,
        ri_low=ri_low,
        ri_high=ri_high,
        n_effect_cells=int(cells.sum()),
        n_untreated_cells=int(design.untreated.sum()),
        sign_holds=sign_holds,
        improvement=improvement,
        p_adjusted=p,
        detectable=detectable,
        promised=None if promised is None else abs(promised),
        verdict="not shown",
        by_trust=_by_trust(series, fit, cells),
        by_month_since=_by_month_since(series, fit, cells, trends=trust_trends),
        diagnostics=pl.DataFrame(
            [
                (name, variant, row.att, row.se, row.ci_low, row.ci_high, row.cell_count, note)
                for name, variant, row, note in checks
            ],
            schema=DIAGNOSTICS,
            orient="row",
        ),
    )
    return replace(result, verdict=_verdict(result))


def adjust(results: Mapping[str, GoLiveEffect]) -> dict[str, GoLiveEffect]:
    """The same results with Holm's p over all of them, and the verdicts that then stand.

    The list of measures must be fixed before anybody has looked at one.
    """
    ordered = sorted(results, key=lambda name: results[name].p_randomisation)
    highest, adjusted = 0.0, {}
    for place, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - place) * results[name].p_randomisation))
        changed = replace(results[name], p_adjusted=highest)
        adjusted[name] = replace(changed, verdict=_verdict(changed))
    return {name: adjusted[name] for name in results}


def as_percent(logged: float) -> float:
    """An effect on the logarithm of a value, as a change of the value in per cent."""
    return 100 * math.expm1(logged)


def _verdict(result: GoLiveEffect) -> Verdict:
    """What may be said: an effect only where interval, randomisation and every subset agree."""
    is_clear = result.ci_high < 0 or result.ci_low > 0
    if is_clear and result.p_adjusted < SIGNIFICANCE and result.sign_holds:
        is_better = (result.att < 0) == (result.improvement == "decrease")
        return "consistent with improvement" if is_better else "consistent with worsening"
    if result.promised is not None and result.detectable > result.promised:
        return "could not have been seen"
    return "not shown"


# One series and its go-lives ------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """Values (party x month used) with the go-live of each party, months counted from the first.

    `outside` are parties that are not of the programme. `end` is the first month not used.
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
    ) -> "_Series":
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
            if (trust, month) not in places:
                told = _month_like(rows["month"][0], first + month)
                raise ValueError(
                    f"{trust} {told}: no value; every party needs every month, "
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
            np.array([[places[trust, month] for month in months] for trust in trusts]),
        )

    def without(self, place: int) -> "_Series":
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
        return ROUNDING * float(np.abs(self.values).max(initial=0))


def _month_number(month: Month) -> int:
    return month.year * 12 + month.month - 1 if isinstance(month, date) else int(month)


def _month_like(sample: Month, number: int) -> Month:
    return date(number // 12, number % 12 + 1, 1) if isinstance(sample, date) else number


# Least squares on the months without an effect -------------------------------------------------


@dataclass(frozen=True)
class _Design:
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
    def of(cls, series: _Series, *, trends: bool) -> "_Design":
        return _designed(series.starts, series.months, series.length, trends)

    def after(self, horizon_months: int) -> Mask:
        """The cells of the first months after go-live in which somebody was not live yet."""
        since = np.array(self.months)[None, :] - np.array(self.starts)[:, None]
        return (since >= 0) & (since < horizon_months)

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
    starts: tuple[int, ...], months: tuple[int, ...], length: int, trends: bool
) -> _Design:
    """Cached: a list of metrics has one go-live calendar, and its subsets, again and again."""
    used = tuple(month for month in months if month < max(starts))
    trust_count, month_count = len(starts), len(used)
    untreated = np.array(used)[None, :] < np.array(starts)[:, None]
    trust = np.eye(trust_count)[:, None, :].repeat(month_count, axis=1)
    month = np.eye(month_count)[None, :, 1:].repeat(trust_count, axis=0)
    blocks = [trust, month]
    if trends:
        # One party's own trend would be that of the months once more.
        blocks.append(trust[:, :, 1:] * (np.array(used) / length)[None, :, None])
    rows = np.concatenate(blocks, axis=2)
    inverse = np.linalg.pinv(rows[untreated]) if month_count else np.zeros((rows.shape[2], 0))
    return _Design(starts, used, untreated, rows, inverse)


@dataclass(frozen=True)
class _Effect:
    """Mean effect over a set of cells, with its interval; None for what cannot be told."""

    att: float | None
    se: float | None
    ci_low: float | None
    ci_high: float | None
    cell_count: int
    weights: Floats


_NONE = _Effect(None, None, None, None, 0, np.zeros((0, 0)))


@dataclass(frozen=True)
class _Fit:
    """A design and what its fit leaves of one series (party x month used)."""

    series: _Series
    design: _Design
    values: Floats
    left: Floats

    @classmethod
    def of(cls, design: _Design, series: _Series) -> "_Fit":
        values = series.values[:, : len(design.months)]
        # Levels and common months change no effect; without them less is lost to rounding.
        values = values - values.mean(axis=1, keepdims=True)
        values = values - values.mean(axis=0, keepdims=True)
        fitted = design.rows @ (design.inverse @ values[design.untreated])
        return cls(series, design, values, values - fitted)

    def effect(self, cells: Mask) -> "_Told":
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
        return _Told(att, se, att - reach, att + reach, int(cells.sum()), weights)


@dataclass(frozen=True)
class _Told(_Effect):
    """An effect that could be estimated."""

    att: float
    se: float
    ci_low: float
    ci_high: float


def t_quantile(share: float, degrees: int) -> float:
    """Quantile of Student's t with a whole number of degrees of freedom; share at least a half."""
    if degrees < 1 or not 0.5 <= share < 1:
        raise ValueError(f"no t quantile of {share} with {degrees} degrees of freedom")
    low, high = 0.0, math.pi / 2
    for _ in range(200):
        middle = (low + high) / 2
        if _t_share(middle, degrees) < share:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _t_share(angle: float, degrees: int) -> float:
    """P(t < sqrt(degrees) tan(angle)): Abramowitz and Stegun 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for number in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (number - 1) / number * cosine**2
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + within / 2


# Randomisation over the orders of go-lives ------------------------------------------------------


def _randomised(
    fit: _Fit, found: _Told, generator: np.random.Generator | None
) -> tuple[int, int, float, float]:
    """Number of orders, of those at least as extreme, and the interval they allow."""
    series, weights = fit.series, found.weights
    live = np.array(fit.design.months)[None, :] >= np.array(series.starts)[:, None]
    inside = np.flatnonzero(~np.array(series.outside))
    outside = np.flatnonzero(np.array(series.outside))
    orders = _orders(len(inside), generator)
    stats, shares = (
        _over_orders(weights[inside] @ told[inside].T, orders)
        + float((weights[outside] * told[outside]).sum())
        for told in (fit.values, live.astype(float))
    )
    count = int((np.abs(stats) >= abs(found.att) - series.rounding).sum())
    low, high = _not_refused(stats, shares, found.att)
    return len(orders), count, low, high


def _over_orders(matrix: Floats, orders: NDArray[np.intp]) -> Floats:
    """For each order the sum of matrix[order[i], i]."""
    size = len(matrix)
    return matrix.ravel()[orders * size + np.arange(size)].sum(axis=1)


def _orders(count: int, generator: np.random.Generator | None) -> NDArray[np.intp]:
    """All orders of so many parties, or a sample that holds the real one first."""
    if count <= MOST_PARTIES_IN_ALL_ORDERS:
        return _all_orders(count)
    if generator is None:
        raise ValueError(
            f"{count} parties have too many orders to try; pass a seeded generator, which draws "
            f"{DRAWN_ORDERS:,} of them"
        )
    real = np.arange(count)
    drawn = generator.permuted(np.tile(real, (DRAWN_ORDERS, 1)), axis=1)
    return np.concatenate([real[None, :], drawn])


@lru_cache(maxsize=2)
def _all_orders(count: int) -> NDArray[np.intp]:
    return np.array(list(itertools.permutations(range(count))), dtype=np.intp)


def _not_refused(stats: Floats, shares: Floats, att: float) -> tuple[float, float]:
    """Least and largest effect tau that the orders do not refuse at 5 %.

    Under an effect tau the order p has the statistic stats[p] - tau shares[p], and the real one
    att - tau. An order is at least as extreme at tau = att, and changes sides at the two tau where
    both have the same size; so the count is followed outwards from att.
    """
    slopes = np.stack([shares - 1, shares + 1])
    turns = np.stack([stats - att, stats + att]) / np.where(abs(slopes) < 1e-9, np.nan, slopes)
    # The real order, and one no different from it, never change sides.
    is_real = (abs(shares - 1) < 1e-9) & (abs(stats - att) <= 1e-9 * np.abs(stats).max())
    turns[:, is_real] = np.nan
    ends = []
    for sign in (-1, 1):
        beyond = sign * (turns - att)
        ahead = np.where(np.isfinite(beyond) & (beyond > 0), beyond, np.inf)
        first, second = ahead.min(axis=0), ahead.max(axis=0)
        second = np.where(second > first, second, np.inf)
        places = np.concatenate([first, second])
        steps = np.concatenate([-np.ones(len(stats)), np.ones(len(stats))])
        is_place = np.isfinite(places)
        order = np.argsort(places[is_place], kind="stable")
        counts = len(stats) + np.cumsum(steps[is_place][order])
        refused = counts <= SIGNIFICANCE * len(stats)
        if not refused.any() or not refused[-1]:
            ends.append(sign * math.inf)
            continue
        # The hull: where the count dips below and comes back, the outer end counts.
        last_kept = int(np.flatnonzero(~refused)[-1]) + 1 if not refused.all() else 0
        ends.append(att + sign * float(places[is_place][order][last_kept]))
    return ends[0], ends[1]


# Parts and checks -------------------------------------------------------------------------------


def _by_trust(series: _Series, fit: _Fit, cells: Mask) -> pl.DataFrame:
    rows = []
    for place in np.flatnonzero(cells.any(axis=1)):
        own = np.zeros_like(cells)
        own[place] = cells[place]
        told = fit.effect(own)
        before = int(fit.design.untreated[place].sum())
        rows.append((series.trusts[place], before, told.att, told.cell_count))
    return pl.DataFrame(rows, schema=BY_TRUST, orient="row")


def _by_month_since(series: _Series, fit: _Fit, cells: Mask, *, trends: bool) -> pl.DataFrame:
    placebo = _placebo(series, trends=trends)
    parts = [(fit, cells, 0)]
    if placebo is not None:
        parts.insert(0, (*placebo, -PLACEBO_MONTHS))
    rows = []
    for one, chosen, shift in parts:
        design = one.design
        since = np.array(design.months)[None, :] - np.array(design.starts)[:, None]
        for month in sorted({int(number) for number in since[chosen]}):
            these = chosen & (since == month)
            told, count = one.effect(these), int(these.any(axis=1).sum())
            spread = (told.se, told.ci_low, told.ci_high)
            if count < LEAST_PARTIES_FOR_INTERVAL:
                spread = (None, None, None)
            rows.append((month + shift, count, told.att, *spread, told.cell_count))
    return pl.DataFrame(rows, schema=BY_MONTH_SINCE, orient="row")


def _placebo(series: _Series, *, trends: bool) -> tuple[_Fit, Mask] | None:
    """A fit with every go-live pretended a year earlier, over months before the real ones only."""
    pretended = tuple(
        start if outside else start - PLACEBO_MONTHS
        for start, outside in zip(series.starts, series.outside, strict=True)
    )
    if sum(month < min(pretended) for month in series.months) < LEAST_MONTHS_BEFORE_PLACEBO:
        return None
    early = replace(series, starts=pretended)
    design = _Design.of(early, trends=trends)
    before = np.array(design.months)[None, :] < np.array(series.starts)[:, None]
    cells = design.after(PLACEBO_MONTHS) & before
    return (_Fit.of(design, early), cells) if cells.any() else None


def _diagnostics(
    series: _Series, *, trust_trends: bool, horizon_months: int
) -> list[tuple[str, str, _Effect, str | None]]:
    """Check, variant, effect, and why there is none."""
    found: list[tuple[str, str, _Effect, str | None]] = []
    placebo = _placebo(series, trends=trust_trends)
    found.append(
        ("placebo", "go-live a year earlier", placebo[0].effect(placebo[1]), None)
        if placebo
        else ("placebo", "go-live a year earlier", _NONE, "too few months before it")
    )
    for place, trust in enumerate(series.trusts):
        effect = _tried(series.without(place), trust_trends, horizon_months)
        note = None if effect.cell_count else "nobody is left to compare with"
        found.append(("leave one out", trust, effect, note))
    for horizon in HORIZONS:
        found.append(("horizon", f"{horizon} months", _tried(series, trust_trends, horizon), None))
    other = "without party trends" if trust_trends else "with party trends"
    found.append(("trends", other, _tried(series, not trust_trends, horizon_months), None))
    found.append(("not yet live", "base month only", _not_yet_live(series, horizon_months), None))
    return found


def _tried(series: _Series, trends: bool, horizon_months: int) -> _Effect:
    """An effect, or none where nobody is left to compare with."""
    if len(series.trusts) < 2:
        return _NONE
    design = _Design.of(series, trends=trends)
    cells = design.after(horizon_months)
    return _Fit.of(design, series).effect(cells) if cells.any() else _NONE


def _not_yet_live(series: _Series, horizon_months: int) -> _Effect:
    """Callaway and Sant'Anna: change since the last month before go-live, less that of the others.

    It leans on one month before go-live, so it is noisy; no interval is told.
    """
    design = _Design.of(series, trends=False)
    cells = design.after(horizon_months)
    differences = []
    for place, column in np.argwhere(cells):
        base = int(np.flatnonzero(design.untreated[place])[-1])
        others = design.untreated[:, column]
        change = series.values[:, column] - series.values[:, base]
        differences.append(change[place] - change[others].mean())
    att = float(np.mean(differences)) if differences else None
    return replace(_NONE, att=att, cell_count=len(differences))


def first_month(go_live_on: date) -> date:
    """First month with the effect of a go-live: its own, since part of it is no longer before."""
    return go_live_on.replace(day=1)
