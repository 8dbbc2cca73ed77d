"""Report turnaround with open reports kept: Kaplan-Meier percentiles.

An exam without a verified report is not left out (that would hide the slow ones): it is censored
at the time it has waited so far. Rule: NHS England reporting turnaround, exams acquired in the
period stay in the denominator until they are reported.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

METRIC_ID = "R01"
# The estimate as a metric: what is its month, its denominator and its value.
AS_METRIC = {
    "acquired_month_on": "period_start_on",
    "exam_count": "denominator",
    "p50_hours": "value",
}


class _NotReached:
    """The value of a percentile that fewer reports than needed have reached."""

    def __repr__(self) -> str:
        return "NOT_REACHED"


NOT_REACHED: Final = _NotReached()


def percentiles(
    durations: Sequence[float], observed: Sequence[bool], qs: Sequence[float]
) -> dict[float, "float | _NotReached"]:
    """Kaplan-Meier percentiles of durations, keyed by q.

    `durations` in any one unit (the result has the same), `observed` False where the report is
    still open (censored at that duration), `qs` between 0 and 1. The q-percentile is the earliest
    duration by which at least a share q is reported; NOT_REACHED where the estimate never gets
    there, also for an empty input. Raises ValueError on unequal lengths, a negative, missing or
    infinite duration, or a q outside 0 to 1.
    """
    times = np.asarray(durations, dtype=float)
    events = np.asarray(observed, dtype=bool)
    if times.shape != events.shape:
        raise ValueError(f"{times.size} durations but {events.size} observed flags")
    if times.size and (not np.isfinite(times).all() or times.min() < 0):
        raise ValueError("durations must be given, finite and not negative; quarantine them first")
    if any(not 0 <= q <= 1 for q in qs):
        raise ValueError("percentiles are asked for as shares between 0 and 1")
    moments, reported = _curve(times, events)
    return {q: _first_reached(moments, reported, q) for q in qs}


def _curve(times: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct times of a report, and the estimated share reported by each."""
    moments, counts = np.unique(times[events], return_counts=True)
    at_risk = times.size - np.searchsorted(np.sort(times), moments, side="left")
    survival = np.cumprod(1 - counts / at_risk)
    return moments, 1 - survival


def _first_reached(moments: np.ndarray, reported: np.ndarray, q: float) -> "float | _NotReached":
    # Forgives the rounding of a product of many thousand factors, so that a half of two halves
    # is a half; far below the share of one exam.
    index = int(np.searchsorted(reported, q - 1e-9, side="left"))
    return float(moments[index]) if index < moments.size else NOT_REACHED


def survival_by_group(exams: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """One row per group: `exam_count`, `open_count`, `p50_hours`, `p90_hours` and whether reached.

    `exams` has the key columns, `hours` (to the report, or waited so far) and `is_reported`;
    rows without hours must be left out before.
    """
    rows = []
    for group, frame in exams.group_by(keys, maintain_order=True):
        reported = frame["is_reported"].to_list()
        found = percentiles(frame["hours"].to_list(), reported, (0.5, 0.9))
        p50, p90 = (None if found[q] is NOT_REACHED else found[q] for q in (0.5, 0.9))
        open_count = len(reported) - sum(reported)
        rows.append((*group, len(frame), open_count, p50, p90, p50 is not None, p90 is not None))
    schema = {key: exams.schema[key] for key in keys} | {
        "exam_count": pl.Int64,
        "open_count": pl.Int64,
        "p50_hours": pl.Float64,
        "p90_hours": pl.Float64,
        "p50_reached": pl.Boolean,
        "p90_reached": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def as_metric(estimates: pl.DataFrame) -> pl.DataFrame:
    """The rows of `survival_by_group` as those of metric R01: metric_id, and the names of AS_METRIC.

    The value is the median in hours, null where it is not reached; the denominator is its exams. The
    month is that in which the exams were acquired, and `int_report_turnarounds` has complete ones only.
    """
    return estimates.rename(AS_METRIC).select(pl.lit(METRIC_ID).alias("metric_id"), pl.all())
