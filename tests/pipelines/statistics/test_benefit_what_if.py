"""Benefits as a reader would have them; a failure here answers with other pounds than asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.statistics.appraisal_cases import BASES, OPTIMISM_BIASES
from pipelines.statistics.benefit_what_if import (
    MEASURES,
    Change,
    appraised_again,
    changed,
    simulated,
)
from pipelines.statistics.ledger import Evidence
from tests.pipelines.statistics.test_ledger import MONTHS, case_of, evidence, told

# B02 (CRB) is realised in two of four months, B05 (NCRB) in none and rests on no unit value.
UNPRICED = {
    "benefit_id": "B05",
    "benefit_class": "NCRB",
    "measure_metric_id": "C02",
    "unit_value_gbp": None,
}
NO_SWINGS = pl.DataFrame(
    schema={"variant": pl.String, "npsv_low_gbp": pl.Float64, "npsv_high_gbp": pl.Float64}
)
CASE = ("basis", "class_selection", "measure")


def published(given: Evidence) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Benefits and costs by month, in the columns that readers get."""
    ledger = told(given)
    names = {"party_code": "party", "month_on": "month"}
    realised = ledger.realised.rename(names).with_columns(is_priced=pl.lit(value=True))
    return realised, ledger.paid.rename(names)


def again(change: Change, given: Evidence | None = None) -> dict[tuple[str, str, str], Any]:
    found = appraised_again(*published(given or evidence({}, UNPRICED)), change)
    return {tuple(row[:3]): row[3] for row in found.select(*CASE, "value").iter_rows()}


def pounds(change: Change, name: str, line: str) -> list[float | None]:
    """By month, of one of the two parties."""
    rows = changed(published(evidence({}, UNPRICED))[0], change)
    mine = rows.filter((pl.col("benefit_id") == line) & (pl.col("party") == "RMC")).sort("month")
    return mine[name].to_list()


@pytest.mark.parametrize("bias", OPTIMISM_BIASES)
def test_without_a_change_the_stored_appraisal_is_met_to_the_last_digit(bias):
    """Failing means that a reader compares his figure with one that was counted otherwise."""
    for given in (
        evidence({}, UNPRICED),
        evidence({"improvement": "increase"}),
        evidence(UNPRICED),
    ):
        stored = (
            case_of(told(given))
            .appraisal.filter(
                (pl.col("optimism_bias") == bias) & pl.col("measure").is_in(list(MEASURES))
            )
            .select(*CASE, "unit", "value", "note")
            .sort(CASE)
        )
        assert appraised_again(*published(given), Change(cost_bias=bias)).sort(CASE).equals(stored)
        assert stored["value"].count() > 0 or given.register["unit_value_gbp"].null_count()


def test_a_delay_or_a_haircut_of_the_plan_leaves_what_was_realised():
    """Failing means that a measured pound moves since somebody doubts the plan."""
    plain = again(Change())
    doubted = again(Change(delay_months=2, haircut_rate=0.5))
    assert {k: v for k, v in doubted.items() if k[0] == "realised"} == {
        k: v for k, v in plain.items() if k[0] == "realised"
    }
    for line in ("B02", "B05"):
        change = Change(delay_months=1, haircut_rate=1.0)
        assert pounds(change, "realised_gbp", line) == pounds(Change(), "realised_gbp", line)
    # Two parties have a forecast of 50 in each of the two months that nothing is realised of, April
    # being of the next financial year: a month later it still covers both, and half is taken off.
    mixed = ("realised, then forecast", "cash only", "npsv")
    late = again(Change(delay_months=1, haircut_rate=0.5))
    assert plain[mixed] - late[mixed] == pytest.approx(50 + 50 / 1.035)


def test_a_delay_moves_the_forecast_of_the_chosen_benefits_and_drops_what_comes_too_late():
    """Failing means that a later benefit is as good as an early one, or that others move with it."""
    assert pounds(Change(), "forecast_gbp", "B02") == [50, 50, 50, 50]
    late = Change(delay_months=3)
    assert pounds(late, "forecast_gbp", "B02") == [0, 0, 0, 50]
    assert pounds(replace(late, delay_of="B05"), "forecast_gbp", "B02") == [50, 50, 50, 50]
    assert pounds(replace(late, delay_of="B05"), "forecast_gbp", "B05") == [0, 0, 0, 50]
    assert pounds(Change(delay_months=len(MONTHS)), "forecast_gbp", "B02") == [0] * 4
    none = again(Change(delay_months=len(MONTHS)))
    assert none["forecast", "cash only", "bcr"] == 0
    assert none["forecast", "all monetised", "discounted_payback_year"] is None


def test_a_haircut_is_of_a_line_a_class_or_all_and_a_price_of_what_rests_on_one():
    """Failing means that pounds nobody doubted are taken off, or a plan is priced without a price."""
    assert pounds(Change(haircut_rate=0.2, haircut_of="CRB"), "forecast_gbp", "B02") == [40] * 4
    assert pounds(Change(haircut_rate=0.2, haircut_of="CRB"), "forecast_gbp", "B05") == [50] * 4
    dear = Change(value_factor=2.0)
    assert pounds(dear, "realised_gbp", "B02") == [200, 200, None, None]
    assert pounds(dear, "forecast_gbp", "B02") == [100] * 4
    assert pounds(dear, "forecast_gbp", "B05") == [50] * 4
    plain, twice = again(Change()), again(dear)
    case = ("realised", "cash only", "bcr")
    assert twice[case] == pytest.approx(2 * plain[case])
    assert {basis for basis, *_ in twice} == set(BASES)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"delay_months": -3}, "a delay of -3 months cannot be counted; give whole months"),
        ({"delay_months": 1.5}, "a delay of 1.5 months"),
        ({"haircut_rate": 1.2}, "a haircut of 120 % is no share"),
        ({"haircut_rate": -0.1}, "a haircut of -10 %"),
        ({"value_factor": -1.0}, "a price -1 times the stored one is no price"),
        ({"value_factor": float("inf")}, "a price inf times"),
    ],
)
def test_what_cannot_be_is_said_in_words(asked, message):
    """Failing means that a slip of the hand is answered with a figure."""
    with pytest.raises(ValueError, match=message):
        Change(**asked)


def test_an_unknown_line_is_refused():
    """Failing means that a change of nothing looks like a change without an effect."""
    with pytest.raises(ValueError, match="B99 is no line of the register"):
        again(Change(delay_months=1, delay_of="B99"))


def test_no_price_reaches_a_line_that_is_measured_in_pounds():
    """Failing means that a saved pound is said to be worth two."""
    benefits, _ = published(evidence({}, UNPRICED))
    in_pounds = benefits.with_columns(is_priced=pl.col("benefit_id") != "B02")
    found = changed(in_pounds, Change(value_factor=3.0))
    pounds_of = ["forecast_gbp", "realised_gbp"]
    assert (
        found.filter(benefit_id="B02")
        .select(pounds_of)
        .equals(benefits.filter(benefit_id="B02").select(pounds_of))
    )


def test_a_simulation_of_changed_benefits_keeps_how_uncertain_a_line_is():
    """Failing means that a doubled price halves the doubt, or that two readers see other draws."""
    benefits, costs = published(evidence({}, UNPRICED))
    plain = simulated(benefits, costs, NO_SWINGS, Change(), np.random.default_rng(1))
    (realised,) = [s for s in plain.tornado if s.name == "B02 realised"]
    assert plain.p10 == plain.p50 == plain.p90 == plain.deterministic == realised.npsv_at_low
    worth = plain.deterministic / (1 - 1 / plain.switching_values["B02 realised"])
    stored = (plain.deterministic - abs(worth), plain.deterministic + abs(worth))
    swings = pl.DataFrame([("B02 realised", *stored)], NO_SWINGS.schema, orient="row")
    wide = {
        factor: simulated(
            benefits, costs, swings, Change(value_factor=factor), np.random.default_rng(1)
        )
        for factor in (1.0, 2.0)
    }
    again = simulated(benefits, costs, swings, Change(), np.random.default_rng(1))
    assert again == wide[1.0] and again.p10 < again.p90
    (once, twice) = (
        next(
            s.npsv_at_high - s.npsv_at_low for s in wide[factor].tornado if s.name == "B02 realised"
        )
        for factor in (1.0, 2.0)
    )
    assert once == pytest.approx(stored[1] - stored[0]) and twice == pytest.approx(2 * once)
    dear = simulated(benefits, costs, swings, Change(cost_bias=0.5), np.random.default_rng(1))
    assert dear.deterministic < again.deterministic
    with pytest.raises(ValueError, match="a cost bias of -10 % cannot be counted"):
        Change(cost_bias=-0.1)
