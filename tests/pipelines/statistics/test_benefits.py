"""From effect to pounds; a failure here tells a board of money that was never saved."""

import math
import re
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.statistics.benefit_balance import balance_by_party, costs_by_month
from pipelines.statistics.benefit_draws import interval_of_sum
from pipelines.statistics.benefits import (
    IMPROVED,
    RegisterBroken,
    benefits_by_month,
    counted_once,
    line_faults,
)
from pipelines.statistics.intervals import t_quantile

ROOT = Path(__file__).parents[3]
SEEDS = ROOT / "dbt_project/seeds/network"
MONTHS = [date(2022, month, 1) for month in (1, 2, 3)]
LINE = {
    "benefit_id": "B02",
    "benefit_class": "CRB",
    "beneficiary": "NETWORK",
    "measure_metric_id": "R06",
    "improvement": "decrease",
    "go_live_type": "viewing",
    "baseline_from": date(2018, 4, 1),
    "baseline_to": date(2020, 2, 29),
    "planned_value_gbp_per_year": 2400.0,
    "ramp_months": 2,
    "attribution_rate": 0.5,
    "confidence_rate": 0.8,
    "optimism_rate": 0.25,
    "units_per_effect": 2.0,
    "assumption_id": "UC17",
    "unit_value_low_gbp": 10.0,
    "unit_value_gbp": 10.0,
    "unit_value_high_gbp": 10.0,
    "price_base_year": 2024,
    "value_source_status": "local",
    "ledger_line": "outsourcing_invoices/outsourced_report",
    "double_count_group": None,
    "register_version": 1,
    "signed_off_by_role": "Network finance lead",
    "signed_off_on": date(2025, 12, 15),
    "source_status": "synthetic",
}


def demonstration_register() -> pl.DataFrame:
    return pl.read_csv(
        ROOT / "pipelines/synthetic/reference/benefit_register.csv",
        try_parse_dates=True,
        null_values="",
    )


def register(*lines: dict) -> pl.DataFrame:
    """Lines that differ from LINE as told."""
    rows = [LINE | line for line in (lines or ({},))]
    return pl.DataFrame(
        rows, schema_overrides={"double_count_group": pl.String}, infer_schema_length=None
    )


def effects(
    effect: float | None = -0.1,
    half: float | None = 0.04,
    *,
    metric="R06",
    verdict=IMPROVED,
    value: float = 0.5,
    is_logged: bool = False,
    spread: float = 0.0,
):
    """Effects with `half` the width of the 95 % interval of their mean, in the scale of the estimate."""
    se = None if effect is None or half is None else half / t_quantile(0.975, 7)
    rows = [
        (metric, "viewing", party, month, value, effect, is_logged, se, spread, 7, verdict)
        for party in ("RMC", "RBV")
        for month in MONTHS
    ]
    schema = {
        "metric_id": pl.String, "go_live_type": pl.String, "party": pl.String, "month": pl.Date,
        "value": pl.Float64, "effect": pl.Float64, "is_logged": pl.Boolean, "se": pl.Float64,
        "month_spread": pl.Float64, "degrees": pl.Int64, "verdict": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def volumes(metric: str = "R06") -> pl.DataFrame:
    return pl.DataFrame(
        [(metric, party, month, 100.0, 1.0) for party in ("RMC", "RBV") for month in MONTHS],
        schema={
            "metric_id": pl.String, "party": pl.String, "month": pl.Date, "volume": pl.Float64,
            "price_factor": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


# RMC is live on the first of a month and counts from it, RBV a day later and from the next.
GO_LIVES = pl.DataFrame(
    [
        ("RMC", "viewing", date(2022, 1, 1)),
        ("RBV", "viewing", date(2022, 1, 2)),
        ("RMC", "archive", date(2022, 3, 1)),
    ],
    schema={"party": pl.String, "go_live_type": pl.String, "go_live_on": pl.Date},
    orient="row",
)


def found(
    lines: pl.DataFrame, told: pl.DataFrame, *, seed: int = 1, vol: pl.DataFrame | None = None
):
    generator = np.random.default_rng(seed)
    counted = volumes() if vol is None else vol
    rows, _ = benefits_by_month(
        lines, told, counted, GO_LIVES, generator, until=MONTHS[-1], draws=2000
    )
    return rows


def test_the_one_formula_is_counterfactual_less_actual_times_value_times_attribution():
    """Failing means that no realised pound is right."""
    got = found(register(), effects())
    # 0.1 fewer of 100 reports, two units each, of 10 pounds, half of it the programme's
    assert set(got["realised_gbp"].round(9)) == {100.0}
    assert got.select("party", "month").rows() == [
        ("RBV", MONTHS[1]), ("RBV", MONTHS[2]), *(("RMC", month) for month in MONTHS),
    ]  # fmt: skip


def test_plan_and_forecast_stand_beside_realised_and_ramp_from_go_live():
    """Failing means that a promise is shown as money in the bank."""
    got = found(register(), effects()).filter(pl.col("party") == "RMC")
    # 2400 a year is 100 a month and party of two; half of it in the first month
    assert got["planned_gbp"].to_list() == [50, 100, 100]
    assert got["forecast_gbp"].to_list() == pytest.approx([15, 30, 30])
    at_once = found(register({"ramp_months": 0}), effects())
    assert set(at_once["planned_gbp"]) == {100}


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_realised_never_reads_confidence_or_optimism(confidence, optimism):
    """Failing means that a measured pound is haircut, or a hoped one counted."""
    realised = ("realised_gbp", "realised_low_gbp", "realised_high_gbp", "evidence_grade")
    line = {"confidence_rate": confidence, "optimism_rate": optimism, "unit_value_high_gbp": 20.0}
    plain = {"unit_value_high_gbp": 20.0}
    one, other = found(register(line), effects()), found(register(plain), effects())
    assert one.select(realised).equals(other.select(realised))


def test_the_interval_of_the_effect_is_carried_to_pounds():
    """Failing means that pounds look more certain than the effect they come from."""
    row = found(register(), effects()).row(0, named=True)
    assert row["realised_low_gbp"] == pytest.approx(60, abs=4)
    assert row["realised_high_gbp"] == pytest.approx(140, abs=4)
    wider = found(register({"unit_value_low_gbp": 2.0, "unit_value_high_gbp": 18.0}), effects())
    assert wider["realised_low_gbp"][0] < row["realised_low_gbp"]
    assert wider["realised_gbp"][0] == row["realised_gbp"]


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 100), st.booleans())
@settings(max_examples=15, deadline=None)
def test_without_spread_the_interval_is_the_deterministic_answer(effect, share, value, is_logged):
    """Failing means that the simulation is of another formula than the figure."""
    line = {f"unit_value_{name}gbp": value for name in ("low_", "", "high_")}
    told = effects(effect, 0.0, is_logged=is_logged)
    got = found(register(line | {"attribution_rate": share}), told)
    for end in ("realised_low_gbp", "realised_high_gbp"):
        assert got[end].to_list() == got["realised_gbp"].to_list()
    for end in ("ci_low", "ci_high"):
        assert got[end].to_list() == got["effect"].to_list()


def test_the_interval_of_a_logged_effect_is_longer_where_the_counterfactual_grows():
    """Failing means that an error which multiplies is told as one that adds."""
    told = effects(-10.0, 0.3, value=90.0, is_logged=True)
    row = found(register(), told).row(0, named=True)
    # it would have been 100, give or take a factor of exp(0.3)
    low, high = (90 - 100 * math.exp(end) for end in (0.3, -0.3))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=2)
    assert (row["realised_low_gbp"], row["realised_high_gbp"]) == pytest.approx(
        (-1000 * high, -1000 * low), rel=0.06
    )
    apart = [abs(row[f"realised_{end}_gbp"] - row["realised_gbp"]) for end in ("low", "high")]
    assert apart[1] > 1.2 * apart[0]


def test_in_a_sum_of_months_the_common_error_stays_and_their_own_cancels():
    """Failing means that a year looks as sure as independent months, or a month as sure as the mean."""

    def widths(half: float, spread: float) -> tuple[float, float]:
        """Of one month and of the three months of a party."""
        generator = np.random.default_rng(1)
        rows, drawn = benefits_by_month(
            register(), effects(-0.1, half, spread=spread), volumes(), GO_LIVES, generator,
            until=MONTHS[-1], draws=20_000,
        )  # fmt: skip
        own = rows.filter(pl.col("party") == "RMC")
        low, high = interval_of_sum(own, drawn)
        assert low is not None and high is not None
        month = own.row(0, named=True)
        return month["realised_high_gbp"] - month["realised_low_gbp"], high - low

    month, three = widths(0.04, 0.0)
    assert three == pytest.approx(3 * month)
    month_alone, three_alone = widths(0.0, 0.02)
    assert three_alone == pytest.approx(math.sqrt(3) * month_alone, rel=0.04)
    # 0.02 of 100 reports of two units, of 10 pounds and half the programme's
    assert month_alone == pytest.approx(2 * 1.96 * 20, rel=0.04)
    both, three_both = widths(0.04, 0.02)
    assert both > 1.1 * month and math.sqrt(3) * both < three_both < 3 * both


def test_the_figures_can_be_had_again_in_whatever_order_the_rows_come():
    """Failing means that a paper cannot be reproduced."""
    lines = register({}, {"benefit_id": "B03", "unit_value_high_gbp": 30.0})
    first = found(lines, effects())
    assert first.equals(found(lines.reverse(), effects().reverse()))
    assert not first.equals(found(lines, effects(), seed=2))


def test_a_harm_is_below_nothing_and_what_is_not_known_is_empty():
    """Failing means that a worsening is cut off at 0, or a gap read as 0."""
    worse = found(register(), effects(0.1, verdict="consistent with worsening"))
    assert set(worse["realised_gbp"].round(9)) == {-100.0}
    assert set(worse["evidence_grade"]) == {"C"}
    for lines, told in (
        (register(), effects(None)),
        (register(), effects().head(0)),
        (register({"unit_value_gbp": None}), effects()),
    ):
        got = found(lines, told)
        assert got.height and got["realised_gbp"].null_count() == got.height
        assert got["realised_low_gbp"].null_count() == got.height
    up = found(register({"improvement": "increase"}), effects(0.1))
    assert set(up["realised_gbp"].round(9)) == {100.0}


def test_only_the_go_live_that_can_cause_it_starts_a_line():
    """Failing means that savings are counted before the archive that makes them."""
    got = found(register({"go_live_type": "archive"}), effects())
    assert got.select("party", "month").rows() == [("RMC", MONTHS[2])]


@pytest.mark.parametrize(
    ("line", "told", "grade"),
    [
        ({}, effects(), "A"),
        ({"value_source_status": "verified"}, effects(), "A"),
        ({"value_source_status": "illustrative"}, effects(), "B"),
        ({"benefit_class": "NCRB", "ledger_line": None}, effects(), "A"),
        ({}, effects(verdict="not shown"), "C"),
        ({}, effects(verdict=None), "C"),
        ({}, effects(half=None), "D"),
        ({}, effects(None), "D"),
        ({}, effects().head(0), "D"),
    ],
)
def test_the_grade_follows_the_written_rules(line, told, grade):
    """Failing means that a hope is graded as evidence."""
    assert set(found(register(line), told)["evidence_grade"]) == {grade}


def test_a_double_count_group_counts_its_best_evidenced_line_only():
    """Failing means that one saving is counted twice."""
    lines = register(
        {"benefit_id": "B02", "double_count_group": "g", "value_source_status": "illustrative"},
        {"benefit_id": "B03", "double_count_group": "g"},
        {"benefit_id": "B05", "double_count_group": "h", "measure_metric_id": "C02"},
        {"benefit_id": "B09", "double_count_group": None},
    )
    got = counted_once(found(lines, effects(), vol=pl.concat([volumes(), volumes("C02")])))
    counted = got.group_by("benefit_id").agg(pl.col("is_counted").unique().sort())
    assert dict(counted.iter_rows()) == {
        "B02": [False], "B03": [True], "B05": [True], "B09": [True],
    }  # fmt: skip
    tied = counted_once(found(lines.with_columns(value_source_status=pl.lit("local")), effects()))
    assert tied.filter(pl.col("benefit_id") == "B02")["is_counted"].all()


def test_classes_stand_beside_each_other_and_only_cash_pays_costs():
    """Failing means that time saved is told as money released."""
    lines = register({}, {"benefit_id": "B05", "benefit_class": "NCRB", "ledger_line": None})
    costs = pl.DataFrame(
        {
            "cost_id": ["P01", "P02", "P01"],
            "party": ["RMC", "RMC", "RWJ"],
            "month": [MONTHS[0]] * 3,
            "cost_gbp": [30.0, 40, 5],
        }
    )
    got = balance_by_party(counted_once(found(lines, effects())), costs)
    first = got.filter((pl.col("party") == "RMC") & (pl.col("month") == MONTHS[0])).row(
        0, named=True
    )
    assert first["crb_gbp"] == first["ncrb_gbp"] == pytest.approx(100)
    assert (first["sb_gbp"], first["cost_gbp"]) == (None, 70)
    assert first["net_cash_gbp"] == pytest.approx(30)
    other = got.filter(pl.col("party") == "RWJ").row(0, named=True)
    assert (other["crb_gbp"], other["net_cash_gbp"], other["cost_gbp"]) == (None, None, 5)
    assert "no cash-releasing line" in other["net_cash_empty_because"]
    assert {n for n in got.columns if n.endswith("_gbp")} == {
        "crb_gbp", "ncrb_gbp", "sb_gbp", "cost_gbp", "net_cash_gbp",
    }  # fmt: skip


def test_costs_of_the_network_are_shared_and_end_when_they_end():
    """Failing means that a party pays too much, or a contract for ever."""
    costs = pl.read_csv(SEEDS / "programme_costs.csv", try_parse_dates=True)
    parties = pl.Series(["RMC", "RBV"])
    got = costs_by_month(costs, parties, until=date(2022, 6, 1))
    totals = dict(got.group_by("cost_id").agg(pl.col("cost_gbp").sum()).iter_rows())
    assert totals == pytest.approx(
        {"P01": 21 * 400, "P02": 19 * 250, "P03": 19 * 160, "P04": 17 * 80}
    )
    assert got.filter(pl.col("party") == "RMC")["cost_gbp"].sum() == pytest.approx(
        sum(totals.values()) / 2
    )
    nameless = costs.with_columns(price_base_year=pl.lit(None, pl.Int64))
    with pytest.raises(ValueError, match="P01, P02"):
        costs_by_month(nameless, parties, until=date(2022, 6, 1))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"go_live_type": None}, "B02: the register does not say go_live_type; add it"),
        ({"ramp_months": None, "attribution_rate": None}, "ramp_months, attribution_rate"),
        ({"baseline_to": date(2017, 1, 1)}, "ends before it begins"),
        ({"unit_value_low_gbp": None}, "does not say unit_value_low_gbp"),
        ({"units_per_effect": None}, "does not say units_per_effect"),
        ({"price_base_year": None}, "does not say price_base_year"),
        ({"signed_off_on": None}, "not signed off"),
        ({"register_version": None}, "not signed off"),
    ],
)
def test_a_line_that_cannot_be_valued_is_refused_with_the_next_step(line, told):
    """Failing means that nobody can mend the register from what it says."""
    with pytest.raises(RegisterBroken, match=told):
        found(register(line), effects())


def test_a_line_of_an_older_version_is_named():
    """Failing means that half of a new register is added to the old one."""
    faults = line_faults(register({}, {"benefit_id": "B03", "register_version": 2}))
    assert list(faults) == ["B02"] and "than version 2; deliver all" in faults["B02"]


def test_a_line_that_no_value_is_asked_of_needs_none():
    """Failing means that a benefit which is not money is refused."""
    valueless = {"unit_value_gbp": None, "unit_value_low_gbp": None, "price_base_year": None}
    assert line_faults(register(valueless)) == {}
    assert line_faults(register({"benefit_class": "UB", "price_base_year": None})) == {}
    got = found(register({"benefit_class": "UB"}), effects())
    assert got["realised_gbp"].null_count() == got.height > 0


def test_the_demonstration_register_can_be_valued_and_is_complete():
    """Failing means that the committed promises cannot be valued as they stand."""
    lines = demonstration_register()
    assert line_faults(lines) == {}
    assert lines["benefit_id"].to_list() == [f"B{n:02}" for n in range(1, 17)]
    groups = lines.drop_nulls("double_count_group").group_by("double_count_group").len()
    assert groups.height == 6 and set(groups["len"]) == {2}
    assert set(lines["value_source_status"].drop_nulls()) == {"illustrative"}
    defined = (ROOT / "dbt_project/models/marts/metrics/rpt_metrics_monthly.yml").read_text()
    assert set(lines["measure_metric_id"]) <= set(re.findall(r"- metric_id: (\w+)", defined))
