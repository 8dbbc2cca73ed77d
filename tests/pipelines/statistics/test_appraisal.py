"""Appraisal arithmetic; a failure here tells a board that a programme pays, or does not."""

import csv
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.statistics.appraisal import (
    Simulation,
    UncertainLine,
    appraise,
    benefit_sensitivities,
    discount_factor,
    discount_rate,
    in_prices_of,
    multipliers,
    simulate,
)

# Factors and appraisals of the R package greenbook 0.1.1 (MIT); `meta` in the file says more.
CASES = json.loads((Path(__file__).parent / "cases/appraisal.json").read_text())
SEED = Path(__file__).parents[3] / "dbt_project/seeds/national/discount_rates.csv"
# GDP deflator at market prices, 2024 = 100 (HM Treasury, December 2025).
DEFLATOR = {2018: 79.1606, 2019: 81.1085, 2020: 85.2137, 2023: 96.2507, 2024: 100.0}
MONEY = st.floats(-1e6, 1e6)
YEARS = st.integers(1, 40)


def close(expected: float | None) -> object:
    return expected if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("year", "factor"), CASES["discount_factors"]["standard"].items(), ids=lambda v: str(v)
)
def test_the_factors_of_the_outside_reference_are_met(year: str, factor: float):
    """Failing means that every present value is wrong."""
    assert discount_factor(int(year)) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["id"])
def test_the_appraisals_of_the_outside_reference_are_met(case: dict):
    """Failing means that NPSV, BCR, payback or the annual equivalent are not the Green Book's."""
    found = asdict(
        appraise(
            case["costs"],
            case["benefits"],
            optimism_bias=case["ob"],
            mitigation=case["mitigation"],
            schedule=case["schedule"],
        )
    )
    for name, value in found.items():
        expected = case[name]
        assert value == (expected if "payback" in name else close(expected)), name


def test_health_effects_are_discounted_at_their_own_rate():
    """Failing means that quality-adjusted years of later years are worth too little."""
    found = [round(discount_factor(year, schedule="health"), 4) for year in (5, 10, 30)]
    assert found == [0.9283, 0.8617, 0.6398]
    assert discount_factor(31) == pytest.approx(discount_factor(30) / 1.03, rel=1e-12)


def test_the_rates_are_those_of_the_dated_seed():
    """Failing means that a page prints another schedule than the one that was used."""
    with SEED.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["schedule"] for row in rows} == {"standard", "health", "sensitivity"}
    for row in rows:
        for year in {int(row["from_year"]), int(row["to_year"] or 400)}:
            assert discount_rate(year, schedule=row["schedule"]) == float(row["rate"]), row


@pytest.mark.parametrize("year", [-1, 1.5, None, True])
def test_a_year_that_is_none_is_refused(year: object):
    """Failing means that a flow is discounted by a year nobody gave."""
    with pytest.raises(ValueError, match="whole number of years"):
        discount_factor(year)  # ty: ignore
    with pytest.raises(ValueError, match="schedule"):
        discount_factor(1, schedule="nominal")  # ty: ignore


def test_without_costs_there_is_no_ratio_and_without_a_later_year_no_annual_equivalent():
    """Failing means that a free benefit has an infinite ratio, or one year an annuity."""
    found = appraise([0], [10])
    assert (found.bcr, found.eanc, found.npsv, found.discounted_payback_year) == (None, None, 10, 0)
    assert appraise([-5, 0], [1, 1]).bcr is None


def test_a_running_net_flow_of_exactly_nothing_has_not_paid_back():
    """Failing means that payback is told a year early."""
    assert appraise([10, 0, 0], [0, 10, 1]).undiscounted_payback_year == 2
    assert appraise([10, 0], [0, 10]).undiscounted_payback_year is None


def test_a_fifth_of_optimism_half_mitigated_adds_a_tenth():
    """Failing means that costs are raised by too much or too little."""
    found = appraise([100], [0], optimism_bias=0.2, mitigation=0.5)
    assert found.pv_costs == pytest.approx(110)
    assert appraise([100], [0], optimism_bias=2.0, mitigation=1.0).pv_costs == 100


@pytest.mark.parametrize(
    ("costs", "benefits", "more", "told"),
    [
        ([1], [1, 2], {}, "1 years of costs but 2"),
        ([], [], {}, "no year"),
        ([math.nan], [1], {}, "costs of year 0"),
        ([1, None], [1, 1], {}, "costs of year 1"),
        ([1], [math.inf], {}, "benefits of year 0"),
        ([1], [1], {"mitigation": 1.5}, "mitigation 1.5"),
        ([1], [1], {"optimism_bias": -0.1}, "optimism_bias -0.1"),
    ],
)
def test_flows_that_cannot_be_appraised_are_refused(costs, benefits, more, told):
    """Failing means that a gap in a business case is read as 0."""
    with pytest.raises(ValueError, match=told):
        appraise(costs, benefits, **more)


def test_prices_of_two_years_are_not_mixed_and_a_line_without_a_price_year_is_refused():
    """Failing means that a pound of 2018 counts as one of 2024."""
    assert in_prices_of(79.1606, 2018, 2024, DEFLATOR) == pytest.approx(100)
    assert in_prices_of(50, 2024, 2024, DEFLATOR) == 50
    with pytest.raises(ValueError, match="no price year"):
        in_prices_of(1, None, 2024, DEFLATOR)
    with pytest.raises(ValueError, match="no 2031"):
        in_prices_of(1, 2031, 2024, DEFLATOR)


def test_benefits_are_also_shown_lower_and_later():
    """Failing means that only costs are ever doubted."""
    found = benefit_sensitivities([100, 0, 0], [0, 100, 100])
    full, later = found["as given"], found["benefits a year late"]
    assert found["benefits less 20 %"].pv_benefits == pytest.approx(0.8 * full.pv_benefits)
    assert found["benefits less 40 %"].pv_benefits == pytest.approx(0.6 * full.pv_benefits)
    assert later.pv_benefits == pytest.approx(100 * discount_factor(2))
    assert {case.pv_costs for case in found.values()} == {100}


@given(st.lists(st.tuples(MONEY, MONEY), min_size=1, max_size=30), st.floats(0.01, 100))
def test_the_ratio_is_the_same_in_pounds_and_in_thousands(flows, scale):
    """Failing means that the unit of a table changes the verdict."""
    costs, benefits = zip(*flows, strict=True)
    first = appraise(costs, benefits)
    other = appraise([scale * c for c in costs], [scale * b for b in benefits])
    if first.bcr is None or first.pv_costs < 1 or abs(first.bcr) > 1e6:
        return
    assert other.bcr == pytest.approx(first.bcr, rel=1e-6, abs=1e-6)


@given(st.integers(0, 120), st.sampled_from(["standard", "health", "sensitivity"]))
def test_later_is_always_worth_less(year, schedule):
    """Failing means that waiting makes a benefit larger."""
    assert (
        0 < discount_factor(year + 1, schedule=schedule) < discount_factor(year, schedule=schedule)
    )


def business_case(**spread: float) -> list[UncertainLine]:
    """Three lines over ten years; NPSV at mode is that of the worked case of the reference."""
    return [
        UncertainLine("contract", "cost", [100, 50, 50, *[0] * 7], **spread),
        UncertainLine("reports", "benefit", [0, 0, 0, *[20] * 7], **spread),
        UncertainLine("archives", "benefit", [0, 0, 0, *[10] * 7], **spread),
    ]


def simulated(lines: list[UncertainLine], *, seed: int = 1, **more: float) -> Simulation:
    return simulate(lines, np.random.default_rng(seed), **more)  # ty: ignore


@given(st.lists(st.lists(MONEY, min_size=3, max_size=3), min_size=2, max_size=6), st.data())
@settings(max_examples=30)
def test_without_spread_the_simulation_is_the_deterministic_answer(flows, data):
    """Failing means that the simulation is of another sum than the appraisal."""
    kinds = data.draw(
        st.lists(st.sampled_from(["cost", "benefit"]), min_size=len(flows), max_size=len(flows))
    )
    lines = [
        UncertainLine(f"line {at}", kind, line, drawn=np.ones(50) if at % 2 else None)
        for at, (kind, line) in enumerate(zip(kinds, flows, strict=True))
    ]
    found = simulated(lines, draws=50)
    assert found.p10 == found.p50 == found.p90 == found.deterministic
    assert found.probability_above_zero == float(found.deterministic > 0)
    paid, gained = (
        [sum(line.flows[y] for line in lines if line.kind == kind) for y in range(3)]
        for kind in ("cost", "benefit")
    )
    assert found.deterministic == pytest.approx(appraise(paid, gained).npsv, rel=1e-9, abs=1e-3)


def test_the_simulation_can_be_had_again_and_tells_its_middle_and_its_odds():
    """Failing means that a board paper cannot be reproduced."""
    lines = business_case(low=0.5, mode=1.0, high=1.5)
    found = simulated(lines)
    assert found == simulated(lines)
    assert found != simulated(lines, seed=2)
    assert found.p10 < found.p50 < found.p90
    assert found.deterministic == pytest.approx(-23.744946753604808)
    assert found.p50 == pytest.approx(found.deterministic, abs=2)
    assert 0.1 < found.probability_above_zero < 0.4


def test_a_switching_value_brings_the_net_value_to_nothing():
    """Failing means that a reader is told a wrong break-even."""
    lines = business_case(low=0.5, mode=1.0, high=1.5)
    for name, times in simulated(lines, draws=10).switching_values.items():
        assert times is not None
        moved = [
            replace(ln, low=times, mode=times, high=times) if ln.name == name else ln
            for ln in lines
        ]
        assert simulated(moved, draws=10).deterministic == pytest.approx(0, abs=1e-9)
    nothing = [*lines, UncertainLine("views", "benefit", [0] * 10)]
    assert simulated(nothing, draws=10).switching_values["views"] is None


def test_the_tornado_moves_one_line_at_a_time_and_starts_with_the_widest():
    """Failing means that the wrong assumption is said to matter most."""
    lines = business_case(low=0.5, mode=1.0, high=1.5)
    found = simulated(lines, draws=10)
    assert [swing.name for swing in found.tornado] == ["contract", "reports", "archives"]
    cost = found.tornado[0]
    assert cost.npsv_at_low > found.deterministic > cost.npsv_at_high, "a cost works backwards"
    assert cost.npsv_at_low - cost.npsv_at_high == pytest.approx(194.9847137622815)


def test_a_line_of_health_is_discounted_at_the_health_rate_and_costs_carry_optimism():
    """Failing means that one rate, or no optimism, is applied to all lines."""
    line = UncertainLine("life years", "benefit", [0, 100], schedule="health")
    assert simulated([line], draws=5).deterministic == pytest.approx(100 / 1.015)
    cost = UncertainLine("contract", "cost", [100])
    assert simulated([cost], draws=5, optimism_bias=0.2, mitigation=0.5).p50 == pytest.approx(-110)


@pytest.mark.parametrize(
    ("shape", "mean", "sd"),
    [
        ("triangular", (0.5 + 0.8 + 2.0) / 3, None),
        ("pert", (0.5 + 4 * 0.8 + 2.0) / 6, None),
        ("normal", 0.8, 1.5 / (2 * 2.3646242516)),
    ],
)
def test_the_multipliers_have_the_mean_of_their_distribution(shape, mean, sd):
    """Failing means that optimists and pessimists are weighed in another way than is said."""
    line = UncertainLine("reports", "benefit", [1], 0.5, 0.8, 2.0, shape)
    drawn = multipliers(line, np.random.default_rng(3), 40_000)
    assert drawn.mean() == pytest.approx(mean, abs=0.01)
    assert sd is None or drawn.std() == pytest.approx(sd, rel=0.02)
    assert shape == "normal" or (drawn.min() >= 0.5 and drawn.max() <= 2.0)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "no line"),
        ([UncertainLine("a", "cost", [1])] * 2, "one name"),
        ([UncertainLine("a", "cost", [1]), UncertainLine("b", "cost", [1, 2])], "b has 2 years"),
        ([UncertainLine("a", "gain", [1])], "cost or benefit"),  # ty: ignore
        ([UncertainLine("a", "cost", [1], 2, 1, 3)], "low <= mode <= high"),
        ([UncertainLine("a", "cost", [1], math.nan, 1, 3)], "finite"),
        ([UncertainLine("a", "cost", [1], degrees=0)], "degrees"),
        ([UncertainLine("a", "cost", [1], shape="uniform")], "shape"),  # ty: ignore
        ([UncertainLine("a", "cost", [math.nan])], "a of year 0"),
        ([UncertainLine("a", "cost", [1], drawn=np.ones(3))], "draws of its own"),
    ],
)
def test_lines_that_cannot_be_simulated_are_refused(lines, told):
    """Failing means that a slip in a table of assumptions becomes a forecast."""
    with pytest.raises(ValueError, match=told):
        simulated(lines)
    with pytest.raises(ValueError, match="draws"):
        simulated(business_case(), draws=0)
