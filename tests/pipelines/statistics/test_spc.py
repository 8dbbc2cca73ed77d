"""Edge cases and laws of control charts; a failure here calls chance a signal, or a signal chance."""

import math
from datetime import date, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.statistics import spc

START = date(2021, 1, 1)
LIMITS = ("lpl", "upl", "near_lpl", "near_upl")


def days(count: int) -> list[date]:
    return [START + timedelta(days=day) for day in range(count)]


def chart(values: list[float | None], **options) -> spc.SpcChart:
    return spc.analyse(values, days(len(values)), **options)


def labels(values: list[float | None], **options) -> list[str]:
    return chart(values, **options).points["special_cause_type"].to_list()


# Around 0.4, without a run, so that one planted thing is the only signal.
QUIET = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]


def test_the_worked_example_has_the_printed_limits():
    """Failing means that screening takes other ranges out than the method says."""
    values = [1, 2, 1, 2, 10, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]
    screened = chart(values).points.row(0, named=True)
    assert screened["mean"] == pytest.approx(35 / 18)
    assert (screened["lpl"], screened["upl"]) == pytest.approx((35 / 18 - 2.66, 35 / 18 + 2.66))
    excel = chart(values, screen_outliers=False).points.row(0, named=True)
    assert (excel["lpl"], excel["upl"]) == pytest.approx((-3.0626, 6.9515), abs=1e-4)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.0, 1e9 + 0.1])
def test_a_constant_series_has_a_mean_and_no_limits(value: float):
    """Failing means that a series that never moves is judged by limits of width nothing."""
    found = chart([value] * 15, target=value)
    assert set(found.points["mean"]) == {value}
    for name in (*LIMITS, "outside_limits", "close_to_limits"):
        assert found.points[name].null_count() == 15, name
    assert set(found.points["relative_to_mean"]) == {0}
    assert (found.variation_icon, found.assurance_type) == ("common_cause", "inconsistent")


def test_a_constant_series_without_screening_has_limits_at_its_mean():
    """Failing means that the option of the Excel tool does not do what that tool does."""
    found = chart([4.0] * 9, screen_outliers=False).points
    assert {found[name][0] for name in LIMITS} == {4.0}
    assert not found["outside_limits"].any()


def test_without_limits_trends_and_shifts_are_still_seen():
    """Failing means that a rise goes unseen because the start of it was even."""
    values = [5.0] * 12 + [6, 7, 8, 9, 10, 11]
    found = chart(values, fix_after_n_points=12).points
    assert found["upl"].null_count() == len(values)
    assert found["special_cause_type"].to_list()[11:] == ["7 Point Trend (Increasing)"] * 7


def test_one_point_has_a_mean_and_no_limits():
    """Failing means that a first month is called good or bad."""
    found = chart([3.0], target=1.0)
    assert found.points.select("mean", "lpl", "upl").row(0) == (3.0, None, None)
    assert (found.variation_icon, found.assurance_icon) == ("common_cause", "inconsistent")


def test_two_points_keep_their_only_moving_range():
    """Failing means that screening takes out the only range there is."""
    found = chart([1.0, 3.0]).points.row(0, named=True)
    assert (found["mean"], found["upl"]) == pytest.approx((2.0, 2.0 + 2.66 * 2))


def test_no_point_is_no_chart():
    """Failing means that a metric nobody delivered gets an icon."""
    for found in (chart([]), chart([None, None], target=1.0)):
        assert found.points.is_empty()
        assert found.variation_icon is found.assurance_type is found.assurance_icon is None
    assert len(chart([None, None]).missing) == 2


def test_a_moving_range_at_the_screen_is_taken_out():
    """Failing means that the screen keeps what the method removes."""
    # Ranges 1000 on average, one of them 3267.
    steps = [3267, 733, 0, 1000, 1000, 1000, 0, 1000]
    assert sum(steps) / len(steps) == 1000
    values, sign = [0.0], 1
    for step in steps:
        values.append(values[-1] + sign * step)
        sign = -sign
    found = chart(values).points.row(0, named=True)
    kept = (sum(steps) - 3267) / (len(steps) - 1)
    assert found["upl"] - found["mean"] == pytest.approx(2.66 * kept)


def test_a_point_on_a_limit_is_inside():
    """Failing means that a point that keeps to its limits is told as outside them."""
    values = [0.0, 100.0, 0.0, 100.0] * 3 + [316.0, -216.0]
    found = chart(values, fix_after_n_points=12)
    assert found.points.select("lpl", "upl").row(0) == (-216.0, 316.0)
    assert found.points["outside_limits"].to_list()[-2:] == [False, False]
    assert found.points["close_to_limits"].to_list()[-2:] == [True, True]


def test_limits_are_not_clipped():
    """Failing means that the limits of a rate or a count are other than the method's."""
    found = chart([0.0, 1.0] * 8).points
    assert found["lpl"][0] < 0 and found["upl"][0] > 1


def test_a_tie_breaks_a_trend_and_a_point_on_the_mean_breaks_a_shift():
    """Failing means that seven points are called a run though one of them stood still."""
    tied = [*QUIET, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]
    assert not any("Trend" in label for label in labels(tied))
    around = [3.0, 4.0, 3.0, 2.0, 3.0, 4.0, 3.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0]
    assert not any("7 Points" in label for label in labels(around))
    around[3], around[10] = 3.0, 1.0
    assert sum("7 Points" in label for label in labels(around)) > 0


def test_a_mean_of_decimals_that_equals_a_point_is_that_point():
    """Failing means that rounding starts or breaks a shift."""
    values = [0.1, 0.3] * 7 + [0.2] * 3
    assert math.fsum(values) / len(values) != 0.2, "the division alone rounds it away"
    sides = chart(values).points["relative_to_mean"].to_list()
    assert sides[-3:] == [0, 0, 0]


def test_one_outside_and_one_near_are_not_two_in_three():
    """Failing means that a single wild point marks its neighbours."""
    base = [0.0, 100.0] * 6
    found = labels([*base, 400.0, 300.0, 60.0, 0.0], fix_after_n_points=12)
    assert found[12:] == ["Above UCL", "Common Cause", "Common Cause", "Common Cause"]
    found = labels([*base, 300.0, 60.0, 300.0, 0.0], fix_after_n_points=12)
    assert found[12:] == ["2 in 3 Above CL", "Common Cause", "2 in 3 Above CL", "Common Cause"]


def test_a_turning_point_takes_the_later_trend():
    """Failing means that the month in which things turned is told with what came before."""
    wide = [v * 100 for v in QUIET] + [float(v) for v in (*range(60, 67), *range(65, 57, -1))]
    found = labels(wide, fix_after_n_points=16)
    assert found[22] == "7 Point Trend (Decreasing)" and found[21] == "7 Point Trend (Increasing)"


def test_two_trends_with_an_equal_seam_keep_their_directions():
    """Failing means that the top of a rise is called the start of a fall."""
    wide = [v * 100 for v in QUIET] + [float(v) for v in (*range(50, 57), *range(56, 49, -1))]
    found = labels(wide, fix_after_n_points=16)
    assert found[16:23] == ["7 Point Trend (Increasing)"] * 7
    assert found[24:30] == ["7 Point Trend (Decreasing)"] * 6


def test_runs_do_not_cross_a_rebase():
    """Failing means that a change of the process is counted as a run of the old one."""
    values = [float(v) for v in range(8)]
    assert "7 Point Trend (Increasing)" in labels(values)
    found = chart(values, rebase=[days(8)[4]]).points
    assert set(found["special_cause_type"]) == {"Common Cause"}
    assert found["rebase_group"].to_list() == [0] * 4 + [1] * 4


def test_a_rebase_on_the_first_date_numbers_from_one_and_an_unknown_date_does_nothing():
    """Failing means that groups are numbered unlike those of the published package."""
    assert set(chart(QUIET, rebase=[START]).points["rebase_group"]) == {1}
    assert set(chart(QUIET, rebase=[date(1999, 1, 1)]).points["rebase_group"]) == {0}


def test_a_rebase_at_a_missing_value_starts_with_the_next_one():
    """Failing means that a go-live in a month without data re-bases nothing."""
    values: list[float | None] = [*QUIET]
    values[6] = None
    found = chart(values, rebase=[days(16)[6]]).points
    assert found["rebase_group"].to_list() == [0] * 6 + [1] * 9


def test_missing_values_are_dropped_and_marked_and_never_filled_in():
    """Failing means that a month nobody told of is drawn as if it were known."""
    values = [1.0, None, math.nan, 2.0, 1.0, None]
    found = chart(values)
    assert found.points["value"].to_list() == [1.0, 2.0, 1.0]
    assert found.points["missing_before"].to_list() == [0, 2, 0]
    assert found.missing == (days(6)[1], days(6)[2], days(6)[5])
    same = chart([1.0, 2.0, 1.0]).points
    assert found.points.select("mean", *LIMITS).equals(same.select("mean", *LIMITS))


def test_the_short_group_warning_ends_at_thirteen_points():
    """Failing means that limits of a few months are shown as settled."""
    found = chart((QUIET * 2)[:25], rebase=[days(25)[12]]).points
    assert found["short_group_warning"].to_list() == [True] * 12 + [False] * 13


def test_rows_after_the_fixed_points_carry_the_limits_of_these():
    """Failing means that a change moves the limits it is judged by."""
    fixed = chart([*QUIET, 50.0, 60.0], fix_after_n_points=16).points
    assert set(fixed["upl"]) == set(chart(QUIET).points["upl"])
    assert fixed["special_cause_type"].to_list()[-2:] == ["Above UCL"] * 2
    short = chart(QUIET[:13], fix_after_n_points=40).points
    assert short.equals(chart(QUIET[:13]).points)


@pytest.mark.parametrize(
    ("improvement", "last", "icon"),
    [
        ("increase", 9.0, "improvement_high"),
        ("increase", -9.0, "concern_low"),
        ("decrease", 9.0, "concern_high"),
        ("decrease", -9.0, "improvement_low"),
        ("neutral", 9.0, "neutral_high"),
        ("neutral", -9.0, "neutral_low"),
    ],
)
def test_the_variation_icon_is_that_of_the_last_point(improvement, last, icon):
    """Failing means that better is drawn as worse."""
    assert chart([*QUIET, last], improvement=improvement).variation_icon == icon
    assert chart([*QUIET, last, 0.4], improvement=improvement).variation_icon == "common_cause"


@pytest.mark.parametrize(
    ("improvement", "target", "expected"),
    [
        ("increase", 1e3, "fail"),
        ("increase", -1e3, "pass"),
        ("increase", 0.5, "inconsistent"),
        ("decrease", 1e3, "pass"),
        ("decrease", -1e3, "fail"),
        ("decrease", 0.5, "inconsistent"),
        ("neutral", 1e3, None),
        ("increase", None, None),
    ],
)
def test_assurance_compares_the_target_with_the_last_limits(improvement, target, expected):
    """Failing means that a target that is never met is called met."""
    assert chart(QUIET, improvement=improvement, target=target).assurance_icon == expected


def test_a_target_on_a_limit_is_neither_met_nor_missed():
    """Failing means that assurance is given at the limit itself."""
    limits = chart(QUIET).points.select("lpl", "upl").row(0)
    for target in limits:
        for improvement in ("increase", "decrease"):
            found = chart(QUIET, improvement=improvement, target=target)
            assert found.assurance_type == "inconsistent"


def test_assurance_uses_the_limits_of_the_last_group():
    """Failing means that a target is judged by how things were before the change."""
    values = QUIET + [value + 100 for value in QUIET]
    found = chart(values, target=50.0, rebase=[days(32)[16]])
    assert found.assurance_type == "consistent_pass"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0], "dates": []}, "1 values but 0 dates"),
        ({"values": [1.0, 2.0], "dates": [START, START]}, "two values"),
        ({"values": [math.inf], "dates": [START]}, "finite"),
        ({"values": [1.0], "dates": [START], "target": math.nan}, "target"),
        ({"values": [1.0], "dates": [START], "improvement": "up"}, "improvement is one of"),
        ({"values": [1.0], "dates": [START], "fix_after_n_points": 11}, "12 points or more"),
    ],
)
def test_a_series_that_cannot_be_judged_is_refused(arguments, message):
    """Failing means that a chart is drawn of what is no series."""
    with pytest.raises(ValueError, match=message):
        spc.analyse(**arguments)


# ------------------------------------------------------------ laws

FLAGS = ["special_cause_type", "relative_to_mean", "outside_limits", "close_to_limits"]
NUMBERS = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=40)
SOME = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def is_clear_of_limits(points: pl.DataFrame) -> bool:
    """No value within rounding of a line it is compared with."""
    gaps = points.select((pl.col(*LIMITS) - pl.col("value")).abs().min()).row(0)
    return all(gap is None or gap > 1e-6 for gap in gaps)


@SOME
@given(NUMBERS, st.integers(-1000, 1000))
def test_a_shifted_series_has_shifted_limits_and_the_same_signals(values, by):
    """Failing means that the unit's zero decides what is a signal."""
    one, other = chart(values), chart([value + by for value in values])
    assume(is_clear_of_limits(one.points))
    assert one.points.select(FLAGS).equals(other.points.select(FLAGS))
    for name in ("mean", *LIMITS):
        told = [None if v is None else v + by for v in one.points[name]]
        assert other.points[name].to_list() == pytest.approx(told, abs=1e-9)


@SOME
@given(NUMBERS, st.integers(-6, 6))
def test_a_scaled_series_has_scaled_limits_and_the_same_signals(values, power):
    """Failing means that hours and minutes give different signals."""
    scale = 2.0**power
    one, other = chart(values), chart([value * scale for value in values])
    assert one.points.select(FLAGS).equals(other.points.select(FLAGS))
    for name in ("mean", *LIMITS):
        told = [None if v is None else v * scale for v in one.points[name]]
        assert other.points[name].to_list() == told


@SOME
@given(NUMBERS)
def test_a_mirrored_series_has_mirrored_signals(values):
    """Failing means that high and low are not judged alike."""
    one = chart(values, improvement="increase")
    other = chart([-value for value in values], improvement="decrease")
    assert one.points["point_type"].equals(other.points["point_type"])
    sides = -other.points["relative_to_mean"]
    assert one.points["relative_to_mean"].to_list() == sides.to_list()


@SOME
@given(NUMBERS, st.randoms(use_true_random=False))
def test_the_order_of_the_input_decides_nothing(values, random):
    """Failing means that a late row changes the chart of all months."""
    rows = list(zip(values, days(len(values)), strict=True))
    random.shuffle(rows)
    shuffled = spc.analyse([v for v, _ in rows], [d for _, d in rows], target=3.0)
    ordered = chart(values, target=3.0)
    assert shuffled.points.equals(ordered.points)
    assert shuffled.assurance_type == ordered.assurance_type


@SOME
@given(NUMBERS)
def test_limits_lie_evenly_about_the_mean(values):
    """Failing means that one side of a chart is judged more strictly."""
    for row in chart(values).points.drop_nulls("upl").to_dicts():
        assert row["upl"] - row["mean"] == pytest.approx(row["mean"] - row["lpl"], abs=1e-9)
        near = row["near_upl"] - row["mean"]
        assert near == pytest.approx(row["mean"] - row["near_lpl"], abs=1e-9)
        assert near == pytest.approx((row["upl"] - row["mean"]) * 2 / 3, abs=1e-9)


@SOME
@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_each_rebase_group_is_judged_as_if_it_stood_alone(parts):
    """Failing means that what was before a go-live colours what came after."""
    values = [value for part in parts for value in part]
    bounds = [0]
    for part in parts:
        bounds.append(bounds[-1] + len(part))
    every = days(len(values))
    together = chart(values, rebase=[every[at] for at in bounds[1:-1]]).points
    for number, (start, stop) in enumerate(pairwise(bounds)):
        alone = spc.analyse(values[start:stop], every[start:stop]).points
        assert together[start:stop].drop("rebase_group").equals(alone.drop("rebase_group"))
        assert set(together["rebase_group"][start:stop]) == {number}
