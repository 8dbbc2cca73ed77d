"""The benefit ledger; a failure here shows a board money without evidence, or evidence twice."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.statistics.appraisal_cases import (
    BASES,
    BIAS_SOURCE,
    BIAS_SOURCE_STATUS,
    MITIGATION,
    OPTIMISM_BIASES,
    SELECTIONS,
    UNITS,
    appraised,
)
from pipelines.statistics.effect_tables import GO_LIVE_EFFECTS
from pipelines.statistics.ledger import Evidence, Ledger, in_one_price, ledger_of
from pipelines.statistics.ledger_tables import LEDGER_TABLES
from pipelines.statistics.staged_effects import TYPES

MONTHS = [date(2022, month, 1) for month in (1, 2, 3, 4)]
PRICES = {2023: 90.0, 2024: 100.0}
# 2400 a year is 100 a month and party of two; without effect, what is forecast is half of it.
LINE: dict[str, Any] = {
    "benefit_id": "B02",
    "title": "Outsourcing avoided",
    "promise": "insourcing",
    "benefit_class": "CRB",
    "owner_role": "Finance lead",
    "beneficiary": "NETWORK",
    "measure_metric_id": "R06",
    "improvement": "decrease",
    "go_live_type": "viewing",
    "baseline_from": date(2018, 4, 1),
    "baseline_to": date(2020, 2, 29),
    "planned_value_gbp_per_year": 2400.0,
    "ramp_months": 0,
    "attribution_rate": 0.5,
    "confidence_rate": 1.0,
    "optimism_rate": 0.0,
    "units_per_effect": 2.0,
    "assumption_id": "UC17",
    "unit_value_low_gbp": 8.0,
    "unit_value_gbp": 10.0,
    "unit_value_high_gbp": 12.0,
    "price_base_year": 2024,
    "value_source": "a list",
    "value_source_status": "illustrative",
    "ledger_line": "invoices/report",
    "double_count_group": None,
    "register_version": 1,
    "signed_off_by_role": "Finance lead",
    "signed_off_on": date(2025, 12, 15),
    "source_status": "synthetic",
}
COST = {
    "cost_id": "P01",
    "party_code": "NETWORK",
    "from_month": MONTHS[0],
    "to_month": None,
    "gbp_per_month": 60.0,
    "price_base_year": 2024,
}


def lines(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        [LINE | change for change in changes],
        schema_overrides={"double_count_group": pl.String, "price_base_year": pl.Int64},
        infer_schema_length=None,
    )


def estimates(**reasons: str | None) -> pl.DataFrame:
    """One row per metric of an effect, with why it is not estimated."""
    schema = {name: TYPES[kind] for name, kind, _ in GO_LIVE_EFFECTS["columns"]}
    rows = [
        {"metric_id": metric, "go_live_type": "viewing", "not_estimated_because": because}
        for metric, because in reasons.items()
    ]
    return pl.DataFrame([[row.get(name) for name in schema] for row in rows], schema, orient="row")


def monthly(metrics: tuple[str, ...], months: list[date]) -> pl.DataFrame:
    rows = [
        (metric, "viewing", party, month, 0.5, -0.1, False, 0.017, 0.0, 7, "not shown")
        for metric in metrics
        for party in ("RMC", "RBV")
        for month in months
    ]
    schema = {
        "metric_id": pl.String, "go_live_type": pl.String, "party": pl.String, "month": pl.Date,
        "value": pl.Float64, "effect": pl.Float64, "is_logged": pl.Boolean, "se": pl.Float64,
        "month_spread": pl.Float64, "degrees": pl.Int64, "verdict": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema, orient="row")


def evidence(*changes: dict[str, Any]) -> Evidence:
    """Two parties live from January on, whose effect on R06 and C02 is known of two months."""
    volumes = [
        (m, p, month, 100.0) for m in ("R06", "C02") for p in ("RMC", "RBV") for month in MONTHS
    ]
    live = [(party, "viewing", date(2022, 1, 1)) for party in ("RMC", "RBV")]
    return Evidence(
        register=lines(*(changes or ({},))),
        estimates=estimates(R06=None, C02=None, C07="C07 begins in February 2026"),
        effects=monthly(("R06", "C02"), MONTHS[:2]),
        volumes=pl.DataFrame(
            volumes,
            {"metric_id": pl.String, "party": pl.String, "month": pl.Date, "volume": pl.Float64},
            orient="row",
        ),
        go_lives=pl.DataFrame(
            live,
            {"party": pl.String, "go_live_type": pl.String, "go_live_on": pl.Date},
            orient="row",
        ),
        costs=pl.DataFrame([COST], schema_overrides={"to_month": pl.Date}),
        parties=pl.Series(["RMC", "RBV", "RWJ"]),
        prices=PRICES,
        until=MONTHS[-1],
    )


def told(given: Evidence) -> Ledger:
    return ledger_of(given, np.random.default_rng(3), draws=2000)


def line_of(ledger: Ledger, line: str) -> dict[str, Any]:
    return ledger.lines.row(by_predicate=pl.col("benefit_id") == line, named=True)


def case_of(ledger: Ledger) -> Any:
    return appraised(
        ledger.by_month, ledger.costs, ledger.drawn, np.random.default_rng(4), price_year=2024,
        unpriced=ledger.unpriced, draws=2000,
    )  # fmt: skip


def measures(given: Evidence, basis: str, selection: str, bias: float = 0.0) -> dict[str, Any]:
    rows = case_of(told(given)).appraisal.filter(
        (pl.col("basis") == basis)
        & (pl.col("class_selection") == selection)
        & (pl.col("optimism_bias") == bias)
    )
    return dict(rows.select("measure", "value").iter_rows())


def test_every_line_stands_in_the_ledger_with_its_value_or_the_reason_in_words():
    """Failing means that a promise is dropped from the ledger since nobody measured it."""
    given = evidence(
        {},
        {"benefit_id": "B03", "measure_metric_id": "C07"},
        {"benefit_id": "B04", "measure_metric_id": "F99"},
        {"benefit_id": "B05", "go_live_type": "archive"},
        {"benefit_id": "B06", "unit_value_gbp": None},
        {"benefit_id": "B07", "benefit_class": "UB"},
        {"benefit_id": "B08", "ramp_months": None},
        {"benefit_id": "B09", "price_base_year": 2031},
        {"benefit_id": "B10", "register_version": 2, "signed_off_on": date(2026, 1, 1)},
    )
    old = line_of(told(given), "B02")
    assert "than version 2" in old["empty_because"], "one line of a newer version ages the others"
    got = told(replace(given, register=given.register.filter(pl.col("benefit_id") != "B10")))
    reasons = dict(got.lines.select("benefit_id", "empty_because").iter_rows())
    assert reasons == {
        "B02": None,
        "B03": "C07 begins in February 2026",
        "B04": "no effect on F99 is estimated",
        "B05": "no party of NETWORK has a complete month after a go-live (archive)",
        "B06": "the register gives no unit value",
        "B07": "the benefit is classed as not to be given a value (UB)",
        "B08": "the register does not say ramp_months; add it",
        "B09": "planned_value_gbp_per_year: the price index has no 2031; it ends in 2024",
    }
    empty = got.lines.filter(pl.col("empty_because").is_not_null())
    assert empty["realised_to_date_gbp"].null_count() == len(empty)
    graded = dict(got.lines.select("benefit_id", "evidence").iter_rows())
    assert {line for line, grade in graded.items() if grade == "C"} == {"B02", "B06", "B07"}
    assert set(graded.values()) == {"C", "no evidence"}


def test_realised_covers_the_months_that_can_be_compared_and_no_other():
    """Failing means that an effect is carried on into months in which nobody could see it."""
    got = told(evidence())
    row = line_of(got, "B02")
    # 0.1 of 100 x 2 units x half x 10 pounds, two parties, two of four months
    assert row["realised_to_date_gbp"] == pytest.approx(400)
    assert (row["planned_to_date_gbp"], row["planned_compared_gbp"]) == pytest.approx((800, 400))
    assert (row["realised_until_on"], row["realised_month_count"]) == (MONTHS[1], 4)
    late = got.realised.filter(pl.col("month_on") > MONTHS[1])
    assert len(late) == 4 == late["realised_gbp"].null_count()
    assert set(late["empty_because"]) == {
        "the month cannot be compared with a party that was not live yet"
    }


def test_the_interval_to_date_is_that_of_one_draw_for_all_months():
    """Failing means that errors of months cancel out, and a sum looks surer than it is."""
    got = told(evidence())
    row, months = line_of(got, "B02"), got.realised.drop_nulls("realised_gbp")
    for end in ("realised_low_gbp", "realised_high_gbp"):
        assert row[end] == pytest.approx(months[end].sum(), rel=1e-9)
    assert row["realised_low_gbp"] < 400 < row["realised_high_gbp"]


def test_of_a_double_count_group_one_line_counts_and_is_named_by_the_others():
    """Failing means that one saving is counted twice, in the ledger, the balance or the appraisal."""
    given = evidence(
        {"double_count_group": "g"},
        {"benefit_id": "B03", "double_count_group": "g", "measure_metric_id": "C07"},
        {"benefit_id": "B05", "double_count_group": "h", "go_live_type": "archive"},
        {"benefit_id": "B14", "double_count_group": "h", "go_live_type": "archive"},
    )
    got = told(given)
    rows = got.lines.select("benefit_id", "is_counted", "shadowed_by").rows()
    assert rows == [("B02", True, None), ("B03", False, "B02"), ("B05", True, None),
                    ("B14", False, "B05")]  # fmt: skip
    counted = set(case_of(got).flows.drop_nulls("benefit_class")["line_id"])
    assert counted == {"B02"}
    same = evidence({"double_count_group": "g"}, {"benefit_id": "B03", "double_count_group": "g"})
    assert told(same).balance["crb_gbp"].sum() == told(evidence()).balance["crb_gbp"].sum()


def test_classes_stand_side_by_side_and_no_table_has_a_sum_of_them():
    """Failing means that time saved is told as money released."""
    ncrb = {"benefit_id": "B05", "benefit_class": "NCRB", "measure_metric_id": "C02"}
    got = told(evidence({}, ncrb))
    first = got.balance.row(
        by_predicate=(pl.col("party_code") == "RMC") & (pl.col("month_on") == MONTHS[0]), named=True
    )
    assert (first["crb_gbp"], first["ncrb_gbp"], first["sb_gbp"]) == (100, 100, None)
    assert (first["cost_gbp"], first["net_cash_gbp"]) == (20, 80)
    # a party without go-live pays its share and has nothing to show
    other = got.balance.filter(pl.col("party_code") == "RWJ")
    assert other["net_cash_gbp"].null_count() == len(other) == 4
    assert measures(evidence({}, ncrb), "realised", "cash only")["pv_benefits"] == 400
    assert measures(evidence({}, ncrb), "realised", "cash and non-cash")["pv_benefits"] == 800


def test_the_cash_balance_is_told_only_where_it_is_whole():
    """Failing means that one line's saving less all costs is told as the programme's balance."""
    given = evidence({}, {"benefit_id": "B06", "measure_metric_id": "C02"})
    assert told(given).balance["net_cash_gbp"].drop_nulls().to_list() == [180.0] * 4
    half = replace(given, effects=given.effects.filter(
        (pl.col("metric_id") == "R06") | (pl.col("month") == MONTHS[0])))  # fmt: skip
    rows = told(half).balance.filter(pl.col("party_code") == "RMC")
    assert rows["crb_gbp"].to_list() == [200, 100, None, None]
    assert rows["net_cash_gbp"].to_list() == [180, None, None, None]
    because = rows["net_cash_empty_because"].to_list()
    assert because[0] is None and because[1].startswith("B06 has no value in the month")
    assert because[2].startswith("B02, B06 has no value")
    # a line that cannot be valued at all is no line that saved nothing
    for change in ({"ramp_months": None}, {"go_live_type": None}):
        broken = told(evidence({}, {"benefit_id": "B06"} | change)).balance
        assert broken["net_cash_gbp"].null_count() == len(broken)
        assert broken["net_cash_empty_because"].str.starts_with("B06 cannot be valued").any()
    shadowed = [{"double_count_group": "g"}, {"benefit_id": "B06", "ramp_months": None,
                                              "double_count_group": "g"}]  # fmt: skip
    assert told(evidence(*shadowed)).balance["net_cash_gbp"].null_count() == 8


def test_pounds_of_another_year_are_brought_into_prices_of_the_index():
    """Failing means that real and nominal pounds are added up."""
    usable, faults = in_one_price(lines({"price_base_year": 2023}), PRICES)
    assert faults == {}
    assert usable["unit_value_gbp"][0] == pytest.approx(10 * 100 / 90)
    assert usable["planned_value_gbp_per_year"][0] == pytest.approx(2400 * 100 / 90)
    dear = replace(evidence(), costs=evidence().costs.with_columns(price_base_year=pl.lit(2023)))
    assert told(dear).balance["cost_gbp"].sum() == pytest.approx(240 * 100 / 90)
    _, faults = in_one_price(lines({"unit_value_gbp": None, "price_base_year": None}), PRICES)
    assert "no price year" in faults["B02"], "a plan in pounds of no year is no plan"
    unplanned = {"planned_value_gbp_per_year": 0.0}
    usable, _ = in_one_price(lines(unplanned), PRICES)
    assert usable["planned_value_gbp_per_year"][0] is None


def test_pounds_as_invoiced_are_brought_into_prices_of_the_index_by_their_month():
    """Failing means that a saving of 2022 is added to one of 2024, or its pounds are moved twice."""
    line = {"price_base_year": 2023, "unit_value_low_gbp": 1.0, "unit_value_gbp": 1.0,
            "unit_value_high_gbp": 1.0}  # fmt: skip
    given = replace(evidence(line), money_metrics=frozenset({"R06"}))
    row = told(replace(given, prices=PRICES | {2022: 80.0})).realised.row(0, named=True)
    assert (row["price_factor"], row["unit_value_gbp"], row["price_year"]) == (1.25, 1, 2024)
    assert row["realised_gbp"] == pytest.approx(0.1 * 100 * 2 * 0.5 * 1.25)
    assert row["realised_low_gbp"] < row["realised_gbp"] < row["realised_high_gbp"]
    assert row["planned_gbp"] == pytest.approx(100 * 100 / 90)
    unknown = line_of(told(given), "B02")
    assert unknown["realised_to_date_gbp"] is None
    assert "the price index has no 2022" in unknown["empty_because"]


def test_a_cost_of_a_year_without_prices_is_told_and_stops_nothing():
    """Failing means that one wrong year takes all figures from readers, or that a cost counts as none."""
    other = COST | {"cost_id": "P02", "price_base_year": 2031, "from_month": MONTHS[1]}
    costs = pl.DataFrame([COST, other], schema_overrides={"to_month": pl.Date})
    got = told(replace(evidence(), costs=costs))
    rows = got.balance.filter(pl.col("party_code") == "RMC")
    assert rows["cost_gbp"].to_list() == [20, None, None, None]
    because = rows["net_cash_empty_because"][1]
    assert because == (
        "cost P02 is not valued: seed programme_costs, P02, price_base_year: the price index has no 2031; "
        "it ends in 2024; correct it, or add the year to the seed gdp_deflator"
    )
    assert rows["net_cash_gbp"].to_list() == [80, None, None, None]
    case = case_of(got)
    found = case.appraisal.filter(
        (pl.col("basis") == "realised") & (pl.col("measure") != "pv_benefits")
    )
    assert found["value"].null_count() == len(found)
    assert set(found.filter(pl.col("class_selection") == "cash only")["note"]) == {because}
    gained = case.appraisal.filter(pl.col("measure") == "pv_benefits")
    assert gained["value"].null_count() == 0
    assert case.sensitivities.is_empty()


def test_each_basis_takes_realised_and_forecast_as_it_says():
    """Failing means that a hope is appraised as if it had been measured."""
    flows = case_of(told(evidence())).flows
    sums = {
        key: round(gbp)
        for *key, gbp in flows.group_by("basis", "source").agg(pl.col("gbp").sum()).iter_rows()
        for key in [tuple(key)]
    }
    assert sums == {
        ("realised", "realised"): 400,
        ("realised", "cost"): 120,
        ("realised, then forecast", "realised"): 400,
        ("realised, then forecast", "forecast"): 200,
        ("realised, then forecast", "cost"): 240,
        ("forecast", "forecast"): 400,
        ("forecast", "cost"): 240,
    }
    assert set(flows["year"]) == {2021, 2022}, "April begins a financial year"


def test_an_appraisal_says_of_how_many_months_its_benefits_are_told():
    """Failing means that a ratio looks poor for want of evidence, and nobody can see it."""
    gap = replace(evidence(), effects=monthly(("R06",), [MONTHS[0], MONTHS[2]]))
    names = ("basis", "class_selection", "told_month_count", "benefit_month_count")
    rows = set(case_of(told(gap)).appraisal.select(names).iter_rows())
    assert {row for row in rows if row[1] == "cash only"} == {
        ("realised", "cash only", 4, 6),
        ("realised, then forecast", "cash only", 8, 8),
        ("forecast", "cash only", 8, 8),
    }


def test_the_measures_are_those_of_the_appraisal_of_the_same_flows():
    """Failing means that the published value is of other flows than the published ones."""
    got = measures(evidence(), "realised, then forecast", "cash only")
    # 2021/22 is January to March: realised 400 and a month of 100 forecast; April is the next year
    benefits, costs = 400 + 100 + 100 / 1.035, 180 + 60 / 1.035
    assert got["pv_benefits"] == pytest.approx(benefits)
    assert got["pv_costs"] == pytest.approx(costs)
    assert got["npsv"] == pytest.approx(benefits - costs)
    assert got["bcr"] == pytest.approx(benefits / costs)
    assert got["eanc"] == pytest.approx((benefits - costs) * 1.035)
    assert got["discounted_payback_year"] == 2021
    assert got["npsv_p10"] < got["npsv_p50"] < got["npsv_p90"]
    assert got["npsv_p50"] == pytest.approx(got["npsv"], abs=15)
    raised = measures(evidence(), "realised, then forecast", "cash only", OPTIMISM_BIASES[1])
    assert raised["pv_costs"] == pytest.approx(costs * 1.41)


def test_lines_with_one_metric_share_the_draws_of_its_effect():
    """Failing means that one error is drawn twice, and cancels out in the net present value."""
    line = {"unit_value_low_gbp": 10.0, "unit_value_high_gbp": 10.0}

    def width(*others: dict[str, Any]) -> float:
        got = measures(evidence(line, *(line | other for other in others)), "realised", "cash only")
        return got["npsv_p90"] - got["npsv_p10"]

    alone = width()
    assert width({"benefit_id": "B03"}) == pytest.approx(2 * alone)
    assert width({"benefit_id": "B03", "measure_metric_id": "C02"}) < 1.7 * alone


def test_without_costs_or_benefits_every_measure_says_why_it_is_empty():
    """Failing means that a programme which shows nothing is told to be worth 0."""
    full = len(BASES) * len(SELECTIONS) * len(OPTIMISM_BIASES) * len(UNITS)
    free = replace(evidence(), costs=evidence().costs.clear())
    found = case_of(told(free)).appraisal
    assert len(found) == full
    ratio = found.filter(pl.col("measure") == "bcr")
    assert set(ratio["note"]) == {"no costs"} and ratio["value"].null_count() == len(ratio)
    nothing = told(replace(evidence(), register=evidence().register.clear()))
    assert (len(nothing.lines), len(nothing.realised)) == (0, 0)
    assert nothing.balance["net_cash_gbp"].null_count() == len(nothing.balance) == 12
    found = case_of(nothing).appraisal
    assert found["value"].null_count() == len(found) == full
    assert set(found["note"]) == {"no benefit of these classes is told on this basis"}
    neither = told(replace(free, register=evidence().register.clear(), until=None))
    assert len(case_of(neither).flows) == len(neither.balance) == 0


def test_the_bias_of_costs_is_that_of_the_seed():
    """Failing means that costs are raised by another bias than the one that is documented."""
    rows = pl.read_csv(Path(__file__).parents[3] / "dbt_project/seeds/network/optimism_biases.csv")
    costs = rows.filter(pl.col("subject") == "cost")
    assert costs["optimism_bias"].to_list() == [bias for bias in OPTIMISM_BIASES if bias]
    assert costs["mitigation"].to_list() == [MITIGATION]
    assert costs.select("source", "source_status").rows() == [(BIAS_SOURCE, BIAS_SOURCE_STATUS)]


def test_a_harm_makes_the_value_less_and_its_swing_is_told_from_low_to_high():
    """Failing means that a worsening is cut off at 0 or reads as a gain."""
    harm = evidence({"improvement": "increase"})
    assert measures(harm, "realised", "cash only")["pv_benefits"] == pytest.approx(-400)
    swings = case_of(told(harm)).sensitivities.filter(pl.col("sensitivity") == "tornado")
    assert (swings["npsv_low_gbp"] <= swings["npsv_high_gbp"]).all()
    row = swings.row(by_predicate=(pl.col("variant") == "B02 realised")
                     & (pl.col("basis") == "realised") & (pl.col("optimism_bias") == 0)
                     & (pl.col("class_selection") == "cash only"), named=True)  # fmt: skip
    assert row["npsv_low_gbp"] < -520 < row["npsv_high_gbp"]


def test_the_same_evidence_gives_the_same_tables_of_the_contract():
    """Failing means that a published figure cannot be computed again, or a column is not as told."""
    found = []
    for _ in range(2):
        ledger = told(evidence({}, {"benefit_id": "B05", "measure_metric_id": "C02"}))
        case = case_of(ledger)
        found.append([ledger.realised, ledger.lines, ledger.balance, case.flows, case.appraisal,
                      case.sensitivities, ledger.paid])  # fmt: skip
    for table, first, second in zip(LEDGER_TABLES, *found, strict=True):
        assert first.equals(second)
        assert dict(first.schema) == {name: TYPES[kind] for name, kind, _ in table["columns"]}
        grain = table["grain"].split(", ")
        assert first.select(grain).is_duplicated().any() is False
