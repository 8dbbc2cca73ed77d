"""Turnaround percentiles: exams still without a report must neither vanish nor count as fast."""

import math
from datetime import date
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.statistics.roll_up import rolled_up
from pipelines.statistics.tables import TURNAROUND_SURVIVAL
from pipelines.statistics.turnaround import NOT_REACHED, percentiles, survival_by_group

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Ten exams by hand: at risk and reported at 1: 10, 1; 2: 9, 2; 4: 6 (one of 3 left), 1;
# 6: 4 (one of 5 left), 2; 9: 1 (one of 8 left), 1. Share still open: 9/10, 7/10, 7/12, 7/24, 0.
TIMES = [1, 2, 2, 3, 4, 5, 6, 6, 8, 9]
REPORTED = [True, True, True, False, True, False, True, True, False, True]


def test_the_curve_worked_by_hand_is_met():
    """Failing means that the percentiles are not those of Kaplan and Meier."""
    steps = {1: Fraction(1, 10), 2: Fraction(3, 10), 4: Fraction(5, 12), 6: Fraction(17, 24), 9: 1}
    for moment, share in steps.items():
        at, above = float(share) - 1e-6, float(share) + 1e-6
        assert percentiles(TIMES, REPORTED, [at])[at] == moment
        if above < 1:
            assert percentiles(TIMES, REPORTED, [above])[above] > moment
    assert percentiles(TIMES, REPORTED, [0.5, 0.9]) == {0.5: 6.0, 0.9: 9.0}


def test_a_report_at_the_time_another_exam_leaves_counts_it_as_still_waiting():
    """Failing means that ties between reports and open exams shift the curve."""
    # At 2: three at risk, one reported: 1/3. Without the open one it would be 1/2.
    assert percentiles([2, 2, 5], [True, False, False], [1 / 3, 0.34]) == {
        1 / 3: 2.0,
        0.34: NOT_REACHED,
    }


def test_leaving_open_exams_out_would_give_a_shorter_time():
    """Failing means that the slow exams are hidden."""
    reported_only = [t for t, r in zip(TIMES, REPORTED, strict=True) if r]
    plain = percentiles(reported_only, [True] * len(reported_only), [0.5])[0.5]
    assert plain < percentiles(TIMES, REPORTED, [0.5])[0.5]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=200), st.sampled_from([*SHARES, 1.0]))
def test_with_every_report_known_it_is_the_ordinary_percentile(times: list[int], q: float):
    """Failing means that a complete month has another median than any reader would compute."""
    rank = max(1, math.ceil(Fraction(q).limit_denominator(100) * len(times)))
    assert percentiles(times, [True] * len(times), [q])[q] == sorted(times)[rank - 1]


def test_a_big_month_is_exact_too():
    """Failing means that rounding moves a percentile of a large group."""
    times = np.arange(1, 40_001, dtype=float)
    found = percentiles(times, np.ones(40_000, dtype=bool), [0.5, 0.9, 1.0])
    assert found == {0.5: 20_000.0, 0.9: 36_000.0, 1.0: 40_000.0}


def test_a_percentile_that_too_few_have_reached_is_said_to_be_so():
    """Failing means that a backlog looks like a number."""
    assert percentiles([1, 5, 5, 5], [True, False, False, False], [0.2, 0.5]) == {
        0.2: 1.0,
        0.5: NOT_REACHED,
    }
    assert percentiles([3, 4], [False, False], [0.1]) == {0.1: NOT_REACHED}
    assert percentiles([], [], [0.5]) == {0.5: NOT_REACHED}
    assert repr(NOT_REACHED) == "NOT_REACHED"


@pytest.mark.parametrize(
    ("times", "reported", "share"),
    [
        ([1.0], [True, False], 0.5),
        ([-1.0], [True], 0.5),
        ([math.nan], [True], 0.5),
        ([math.inf], [False], 0.5),
        ([None], [True], 0.5),
        ([1.0], [True], 1.1),
        ([1.0], [True], -0.1),
        ([1.0], [True], math.nan),
    ],
)
def test_impossible_input_is_an_error(times: list, reported: list[bool], share: float):
    """Failing means that a wrong duration becomes a plausible figure."""
    with pytest.raises(ValueError):
        percentiles(times, reported, [share])


EXAMS = st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=80)


def as_number(value: object) -> float:
    return math.inf if value is NOT_REACHED else float(value)


@given(EXAMS)
def test_higher_shares_take_no_less_time_and_only_report_times_are_answers(exams):
    """Failing means that the ninth decile can be below the median."""
    times, reported = zip(*exams, strict=True)
    found = [as_number(value) for value in percentiles(times, reported, SHARES).values()]
    assert found == sorted(found)
    moments = {t for t, r in exams if r}
    assert all(value in moments or value == math.inf for value in found)


@given(EXAMS, st.randoms(use_true_random=False))
def test_the_order_of_the_exams_does_not_matter(exams, random):
    """Failing means that a figure depends on how a table happened to be sorted."""
    shuffled = random.sample(exams, len(exams))
    assert percentiles(*zip(*exams, strict=True), SHARES) == percentiles(
        *zip(*shuffled, strict=True), SHARES
    )


@given(EXAMS)
def test_taking_reports_back_never_shortens_the_time(exams):
    """Failing means that a growing backlog can look like an improvement."""
    times, reported = zip(*exams, strict=True)
    fewer = list(reported)
    if True in fewer:
        fewer[fewer.index(True)] = False
    before, after = (percentiles(times, flags, SHARES) for flags in (reported, fewer))
    assert all(as_number(after[q]) >= as_number(before[q]) for q in SHARES)


@given(EXAMS)
def test_waiting_longer_never_shortens_the_time(exams):
    """Failing means that letting open exams wait improves a figure."""
    times, reported = zip(*exams, strict=True)
    later = [t if r else t + 100 for t, r in exams]
    before, after = percentiles(times, reported, SHARES), percentiles(later, reported, SHARES)
    assert all(as_number(after[q]) >= as_number(before[q]) for q in SHARES)


def test_groups_are_judged_each_by_its_own_exams():
    """Failing means that one organisation's backlog is another's."""
    exams = pl.DataFrame(
        {
            "org_code": ["A"] * 4 + ["B"] * 2,
            "acquired_month_on": [date(2026, 1, 1)] * 6,
            "hours": [1.0, 2.0, 3.0, 4.0, 8.0, 9.0],
            "is_reported": [True, True, True, True, True, False],
        }
    )
    found = survival_by_group(exams, ["org_code", "acquired_month_on"])
    assert found.rows() == [
        ("A", date(2026, 1, 1), 4, 0, 2.0, 4.0, True, True),
        ("B", date(2026, 1, 1), 2, 1, 8.0, None, True, False),
    ]
    empty = survival_by_group(exams.clear(), ["org_code", "acquired_month_on"])
    assert empty.schema == found.schema and empty.is_empty()
    stated = {name for name, _, _ in TURNAROUND_SURVIVAL["columns"]}
    assert set(found.columns) <= stated


def test_an_exam_counts_in_every_group_it_belongs_to_and_once_in_each():
    """Failing means that the network is not the sum of its exams."""
    exams = pl.DataFrame(
        {
            "party_code": ["RMC", "RBV"],
            "trust_code": ["RMC", "R0A"],
            "modality_group": ["CT", "MRI"],
            "hours": [1.0, 2.0],
        }
    )
    found = rolled_up(exams)
    assert len(found) == 12
    keys = ["org_level", "org_code", "modality_group"]
    counted = {row[:3]: row[3] for row in found.group_by(keys).len().iter_rows()}
    assert counted["network", "NETWORK", "All"] == 2
    assert counted["network", "NETWORK", "CT"] == 1
    assert counted["trust", "R0A", "All"] == counted["party", "RBV", "MRI"] == 1
    assert found.filter(pl.col("org_code") == "NETWORK")["hours"].sum() == 6.0
