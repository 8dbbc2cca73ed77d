"""The benefit ledger: what each line promised, what it can show, and why where it shows nothing.

Everything is in pounds of one price year. Classes (CRB, NCRB, SB) stand beside each other and are
never added up here; what an appraisal makes of them is in appraisal_cases.py. Columns:
pipelines/statistics/ledger_tables.py.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import DRAWS, in_prices_of
from pipelines.statistics.benefit_balance import LEFT_OUT, balance_by_party, costs_by_month
from pipelines.statistics.benefit_draws import Drawn, interval_of_sum
from pipelines.statistics.benefits import (
    benefits_by_month,
    counted_lines,
    counted_once,
    first_months,
    line_faults,
)
from pipelines.statistics.ledger_tables import (
    BENEFIT_BALANCE,
    BENEFIT_LEDGER,
    PROGRAMME_COSTS_MONTHLY,
    REALISED_BENEFITS,
)
from pipelines.statistics.staged_effects import TYPES

NO_EVIDENCE = "no evidence"
PRICED = (
    "planned_value_gbp_per_year",
    "unit_value_low_gbp",
    "unit_value_gbp",
    "unit_value_high_gbp",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the ledger is made from.

    `register`, `volumes`, `go_lives` as `benefits_by_month` takes them, prices of any year and
    volumes without a price factor. `money_metrics`: ids of the metrics that are in pounds.
    `estimates`: rows of statistics.go_live_effects. `effects`: as `benefits_by_month`. `costs`:
    columns of the seed programme_costs. `parties`: all parties, which share the network's costs.
    `prices`: price index by year; its last year is that of all pounds. `until`: last complete
    month, its first day; None where there is none.
    """

    register: pl.DataFrame
    estimates: pl.DataFrame
    effects: pl.DataFrame
    volumes: pl.DataFrame
    go_lives: pl.DataFrame
    costs: pl.DataFrame
    parties: pl.Series
    prices: Mapping[int, float]
    until: date | None
    money_metrics: frozenset[str] = frozenset()

    @property
    def price_year(self) -> int:
        """Year of the prices of all pounds."""
        return max(self.prices)


@dataclass(frozen=True)
class Ledger:
    """The stored tables, and what the appraisal reads beside them.

    `unpriced`: why a cost is not valued, by cost.
    """

    realised: pl.DataFrame
    lines: pl.DataFrame
    balance: pl.DataFrame
    paid: pl.DataFrame
    by_month: pl.DataFrame
    costs: pl.DataFrame
    drawn: Drawn
    unpriced: dict[str, str]


def ledger_of(evidence: Evidence, generator: np.random.Generator, *, draws: int = DRAWS) -> Ledger:
    """Value every line of the register and every cost that can be valued; say of the others why not."""
    until = evidence.until or date.min
    usable, faults = in_one_price(evidence.register, evidence.prices, evidence.money_metrics)
    found, drawn = benefits_by_month(
        usable,
        evidence.effects,
        priced_volumes(evidence.volumes, evidence.prices, evidence.money_metrics),
        evidence.go_lives,
        generator,
        until=until,
        draws=draws,
    )
    costs, unpriced = _costs(evidence, until)
    by_month = _with_reasons(counted_once(found), evidence.estimates)
    lines = _lines(evidence, by_month, faults, drawn)
    left_out = _left_out(evidence, by_month, faults)

    def stored(frame: pl.DataFrame, table: dict[str, Any]) -> pl.DataFrame:
        named = frame.rename({"party": "party_code", "month": "month_on"})
        return typed(named.with_columns(price_year=evidence.price_year), table)

    return Ledger(
        stored(by_month, REALISED_BENEFITS),
        lines,
        stored(balance_by_party(by_month, costs, unpriced, left_out), BENEFIT_BALANCE),
        stored(costs, PROGRAMME_COSTS_MONTHLY),
        by_month,
        costs,
        drawn,
        unpriced,
    )


def in_one_price(
    register: pl.DataFrame,
    prices: Mapping[int, float],
    money_metrics: Collection[str] = (),
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The lines that can be valued, in prices of the index's last year; and why the others cannot.

    A plan of 0 is no plan of money and becomes empty. The unit value of a metric in pounds is
    pounds for each pound, which no price index moves: `priced_volumes` moves the pounds.
    """
    faults = dict(line_faults(register))
    base, rows = max(prices), []
    for row in register.iter_rows(named=True):
        line = row["benefit_id"]
        row["planned_value_gbp_per_year"] = row["planned_value_gbp_per_year"] or None
        amounts = PRICED[:1] if row["measure_metric_id"] in money_metrics else PRICED
        told = [name for name in amounts if row[name] is not None]
        try:
            for name in told:
                row[name] = in_prices_of(row[name], row["price_base_year"], base, prices)
        except ValueError as problem:
            faults.setdefault(line, f"{told[0]}: {problem}")
        if line not in faults:
            rows.append(row)
    return pl.DataFrame(rows, register.schema), faults


def priced_volumes(
    volumes: pl.DataFrame, prices: Mapping[int, float], money_metrics: Collection[str]
) -> pl.DataFrame:
    """The volumes with `price_factor`: from prices of the month's year to those of the last year.

    1 for a metric that is not in pounds; null where the index lacks the year of the month.
    """
    base = max(prices)
    factors = {year: in_prices_of(1.0, year, base, prices) for year in prices}
    of_month = (
        pl.col("month").dt.year().replace_strict(factors, default=None, return_dtype=pl.Float64)
    )
    is_money = pl.col("metric_id").is_in(list(money_metrics))
    return volumes.with_columns(
        pl.when(is_money).then(of_month).otherwise(1.0).alias("price_factor")
    )


def _costs(evidence: Evidence, until: date) -> tuple[pl.DataFrame, dict[str, str]]:
    """Costs by party and month in prices of the index's last year, and why some are not valued.

    A cost that is not valued keeps its months, with an empty cost_gbp: left out, it would be none.
    """
    rows, unpriced = [], {}
    for row in evidence.costs.filter(pl.col("from_month") <= until).iter_rows(named=True):
        gbp, cost = None, row["cost_id"]
        told = (row["gbp_per_month"], row["price_base_year"], evidence.price_year)
        try:
            gbp = in_prices_of(*told, evidence.prices)
        except ValueError as problem:
            unpriced[cost] = (
                f"cost {cost} is not valued: seed programme_costs, {cost}, price_base_year: {problem}; "
                "correct it, or add the year to the seed gdp_deflator"
            )
        rows.append(row | {"gbp_per_month": gbp, "price_base_year": evidence.price_year})
    priced = pl.DataFrame(rows, evidence.costs.schema)
    return costs_by_month(priced, evidence.parties, until=until), unpriced


def typed(frame: pl.DataFrame, table: dict[str, Any]) -> pl.DataFrame:
    """The columns of a table, in its order and types."""
    return frame.select(pl.col(name).cast(TYPES[kind]) for name, kind, _ in table["columns"])


def _with_reasons(by_month: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """The rows with `empty_because`: why there is no realised value, in words; else null."""
    names = ("metric_id", "go_live_type", "not_estimated_because", "is_told")
    told = estimates.with_columns(is_told=pl.lit(value=True)).select(names)
    metric = pl.col("measure_metric_id")
    return (
        by_month.join(
            told.rename({"metric_id": "measure_metric_id"}),
            on=("measure_metric_id", "go_live_type"),
            how="left",
        )
        .with_columns(
            pl.when(pl.col("realised_gbp").is_not_null())
            .then(pl.lit(None, pl.String))
            .when(pl.col("is_told").is_null())
            .then(pl.format("no effect on {} is estimated", metric))
            .when(pl.col("not_estimated_because").is_not_null())
            .then(pl.col("not_estimated_because"))
            .when(pl.col("benefit_class") == "UB")
            .then(pl.lit("the benefit is classed as not to be given a value (UB)"))
            .when(pl.col("unit_value_gbp").is_null())
            .then(pl.lit("the register gives no unit value"))
            .when(pl.col("effect").is_null())
            .then(pl.lit("the month cannot be compared with a party that was not live yet"))
            .when(pl.col("volume").is_null())
            .then(pl.format("no volume of {} in the month", metric))
            .otherwise(
                pl.format(
                    "the price index has no {}, and {} is in pounds of the month; add the year to the "
                    "seed gdp_deflator",
                    pl.col("month").dt.year(),
                    metric,
                )
            )
            .alias("empty_because")
        )
        .drop("not_estimated_because", "is_told")
    )


def _standing(register: pl.DataFrame, by_month: pl.DataFrame) -> dict[str, str]:
    """The line that counts, by double-count group.

    Of a group of which no line has a month yet it is the first line, which shows nothing either.
    """
    firsts = register.drop_nulls("double_count_group").group_by("double_count_group")
    return dict(firsts.agg(pl.col("benefit_id").min()).iter_rows()) | counted_lines(by_month)


def _left_out(
    evidence: Evidence, by_month: pl.DataFrame, faults: Mapping[str, str]
) -> pl.DataFrame:
    """Cash-releasing lines that count and cannot be valued, by party, with their first month.

    A line that does not say its go-live may have begun in any month.
    """
    standing = _standing(evidence.register, by_month)
    live = first_months(evidence.go_lives)
    rows = []
    for line in evidence.register.filter(pl.col("benefit_class") == "CRB").iter_rows(named=True):
        name = line["benefit_id"]
        if name not in faults or standing.get(line["double_count_group"], name) != name:
            continue
        begun = dict.fromkeys(evidence.parties, date.min)
        if line["go_live_type"]:
            own = live.filter(pl.col("go_live_type") == line["go_live_type"])
            begun = dict(own.select("party", "from_month").iter_rows())
        rows += [
            (name, party, month)
            for party, month in sorted(begun.items())
            if line["beneficiary"] in ("NETWORK", party)
        ]
    return pl.DataFrame(rows, LEFT_OUT, orient="row")


def _lines(
    evidence: Evidence, by_month: pl.DataFrame, faults: Mapping[str, str], drawn: Drawn
) -> pl.DataFrame:
    standing = _standing(evidence.register, by_month)
    rows = []
    for line in evidence.register.sort("benefit_id").iter_rows(named=True):
        months = by_month.filter(pl.col("benefit_id") == line["benefit_id"])
        counts = standing.get(line["double_count_group"], line["benefit_id"])
        fault = faults.get(line["benefit_id"])
        rows.append(
            line
            | {"beneficiary_code": line["beneficiary"], "price_year": evidence.price_year}
            | _to_date(months, drawn)
            | {
                "is_counted": counts == line["benefit_id"],
                "shadowed_by": None if counts == line["benefit_id"] else counts,
                "planned_until_on": months["month"].max(),
            }
            | _evidence(line, months, evidence.estimates, fault)
        )
    names = [name for name, *_ in BENEFIT_LEDGER["columns"]]
    schema = {name: TYPES[kind] for name, kind, _ in BENEFIT_LEDGER["columns"]}
    return pl.DataFrame([[row.get(name) for name in names] for row in rows], schema, orient="row")


def _to_date(months: pl.DataFrame, drawn: Drawn) -> Row:
    """Sums over parties and months; empty where no month has a figure."""
    shown = months.filter(pl.col("realised_gbp").is_not_null())
    low, high = interval_of_sum(shown, drawn)
    row = months.row(0, named=True) if len(months) else {}
    return {
        "planned_to_date_gbp": _added(months, "planned_gbp"),
        "forecast_to_date_gbp": _added(months, "forecast_gbp"),
        "planned_compared_gbp": _added(shown, "planned_gbp"),
        "planned_adjusted_to_date_gbp": _added(months, "planned_adjusted_gbp"),
        "planned_adjusted_compared_gbp": _added(shown, "planned_adjusted_gbp"),
        "realised_to_date_gbp": _added(shown, "realised_gbp"),
        "realised_low_gbp": low,
        "realised_high_gbp": high,
        "attributed_units": _added(shown, "attributed_units"),
        "realised_from_on": shown["month"].min(),
        "realised_until_on": shown["month"].max(),
        "realised_month_count": len(shown),
        # in the prices of all pounds, not of the register
        "unit_value_gbp": row.get("unit_value_gbp"),
    }


def _added(rows: pl.DataFrame, name: str) -> float | None:
    told = rows[name].drop_nulls()
    return float(told.sum()) if len(told) else None


def _evidence(line: Row, months: pl.DataFrame, estimates: pl.DataFrame, fault: str | None) -> Row:
    """Grade, verdict and, where nothing is realised, the reason in words."""
    grade, verdict = "D", None
    if len(months):
        grade = str(months["evidence_grade"].min())
        verdict = next(iter(months["verdict"].drop_nulls()), None)
    because = fault
    if because is None and not len(months):
        kind = line["go_live_type"].replace("_", " ")
        because = f"no party of {line['beneficiary']} has a complete month after a go-live ({kind})"
    if because is None and months["realised_gbp"].null_count() == len(months):
        # Of the months' reasons the one of a month that can be compared, if there is one.
        compared = months.filter(pl.col("effect").is_not_null())
        because = (compared if len(compared) else months)["empty_because"][0]
    return {
        "evidence": NO_EVIDENCE if grade == "D" else grade,
        "verdict": verdict,
        "empty_because": because,
    }
