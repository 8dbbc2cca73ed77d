"""Waiting lists: load, target size and capacity, pressure, clearance, and what must add up.

Formulas of Fong and others (2022, medRxiv 2022.08.23.22279117). Demand and capacity are patients a
week, waits and targets weeks, unless a name says otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import polars as pl

# A share of e^-4, 1.8 %, waits longer than the target where the mean wait is a fourth of it.
FACTOR = 4.0
WEEKS_TO_TARGET = 26.0
# Of the average list; beyond it the list moved too far for Little's law to be expected.
STEADY_SHARE = 0.1
DAYS_A_WEEK = 7
LONG_WAIT_DAYS = 42
PERCENTILES = (0.5, 0.85, 0.92, 0.95)


def queue_load(demand: float, capacity: float) -> float:
    """Demand over capacity, of one unit; the list grows at 1 or more, for ever without capacity.

    Raises ValueError for a negative or missing number.
    """
    _check(demand=demand, capacity=capacity)
    if capacity == 0:
        return math.inf if demand else 0.0
    return demand / capacity


def target_mean_wait(target_wait: float, factor: float = FACTOR) -> float:
    """Mean wait at which few wait longer than the target: a share of e^-factor. Unit as given."""
    _check(target_wait=target_wait)
    _check_above_zero(factor=factor)
    return target_wait / factor


def target_queue_size(demand: float, target_wait: float, factor: float = FACTOR) -> float:
    """Patients on a list whose mean wait is the target mean wait (Little's law)."""
    _check(demand=demand)
    return demand * target_mean_wait(target_wait, factor)


def is_queue_too_big(queue_size: float, target: float) -> bool:
    """True for a list of more than twice its target size: then relief comes before balance."""
    _check(queue_size=queue_size, target=target)
    return queue_size > 2 * target


def target_capacity(
    demand: float,
    target_wait: float,
    factor: float = FACTOR,
    cv_demand: float = 1.0,
    cv_capacity: float = 1.0,
) -> float:
    """Capacity that keeps a list at its target size, a week.

    `cv_demand` and `cv_capacity` are the coefficients of variation of the times between arrivals
    and between removals. The margin over demand is small, so that an error of the demand forecast
    weighs more: show a range. For a list that is not too big (`is_queue_too_big`).
    """
    _check(demand=demand, cv_demand=cv_demand, cv_capacity=cv_capacity)
    _check_above_zero(target_wait=target_wait, factor=factor)
    return demand + (cv_demand**2 + cv_capacity**2) / 2 * factor / target_wait


def relief_capacity(
    demand: float,
    queue_size: float,
    target_queue_size: float,
    time_to_target: float = WEEKS_TO_TARGET,
) -> float:
    """Capacity a week that brings a list to its target size within `time_to_target` weeks."""
    _check(demand=demand, queue_size=queue_size, target_queue_size=target_queue_size)
    _check_above_zero(time_to_target=time_to_target)
    return demand + (queue_size - target_queue_size) / time_to_target


def pressure(mean_wait: float, target_wait: float) -> float:
    """Twice the mean wait over the target, of one unit; above 1 the target is likely missed."""
    _check(mean_wait=mean_wait)
    _check_above_zero(target_wait=target_wait)
    return 2 * mean_wait / target_wait


def clearance_weeks(queue_size: float, weekly_removals: float) -> float | None:
    """Weeks in which removals would empty the list if nobody joined it; None without removals."""
    _check(queue_size=queue_size, weekly_removals=weekly_removals)
    if queue_size == 0:
        return 0.0
    return queue_size / weekly_removals if weekly_removals else None


def net_clearance_weeks(excess: float, demand: float, capacity: float) -> float | None:
    """Weeks until `excess` patients over the target are gone while others join; None for never.

    0 where there is no excess, whatever the capacity.
    """
    _check(demand=demand, capacity=capacity)
    if excess is None or not math.isfinite(excess):
        raise ValueError("excess must be given and finite")
    if excess <= 0:
        return 0.0
    return excess / (capacity - demand) if capacity > demand else None


def weekly_demand(weekly_tests: float, growth: Sequence[float], days: Sequence[float]) -> float:
    """Requests a week that stay on the list: tests a week and what the list grew by a week.

    `growth` and `days`: of each of some months. Below 0 is 0: a list may shrink by validation
    faster than tests explain. Raises ValueError for missing numbers and for no days.
    """
    grown, counted = math.fsum(growth), math.fsum(days)
    _check(weekly_tests=weekly_tests)
    _check_above_zero(days=counted)
    if not math.isfinite(grown):
        raise ValueError("growth must be given and finite")
    return max(weekly_tests + grown * DAYS_A_WEEK / counted, 0.0)


@dataclass(frozen=True)
class ListPlan:
    """What demand, capacity and a target mean for a list; weeks, patients, patients a week.

    `load`: demand over capacity, inf without capacity. `target_size`: list at the target.
    `target_capacity`: keeps it there. `relief_capacity`: brings it there in time, None where it is
    there. Weeks are None for never.
    """

    load: float
    target_size: float
    target_capacity: float
    relief_capacity: float | None
    weeks_to_target: float | None
    weeks_to_clear: float | None


def list_plan(
    demand: float,
    capacity: float,
    queue_size: float,
    target_wait: float,
    *,
    time_to_target: float = WEEKS_TO_TARGET,
    factor: float = FACTOR,
) -> ListPlan:
    """Every answer for one list at once. Raises ValueError as the functions it is made of."""
    target = target_queue_size(demand, target_wait, factor)
    return ListPlan(
        load=queue_load(demand, capacity),
        target_size=target,
        target_capacity=target_capacity(demand, target_wait, factor),
        relief_capacity=relief_capacity(demand, queue_size, target, time_to_target)
        if queue_size > target
        else None,
        weeks_to_target=net_clearance_weeks(queue_size - target, demand, capacity),
        weeks_to_clear=clearance_weeks(queue_size, capacity),
    )


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if number is None or not math.isfinite(number) or number < 0:
            raise ValueError(f"{name} must be given, finite and not negative")


def _check_above_zero(**numbers: float) -> None:
    for name, number in numbers.items():
        if number is None or not math.isfinite(number) or number <= 0:
            raise ValueError(f"{name} must be given, finite and above 0")


def daily_queue(
    referrals: pl.Series, removals: pl.Series, *, start: date, end: date
) -> pl.DataFrame:
    """One row per day from `start` to `end`: `date`, `queue_size` at the end of the day.

    Two series of dates, one place per patient in any order; null in `removals` where a patient
    still waits. A patient removed on a day does not wait on it. Who joined before `start` and was
    not removed counts; what happens after `end` does not. Raises ValueError on unequal lengths, a
    patient without a referral or removed before it, and an end before the start.
    """
    return daily_flows(referrals, removals, start=start, end=end).select("date", "queue_size")


def daily_flows(
    referrals: pl.Series, removals: pl.Series, *, start: date, end: date
) -> pl.DataFrame:
    """One row per day: `date`, `opening_size`, `addition_count`, `removal_count`, `queue_size`.

    queue_size is counted from the patients, not from the flows, so that `flow_gaps` can compare
    the two. Arguments and errors as `daily_queue`.
    """
    if end < start:
        raise ValueError(f"the window ends on {end}, before it starts on {start}")
    patients = _patients(referrals, removals)
    days = pl.DataFrame({"date": pl.date_range(start, end, interval="1d", eager=True)})
    joined, left = (patients[name].drop_nulls().sort() for name in ("referred_on", "removed_on"))

    def so_far(events: pl.Series, dates: pl.Series) -> pl.Series:
        return events.search_sorted(dates, side="right").cast(pl.Int64)

    def waiting(dates: pl.Series) -> pl.Series:
        return so_far(joined, dates) - so_far(left, dates)

    def per_day(events: pl.Series) -> pl.Series:
        day_before = days["date"].dt.offset_by("-1d")
        return so_far(events, days["date"]) - so_far(events, day_before)

    return days.with_columns(
        waiting(days["date"].dt.offset_by("-1d")).alias("opening_size"),
        per_day(joined).alias("addition_count"),
        per_day(left).alias("removal_count"),
        waiting(days["date"]).alias("queue_size"),
    )


def flow_gaps(flows: pl.DataFrame) -> pl.DataFrame:
    """One row per day on which a list is not yesterday's plus additions less removals.

    `flows` has date, addition_count, removal_count and queue_size of consecutive days, in any
    order; the result has these and `gap`. The first day has no yesterday. A day that is missing
    raises ValueError: over a hole nothing can be compared.
    """
    ordered = flows.sort("date")
    steps = ordered["date"].diff().drop_nulls().unique().to_list()
    if steps not in ([], [timedelta(days=1)]):
        raise ValueError("days are missing or told twice; the flow identity needs every day once")
    gap = (pl.col("queue_size").diff() - pl.col("addition_count") + pl.col("removal_count")).alias(
        "gap"
    )
    return ordered.with_columns(gap).filter(pl.col("gap") != 0)


def _patients(referrals: pl.Series, removals: pl.Series) -> pl.DataFrame:
    if len(referrals) != len(removals):
        raise ValueError(f"{len(referrals)} referrals but {len(removals)} removals; give both")
    patients = pl.DataFrame(
        {"referred_on": referrals.cast(pl.Date), "removed_on": removals.cast(pl.Date)}
    )
    if patients["referred_on"].null_count():
        raise ValueError("a patient has no referral date; leave it out and count it apart")
    if patients.filter(pl.col("removed_on") < pl.col("referred_on")).height:
        raise ValueError("a patient is removed before the referral; quarantine the row first")
    return patients


@dataclass(frozen=True)
class Rate:
    """Arrivals or removals: events a week, and the coefficient of variation of their intervals.

    `weekly` is None without an event, `cv` with fewer than two intervals.
    """

    count: int
    weekly: float | None
    cv: float | None


def rate_of_intervals(days: Sequence[float]) -> Rate:
    """Rate of events from the days between them; the mean interval is what it stands on.

    No spread is told of one interval. Raises ValueError for a negative interval.
    """
    if any(day < 0 for day in days):
        raise ValueError("an interval is negative; sort the events first")
    mean = math.fsum(days) / len(days) if days else 0.0
    if not mean:
        return Rate(len(days), None, None)
    spread = None
    if len(days) > 1:
        spread = math.sqrt(math.fsum((day - mean) ** 2 for day in days) / (len(days) - 1)) / mean
    return Rate(len(days), DAYS_A_WEEK / mean, spread)


def demand_of(referrals: pl.Series, *, start: date, end: date) -> Rate:
    """Referrals of the window (both ends count) a week, cv of the days between two of them.

    Referrals outside the window do not count, and its ends are no arrivals.
    """
    found = referrals.cast(pl.Date).drop_nulls()
    inside = found.filter(found.is_between(start, end)).sort()
    days = (end - start).days + 1
    intervals = [step.days for step in inside.diff().drop_nulls().to_list()]
    return Rate(len(inside), len(inside) * DAYS_A_WEEK / days, rate_of_intervals(intervals).cv)


def capacity_of(referrals: pl.Series, removals: pl.Series, *, start: date, end: date) -> Rate:
    """Removals of the window a week of days with somebody to remove, cv of their intervals.

    A day counts when somebody waited when it began, or joined in its course: what an empty list
    leaves idle is no lack of capacity. An interval counts the days since the removal before, less
    the idle ones between. Arguments and errors as `daily_queue`.
    """
    flows = daily_flows(referrals, removals, start=start, end=end).with_columns(
        (pl.col("opening_size") + pl.col("addition_count") > 0).cum_sum().alias("busy_days")
    )
    busy = int(flows["busy_days"][-1])
    removed = flows.filter(pl.col("removal_count") > 0)
    count = int(removed["removal_count"].sum())
    marks = [
        mark
        for mark, events in removed.select("busy_days", "removal_count").iter_rows()
        for _ in range(events)
    ]
    intervals = [after - before for before, after in pairwise(marks)]
    weekly = count * DAYS_A_WEEK / busy if count else None
    return Rate(count, weekly, rate_of_intervals(intervals).cv)


@dataclass(frozen=True)
class LittleCheck:
    """Average list against arrival rate times mean wait; `is_steady` False warns of no steady state.

    `ratio` is the first over the second, None where nobody arrived or nobody was removed.
    """

    average_size: float
    expected_size: float | None
    ratio: float | None
    is_steady: bool


def littles_law(
    referrals: pl.Series, removals: pl.Series, *, start: date, end: date
) -> LittleCheck:
    """Compare the average list of a window with arrivals a day times the mean wait in days.

    The mean wait is that of the patients removed in the window. The list is steady when it ends
    within STEADY_SHARE of its average from where it opened. Arguments and errors as `daily_queue`.
    """
    flows = daily_flows(referrals, removals, start=start, end=end)
    patients = _patients(referrals, removals)
    seen = patients.filter(pl.col("removed_on").is_between(start, end))
    waits = (seen["removed_on"] - seen["referred_on"]).dt.total_days()
    average = float(flows["queue_size"].sum()) / len(flows)
    arrivals = float(flows["addition_count"].sum()) / len(flows)
    expected = None if seen.is_empty() else arrivals * float(waits.sum()) / len(waits)
    moved = abs(int(flows["queue_size"][-1]) - int(flows["opening_size"][0]))
    return LittleCheck(
        average_size=average,
        expected_size=expected,
        ratio=average / expected if expected else None,
        is_steady=moved <= STEADY_SHARE * average,
    )


@dataclass(frozen=True)
class IncompleteWaits:
    """Waits in days of those on the list at the end of a day; None of an empty list."""

    count: int
    mean_days: float | None
    percentile_days: dict[float, float] | None
    longest_days: int | None
    six_week_rate: float | None


def incomplete_waits(referrals: pl.Series, removals: pl.Series, *, on: date) -> IncompleteWaits:
    """How long those who wait at the end of `on` have waited, in days.

    A wait of exactly 42 days is six weeks or longer. A percentile is the shortest wait that at
    least that share of the list has not exceeded. Errors as `daily_queue`.
    """
    patients = _patients(referrals, removals)
    still = pl.col("removed_on").is_null() | (pl.col("removed_on") > on)
    waiting = patients.filter((pl.col("referred_on") <= on) & still)
    ages = sorted((pl.Series([on]) - waiting["referred_on"]).dt.total_days().to_list())
    if not ages:
        return IncompleteWaits(0, None, None, None, None)
    count = len(ages)
    return IncompleteWaits(
        count=count,
        mean_days=math.fsum(ages) / count,
        # 1e-9: 0.92 of 25 patients is the 23rd, though the product is a hair above it.
        percentile_days={
            share: float(ages[max(math.ceil(share * count - 1e-9), 1) - 1]) for share in PERCENTILES
        },
        longest_days=ages[-1],
        six_week_rate=sum(age >= LONG_WAIT_DAYS for age in ages) / count,
    )
