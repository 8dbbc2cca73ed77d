"""Randomisation over the orders in which the parties could have gone live."""

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.statistics.go_live_imputation import Fit, Floats, ToldEffect
from pipelines.statistics.intervals import SIGNIFICANCE

# 10! orders would be 3.6 million; from there on a sample is drawn.
MOST_PARTIES_IN_ALL_ORDERS = 9
DRAWN_ORDERS = 40_319


def randomised(
    fit: Fit, found: ToldEffect, generator: np.random.Generator | None
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
