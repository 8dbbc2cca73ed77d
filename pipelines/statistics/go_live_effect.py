"""Effect of staged go-lives on one monthly series of each party.

What a party would have shown without its go-live is imputed: level and trend of each party and a
common effect of each month are fitted by least squares to the months in which a party was not live
yet, and the effect is the mean difference between the months after go-live and that fit. Months
from the last go-live on have nobody to compare with and are not used.

The interval clusters by party (t with one degree of freedom fewer than parties). The randomisation
p is the share of all orders of the parties' go-lives with an effect at least as large. Design, what
it cannot tell, and how often it is right in known worlds: docs/go_live_effect.md.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal

import numpy as np
import polars as pl

from pipelines.statistics.go_live_imputation import (
    NO_EFFECT,
    Design,
    Effect,
    Fit,
    Mask,
    Month,
    Series,
)
from pipelines.statistics.go_live_orders import randomised
from pipelines.statistics.intervals import SIGNIFICANCE, t_quantile

Improvement = Literal["decrease", "increase"]
Verdict = Literal[
    "consistent with improvement",
    "consistent with worsening",
    "not shown",
    "could not have been seen",
]
# A fit of pretended go-lives, and the cells that it tells an effect of.
Placebo = tuple[Fit, Mask]

# A trend and a season cannot be told apart in less.
LEAST_MONTHS_BEFORE = 24
# The pretended go-live of the placebo lies a year earlier, so it has a year less before it.
PLACEBO_MONTHS = 12
LEAST_MONTHS_BEFORE_PLACEBO = 12
HORIZONS = (6, 12, 18)
POWER = 0.80
# The spread of fewer parties says nothing about that of the others.
LEAST_PARTIES_FOR_INTERVAL = 3

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
BY_CELL = {
    "trust": pl.String,
    "months_since": pl.Int64,
    "effect": pl.Float64,
    "month_spread": pl.Float64,
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
    `by_cell`: one row per party and month after go-live: value less its imputation. Their mean is
    `att`. No interval either, but `month_spread`: the standard deviation of a single month of the
    party around the fit of its months before go-live.
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
    by_cell: pl.DataFrame = field(compare=False)
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
    makes a party one to compare with. A party outside the programme may lack months: they are
    compared without it, and where nobody else is left, not at all. `months_left_out` are not used for any party: a shock that
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
    series = Series.of(panel, go_live, months_left_out)
    before = sum(month < min(series.starts) for month in series.months)
    if before < LEAST_MONTHS_BEFORE:
        first = series.trusts[series.starts.index(min(series.starts))]
        raise ValueError(
            f"{first}: {before} months before the first go-live, {LEAST_MONTHS_BEFORE} are needed "
            "to tell an effect from trend and season; deliver earlier months"
        )
    design = Design.of(series, trends=trust_trends)
    cells = design.after(horizon_months)
    if not cells.any():
        raise ValueError(
            "no month in which one party is live and another is not: the go-lives are all in one "
            "month, so nobody can be compared with"
        )
    fit = Fit.of(design, series)
    found = fit.effect(cells)
    order_count, ri_count, ri_low, ri_high = randomised(fit, found, generator)
    placebo = _placebo(series, trends=trust_trends)
    checks = _diagnostics(series, placebo, trust_trends, horizon_months)
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
        by_cell=_by_cell(series, fit, cells),
        by_month_since=_by_month_since(fit, cells, placebo),
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


def _by_trust(series: Series, fit: Fit, cells: Mask) -> pl.DataFrame:
    rows = []
    for place in np.flatnonzero(cells.any(axis=1)):
        own = np.zeros_like(cells)
        own[place] = cells[place]
        told = fit.effect(own)
        before = int(fit.design.untreated[place].sum())
        rows.append((series.trusts[place], before, told.att, told.cell_count))
    return pl.DataFrame(rows, schema=BY_TRUST, orient="row")


def _by_cell(series: Series, fit: Fit, cells: Mask) -> pl.DataFrame:
    since = np.array(fit.design.months)[None, :] - np.array(series.starts)[:, None]
    spread = fit.month_spread()
    rows = [
        (
            series.trusts[place],
            int(since[place, column]),
            float(fit.left[place, column]),
            float(spread[place]),
        )
        for place, column in np.argwhere(cells)
    ]
    return pl.DataFrame(rows, schema=BY_CELL, orient="row")


def _by_month_since(fit: Fit, cells: Mask, placebo: Placebo | None) -> pl.DataFrame:
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


def _placebo(series: Series, *, trends: bool) -> Placebo | None:
    """A fit with every go-live pretended a year earlier, over months before the real ones only."""
    pretended = tuple(
        start if outside else start - PLACEBO_MONTHS
        for start, outside in zip(series.starts, series.outside, strict=True)
    )
    if sum(month < min(pretended) for month in series.months) < LEAST_MONTHS_BEFORE_PLACEBO:
        return None
    early = replace(series, starts=pretended)
    design = Design.of(early, trends=trends)
    before = np.array(design.months)[None, :] < np.array(series.starts)[:, None]
    cells = design.after(PLACEBO_MONTHS) & before
    return (Fit.of(design, early), cells) if cells.any() else None


def _diagnostics(
    series: Series, placebo: Placebo | None, trust_trends: bool, horizon_months: int
) -> list[tuple[str, str, Effect, str | None]]:
    """Check, variant, effect, and why there is none."""
    found: list[tuple[str, str, Effect, str | None]] = []
    found.append(
        ("placebo", "go-live a year earlier", placebo[0].effect(placebo[1]), None)
        if placebo
        else ("placebo", "go-live a year earlier", NO_EFFECT, "too few months before it")
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


def _tried(series: Series, trends: bool, horizon_months: int) -> Effect:
    """An effect, or none where nobody is left to compare with."""
    if len(series.trusts) < 2:
        return NO_EFFECT
    design = Design.of(series, trends=trends)
    cells = design.after(horizon_months)
    return Fit.of(design, series).effect(cells) if cells.any() else NO_EFFECT


def _not_yet_live(series: Series, horizon_months: int) -> Effect:
    """Callaway and Sant'Anna: change since the last month before go-live, less that of the others.

    It leans on one month before go-live, so it is noisy; no interval is told.
    """
    design = Design.of(series, trends=False)
    cells = design.after(horizon_months)
    differences = []
    for place, column in np.argwhere(cells):
        base = int(np.flatnonzero(design.untreated[place])[-1])
        others = design.untreated[:, column] & ~np.isnan(series.values[:, base])
        change = series.values[:, column] - series.values[:, base]
        if others.any():
            differences.append(change[place] - change[others].mean())
    att = float(np.mean(differences)) if differences else None
    return replace(NO_EFFECT, att=att, cell_count=len(differences))


def first_month(go_live_on: date) -> date:
    """First month with the effect of a go-live: its own, since part of it is no longer before."""
    return go_live_on.replace(day=1)
