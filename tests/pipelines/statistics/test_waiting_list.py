"""Waiting-list arithmetic; a failure here plans too few lists, or too many."""

import json
import math
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.statistics import waiting_list as wl

# Values of the R package NHSRwaitinglist 0.1.2.9001 (MIT); `meta` in the file says more.
CASES = json.loads((Path(__file__).parent / "cases/waiting_list.json").read_text())
FUNCTIONS = {
    "calc_queue_load": wl.queue_load,
    "calc_target_mean_wait": wl.target_mean_wait,
    "calc_target_queue_size": wl.target_queue_size,
    "calc_target_capacity": wl.target_capacity,
    "calc_relief_capacity": wl.relief_capacity,
    "calc_waiting_list_pressure": wl.pressure,
}
DAY = date(2024, 1, 1)
WEEK = {"start": DAY, "end": DAY + timedelta(days=6)}
# Days of a referral and how long it waits; None still waits.
PATIENTS = st.lists(
    st.tuples(st.integers(-30, 60), st.one_of(st.none(), st.integers(0, 60))), max_size=60
)


def close(expected: object) -> object:
    if expected is None or isinstance(expected, bool):
        return expected
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def series(*days: int | None) -> pl.Series:
    """Dates so many days after the first of January 2024; None is null."""
    found = [None if day is None else DAY + timedelta(days=day) for day in days]
    return pl.Series(found, dtype=pl.Date)


def patients(told: list[tuple[int, int | None]]) -> tuple[pl.Series, pl.Series]:
    """Referrals and removals of patients by day of referral and days waited."""
    removals = [None if days is None else day + days for day, days in told]
    return series(*(day for day, _ in told)), series(*removals)


@pytest.mark.parametrize("case", CASES["formulas"], ids=lambda c: f"{c['fn']} {c['args']}")
def test_the_formulas_of_the_outside_reference_are_met(case: dict):
    """Failing means that load, target, relief or pressure are not the published ones."""
    assert FUNCTIONS[case["fn"]](**case["args"]) == close(case["out"])


def package_window(case: dict) -> dict[str, date]:
    told = case["input"]
    given = [date.fromisoformat(day) for day in told["referral"]]
    start, end = told["start_date"], told["end_date"]
    return {
        "start": date.fromisoformat(start) if start else min(given),
        "end": date.fromisoformat(end) if end else max(given),
    }


def package_dates(case: dict) -> tuple[list[date], list[date | None]]:
    told = case["input"]
    return (
        [date.fromisoformat(day) for day in told["referral"]],
        [date.fromisoformat(day) if day else None for day in told["removal"]],
    )


def package_stats(case: dict) -> dict[str, dict]:
    """What the package finds, its defects included, from our functions on intervals.

    The defects are in the dates: both ends of the window are arrivals, removals outside it count,
    the days on which the list was empty count as removals that come first, one removal has a
    spread of 0, and the pressure divides days by weeks.
    """
    (referred, removed), window = package_dates(case), package_window(case)
    start, end = window["start"], window["end"]
    arrivals = sorted([start, *(day for day in referred if start <= day <= end), end])
    demand = wl.rate_of_intervals([(b - a).days for a, b in pairwise(arrivals)])
    queue = wl.daily_queue(pl.Series(referred), pl.Series(removed, dtype=pl.Date), **window)
    empty = queue.filter(pl.col("queue_size") == 0)["date"].to_list()
    marks = sorted([(day, 0) for day in empty] + [(day, 1) for day in removed if day])
    before = [start, *(day for day, _ in marks)]
    capacity = wl.rate_of_intervals(
        [
            (day - last).days
            for (day, is_removal), last in zip(marks, before[:-1], strict=True)
            if is_removal
        ]
    )
    assert demand.weekly and capacity.weekly
    cv = {"demand": demand.cv, "capacity": 0.0 if capacity.count == 1 else capacity.cv}
    size = queue["queue_size"][-1]
    wait = case["input"]["target_wait"]
    target = wl.target_queue_size(demand.weekly, wait)
    big = wl.is_queue_too_big(size, target)
    mean_days = wl.incomplete_waits(
        pl.Series(referred), pl.Series(removed, dtype=pl.Date), on=end
    ).mean_days
    assert mean_days is not None
    load = wl.queue_load(demand.weekly, capacity.weekly)
    return {
        "referral_stats": {
            "demand_weekly": demand.weekly,
            "demand_daily": demand.weekly / 7,
            "demand_cov": cv["demand"],
            "demand_count": demand.count,
        },
        "removal_stats": {
            "capacity_weekly": capacity.weekly,
            "capacity_daily": capacity.weekly / 7,
            "capacity_cov": cv["capacity"],
            "removal_count": capacity.count,
        },
        "wl_stats": {
            "mean_demand": demand.weekly,
            "mean_capacity": capacity.weekly,
            "load": load,
            "load_too_big": load >= 1,
            "count_demand": demand.count,
            "queue_size": size,
            "target_queue_size": target,
            "queue_too_big": big,
            "mean_wait": mean_days,
            "cv_arrival": cv["demand"],
            "cv_removal": cv["capacity"],
            "target_capacity": None
            if big
            else wl.target_capacity(
                demand.weekly, wait, cv_demand=cv["demand"] or 0, cv_capacity=cv["capacity"] or 0
            ),
            "relief_capacity": wl.relief_capacity(demand.weekly, size, target) if big else None,
            "pressure": 7 * wl.pressure(mean_days / 7, wait),
        },
    }


@pytest.mark.parametrize("case", CASES["lists"], ids=lambda case: case["id"])
def test_the_lists_of_the_outside_reference_are_met_day_by_day(case: dict):
    """Failing means that somebody is on the list too long, or not at all."""
    (referred, removed), expected = package_dates(case), case["expected"]["queue"]
    found = wl.daily_queue(
        pl.Series(referred), pl.Series(removed, dtype=pl.Date), **package_window(case)
    )
    assert found["date"].to_list() == [date.fromisoformat(day) for day in expected["dates"]]
    assert found["queue_size"].to_list() == expected["queue_size"]


@pytest.mark.parametrize("case", CASES["lists"], ids=lambda case: case["id"])
@pytest.mark.parametrize("part", ["referral_stats", "removal_stats", "wl_stats"])
def test_the_statistics_of_the_outside_reference_are_met_with_its_dates(case: dict, part: str):
    """Failing means that rates, spreads or verdicts are not those of the package."""
    found = package_stats(case)[part]
    assert set(found) == set(case["expected"][part])
    for name, value in case["expected"][part].items():
        assert found[name] == close(value), name


def test_the_published_example_is_met():
    """Failing means that the example a reader can look up comes out in another way."""
    assert wl.queue_load(30, 27) == pytest.approx(1.1111, abs=1e-4)
    assert wl.target_queue_size(30, 52) == 390
    assert wl.is_queue_too_big(1200, 390) and not wl.is_queue_too_big(780, 390)
    assert wl.relief_capacity(30, 1200, 390) == pytest.approx(61.1538, abs=1e-4)
    assert wl.pressure(63, 52) == pytest.approx(2.4231, abs=1e-4)
    assert wl.target_capacity(30, 52) - 30 == pytest.approx(0.0769, abs=1e-4)


def test_waits_in_days_are_not_divided_by_a_target_in_weeks():
    """Failing means that a list under no pressure is told to be under seven times too much."""
    referrals, removals = series(-28, -14), series(None, None)
    mean_days = wl.incomplete_waits(referrals, removals, on=DAY).mean_days
    assert mean_days == 21
    assert wl.pressure(mean_days / 7, 4) == 1.5


def test_a_patient_removed_before_the_window_is_not_on_the_list():
    """Failing means that who was seen before stays for ever."""
    referrals, removals = series(-20, -20, -5), series(-10, None, 0)
    assert wl.daily_queue(referrals, removals, **WEEK)["queue_size"].to_list() == [1] * 7
    assert wl.daily_flows(referrals, removals, **WEEK)["opening_size"][0] == 2


def test_a_referral_after_the_window_changes_nothing():
    """Failing means that the future is in the figures of today."""
    referrals, removals = series(1, 100), series(3, 120)
    assert wl.daily_queue(referrals, removals, **WEEK)["queue_size"].to_list() == [
        0, 1, 1, 0, 0, 0, 0,
    ]  # fmt: skip
    assert wl.demand_of(referrals, **WEEK).count == 1


def test_the_order_of_the_patients_does_not_matter():
    """Failing means that an unsorted extract gives another list."""
    first = wl.daily_queue(series(5, 1, 3), series(6, 4, None), **WEEK)
    assert first.equals(wl.daily_queue(series(1, 3, 5), series(4, None, 6), **WEEK))


def test_who_joins_and_leaves_on_one_day_never_waited():
    """Failing means that a walk-in makes a waiting list."""
    found = wl.daily_flows(series(2), series(2), **WEEK)
    assert found["queue_size"].to_list() == [0] * 7
    assert (found["addition_count"][2], found["removal_count"][2]) == (1, 1)


def test_the_ends_of_the_window_are_no_arrivals():
    """Failing means that demand is counted two patients too high."""
    found = wl.demand_of(series(0, 3, 6, 20), **WEEK)
    assert (found.count, found.weekly, found.cv) == (3, 3.0, 0.0)


def test_removals_outside_the_window_are_no_capacity():
    """Failing means that what was done last year counts for this week."""
    referrals, removals = series(-9, -9, -9, -9), series(-3, 2, 5, 9)
    found = wl.capacity_of(referrals, removals, **WEEK)
    assert (found.count, found.weekly) == (2, 2.0)


def test_a_list_that_empties_after_every_removal_has_a_finite_capacity():
    """Failing means that a prompt service has infinite capacity and a load of nothing."""
    referrals, removals = series(0, 2, 4, 6), series(0, 2, 4, 6)
    found = wl.capacity_of(referrals, removals, **WEEK)
    assert (found.count, found.weekly, found.cv) == (4, 7.0, 0.0)


def test_an_empty_list_without_removals_has_no_capacity_to_tell():
    """Failing means that nothing is read as 0."""
    found = wl.capacity_of(series(0), series(None), **WEEK)
    assert (found.count, found.weekly, found.cv) == (0, None, None)
    nobody = wl.capacity_of(series(), series(), **WEEK)
    assert (nobody.count, nobody.weekly) == (0, None)


def test_load_without_capacity_is_infinite_and_without_demand_nothing():
    """Failing means that a closed service looks balanced."""
    assert wl.queue_load(1, 0) == math.inf
    assert wl.queue_load(0, 0) == 0
    assert wl.queue_load(10, 10) == 1


def test_clearance_says_never_where_it_is_never():
    """Failing means that a list that grows is said to be cleared."""
    assert wl.clearance_weeks(120, 30) == 4
    assert wl.clearance_weeks(120, 0) is None
    assert wl.clearance_weeks(0, 0) == 0
    assert wl.net_clearance_weeks(60, 30, 40) == 6
    assert wl.net_clearance_weeks(60, 30, 30) is None
    assert wl.net_clearance_weeks(60, 40, 30) is None
    assert wl.net_clearance_weeks(-5, 40, 30) == 0


def test_littles_law_holds_of_a_steady_list_and_warns_of_one_that_moves():
    """Failing means that a growing list is judged as if it were in balance."""
    window = {"start": DAY, "end": DAY + timedelta(days=99)}
    steady = patients([(day, 10) for day in range(-20, 120)])
    found = wl.littles_law(*steady, **window)
    assert (found.average_size, found.expected_size, found.is_steady) == (10, 10, True)
    assert found.ratio == 1
    growing = patients([(day, None if day % 2 else 10) for day in range(100)])
    assert not wl.littles_law(*growing, **window).is_steady
    unseen = wl.littles_law(series(0), series(None), **WEEK)
    assert (unseen.expected_size, unseen.ratio) == (None, None)


def test_forty_two_days_are_six_weeks():
    """Failing means that the national measure is missed by the patients on the boundary."""
    found = wl.incomplete_waits(series(-42, -41, 0, 5), series(None, None, 1, None), on=DAY)
    assert (found.count, found.longest_days) == (3, 42)
    assert found.six_week_rate == pytest.approx(1 / 3)
    assert found.percentile_days == {0.5: 41, 0.85: 42, 0.92: 42, 0.95: 42}
    assert wl.incomplete_waits(series(), series(), on=DAY) == wl.IncompleteWaits(
        0, None, None, None, None
    )


def test_the_92nd_percentile_of_25_patients_is_the_23rd():
    """Failing means that rounding moves a percentile by one patient."""
    ages = wl.incomplete_waits(series(*range(-24, 1)), series(*[None] * 25), on=DAY)
    assert ages.percentile_days is not None
    assert ages.percentile_days[0.92] == 22


@given(PATIENTS)
def test_today_is_yesterday_with_additions_less_removals(told):
    """Failing means that patients appear on the list or vanish from it."""
    flows = wl.daily_flows(*patients(told), start=DAY, end=DAY + timedelta(days=40))
    assert wl.flow_gaps(flows).is_empty()
    first = flows.row(0, named=True)
    opened = first["opening_size"] + first["addition_count"] - first["removal_count"]
    assert first["queue_size"] == opened
    assert flows["queue_size"].min() >= 0  # ty: ignore


@given(PATIENTS, st.integers(0, 40))
def test_the_list_of_a_day_is_counted_patient_by_patient(told, day):
    """Failing means that the fast count is another than the definition."""
    by_hand = sum(start <= day and (days is None or start + days > day) for start, days in told)
    on = DAY + timedelta(days=day)
    found = wl.daily_queue(*patients(told), start=on, end=on)
    assert found["queue_size"].to_list() == [by_hand]


def test_a_gap_in_the_flows_is_found_and_named():
    """Failing means that a list is corrected by hand and nobody sees it."""
    flows = wl.daily_flows(series(0, 1), series(3, None), **WEEK)
    moved = flows.with_columns(
        pl.when(pl.col("date") == DAY + timedelta(days=4))
        .then(pl.col("queue_size") + 2)
        .otherwise(pl.col("queue_size"))
        .alias("queue_size")
    )
    found = wl.flow_gaps(moved)
    assert found.select("date", "gap").rows() == [
        (DAY + timedelta(days=4), 2),
        (DAY + timedelta(days=5), -2),
    ]
    with pytest.raises(ValueError, match="every day once"):
        wl.flow_gaps(flows.filter(pl.col("date") != DAY))
        wl.flow_gaps(flows.filter(pl.col("date") != DAY + timedelta(days=2)))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: wl.queue_load(-1, 2), "demand"),
        (lambda: wl.queue_load(1, math.nan), "capacity"),
        (lambda: wl.target_mean_wait(4, 0), "factor"),
        (lambda: wl.target_capacity(3, 0), "target_wait"),
        (lambda: wl.relief_capacity(3, 4, 1, 0), "time_to_target"),
        (lambda: wl.pressure(3, 0), "target_wait"),
        (lambda: wl.net_clearance_weeks(math.nan, 1, 2), "excess"),
        (lambda: wl.daily_queue(series(1), series(), **WEEK), "1 referrals but 0"),
        (lambda: wl.daily_queue(series(None), series(None), **WEEK), "no referral date"),
        (lambda: wl.daily_queue(series(4), series(2), **WEEK), "before the referral"),
        (
            lambda: wl.daily_queue(series(), series(), start=DAY, end=DAY - timedelta(days=1)),
            "before it starts",
        ),
        (lambda: wl.rate_of_intervals([3, -1]), "negative"),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(call, told):
    """Failing means that a broken row becomes a plan."""
    with pytest.raises(ValueError, match=told):
        call()


def test_demand_is_what_was_tested_and_what_the_list_grew_by():
    """Failing means that a growing list looks as if its tests were enough."""
    assert wl.weekly_demand(10, [10, 20], [7, 14]) == 20
    assert wl.weekly_demand(10, [-90], [21]) == 0, "validation takes off more than is tested"
    for wrong in ((10, [], []), (10, [math.nan], [7]), (-1, [0], [7])):
        with pytest.raises(ValueError, match="must be given"):
            wl.weekly_demand(*wrong)


def test_a_plan_is_made_of_the_functions_it_names():
    """Failing means that the page of what-if has formulas of its own."""
    plan = wl.list_plan(100, 110, 1000, 6)
    assert plan.target_size == wl.target_queue_size(100, 6) == 150
    assert plan.relief_capacity == wl.relief_capacity(100, 1000, 150)
    assert plan.target_capacity == wl.target_capacity(100, 6)
    assert plan.load == 100 / 110
    assert (plan.weeks_to_target, plan.weeks_to_clear) == (85, 1000 / 110)
    assert wl.list_plan(10, 12, 5, 6).relief_capacity is None, "it is there"
    stuck = wl.list_plan(100, 0, 1000, 6)
    assert (stuck.load, stuck.weeks_to_target, stuck.weeks_to_clear) == (math.inf, None, None)
