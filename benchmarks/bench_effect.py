"""Randomisation p of one go-live effect: all orders by one product, against a refit of each order.

The task is the 40,320 orders of eight go-lives over a panel of the reference world. The peer does
what a reader of the method would write first: for each order the design anew, and its least-squares
fit by numpy.linalg.lstsq. It is timed on a sample of orders, and its statistic of each is compared
with ours. `estimate` is the whole effect: interval, all orders, all checks.
"""

import argparse
import itertools
import math
import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_journey import machine
from benchmarks.effect_worlds import SEED, World, panel_of, reference_calendar
from benchmarks.report import write_report
from pipelines.statistics.go_live_effect import estimate

ROUNDS = 5
SAMPLE, QUICK_SAMPLE = 1_000, 100
HORIZON = 12
AIMS = {"estimate_seconds": 1.0}


def main() -> None:
    """Measure and print; exit code 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the orders for the peer")
    parser.add_argument("--json", action="store_true", help="only JSON on standard output")
    arguments = parser.parse_args()
    write_report(measure(QUICK_SAMPLE if arguments.quick else SAMPLE), as_json=arguments.json)


def measure(sample: int) -> dict[str, Any]:
    """Seconds of one effect with all its orders, and of the peer's refits, in turns."""
    calendar = reference_calendar()
    panel, _ = panel_of(World("bench", calendar, effect=-2.0), np.random.default_rng(SEED))
    values = panel["value"].to_numpy().reshape(len(calendar.starts), calendar.month_count)
    starts = np.array(list(calendar.starts.values()))
    orders = list(itertools.islice(itertools.permutations(range(len(starts))), sample))
    ours, theirs, refitted = [], [], []
    began = time.perf_counter()
    found = estimate(panel, calendar.starts, improvement="decrease")
    first = time.perf_counter() - began
    for number in range(ROUNDS):
        began = time.perf_counter()
        found = estimate(panel, calendar.starts, improvement="decrease")
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        part = orders[number::ROUNDS]
        refitted += [by_refit(values, starts[list(order)]) for order in part]
        theirs.append((time.perf_counter() - began) / len(part) * math.factorial(len(starts)))
    identity = by_refit(values, starts)
    return {
        "machine": machine(),
        "orders": found.order_count,
        "refitted_orders": len(refitted),
        "results": [
            {"name": "estimate_first", "unit": "s", "value": first},
            {
                "name": "estimate",
                "unit": "s",
                "value": median(ours),
                "least": min(ours),
                "most": max(ours),
            },
            {"name": "lstsq_all_orders", "unit": "s, from a sample", "value": median(theirs)},
            {"name": "differing_effect", "unit": "", "value": abs(identity - found.att)},
        ],
        "ratios": {
            "estimate_seconds": median(ours),
            "lstsq_over_estimate": median(t / o for t, o in zip(theirs, ours, strict=True)),
        },
        "aims": AIMS,
    }


def by_refit(values: NDArray[np.float64], starts: NDArray[np.int64]) -> float:
    """Mean effect of one order of the go-lives, everything fitted anew."""
    count, last = len(starts), int(starts.max())
    months = np.arange(last)
    trust = np.eye(count)[:, None, :].repeat(last, axis=1)
    month = np.eye(last)[None, :, 1:].repeat(count, axis=0)
    rows = np.concatenate([trust, month, trust[:, :, 1:] * (months / last)[None, :, None]], axis=2)
    since = months[None, :] - starts[:, None]
    used = values[:, :last]
    fit, *_ = np.linalg.lstsq(rows[since < 0], used[since < 0], rcond=None)
    counted = (since >= 0) & (since < HORIZON)
    return float((used - rows @ fit)[counted].mean())


if __name__ == "__main__":
    main()
