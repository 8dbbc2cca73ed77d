"""The benefit ledger: what each line promised, what it can show, and why where it shows nothing.

Everything is in pounds of one price year. Classes (CRB, NCRB, SB) stand beside each other and are
never added up here; what an appraisal makes of them is in appraisal_cases.py. Columns:
pipelines/statistics/ledger_tables.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import DRAWS, in_prices_of
from pipelines.statistics.benefits import (
    Drawn,
    balance_by_party,
    benefits_by_month,
    costs_by_month,
    counted_lines,
    counted_once,
    interval_of_sum,
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

    `register`, `volumes`, `go_lives` as `benefits_by_month` takes them, prices of any year.
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

    @property
    def price_year(self) -> int:
        """Year of the prices of all pounds."""
        return max(self.prices)


@dataclass(frozen=True)
class Ledger:
    """The stored tables, what the appraisal reads beside them, and why lines are not valued."""

    realised: pl.DataFrame
    lines: pl.DataFrame
    balance: pl.DataFrame
    paid: pl.DataFrame
    by_month: pl.DataFrame
    costs: pl.DataFrame
    drawn: Drawn


def ledger_of(evidence: Evidence, generator: np.random.Generator, *, draws: int = DRAWS) -> Ledger:
    """Value every line of the register that can be valued, and say of the others why not.

    Raises ValueError for a cost whose price year is missing or not in the price index.
    """
    until = evidence.until or date.min
    usable, faults = in_one_price(evidence.register, evidence.prices)
    found, drawn = benefits_by_month(
        usable,
        evidence.effects,
        evidence.volumes,
        evidence.go_lives,
        generator,
        until=until,
        draws=draws,
    )
    costs = _costs(evidence, until)
    by_month = _with_reasons(counted_once(found), evidence.estimates)
    lines = _lines(evidence, by_month, faults, drawn)

    def stored(frame: pl.DataFrame, table: dict[str, Any]) -> pl.DataFrame:
        named = frame.rename({"party": "party_code", "month": "month_on"})
        return typed(named.with_columns(price_year=evidence.price_year), table)

    return Ledger(
        stored(by_month, REALISED_BENEFITS),
        lines,
        stored(balance_by_party(by_month, costs), BENEFIT_BALANCE),
        stored(costs, PROGRAMME_COSTS_MONTHLY),
        by_month,
        costs,
        drawn,
    )


def in_one_price(
    register: pl.DataFrame, prices: Mapping[int, float]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The lines that can be valued, in prices of the index's last year; and why the others cannot.

    A plan of 0 is no plan of money and becomes empty.
    """
    faults = dict(line_faults(register))
    base, rows = max(prices), []
    for row in register.iter_rows(named=True):
        line = row["benefit_id"]
        row["planned_value_gbp_per_year"] = row["planned_value_gbp_per_year"] or None
        told = [name for name in PRICED if row[name] is not None]
        try:
            for name in told:
                row[name] = in_prices_of(row[name], row["price_base_year"], base, prices)
        except ValueError as problem:
            faults.setdefault(line, f"{told[0]}: {problem}")
        if line not in faults:
            rows.append(row)
    return pl.DataFrame(rows, register.schema), faults


def _costs(evidence: Evidence, until: date) -> pl.DataFrame:
    """Costs by party and month in prices of the index's last year."""
    rows = []
    for row in evidence.costs.filter(pl.col("from_month") <= until).iter_rows(named=True):
        told = (row["gbp_per_month"], row["price_base_year"], evidence.price_year)
        try:
            rows.append(row | {"gbp_per_month": in_prices_of(*told, evidence.prices)})
        except ValueError as problem:
            raise ValueError(
                f"seed programme_costs, {row['cost_id']}, price_base_year: {problem}; correct it, "
                "or add the year to the seed gdp_deflator"
            ) from problem
    return costs_by_month(pl.DataFrame(rows, evidence.costs.schema), evidence.parties, until=until)


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
            .otherwise(pl.format("no volume of {} in the month", metric))
            .alias("empty_because")
        )
        .drop("not_estimated_because", "is_told")
    )


def _lines(
    evidence: Evidence, by_month: pl.DataFrame, faults: Mapping[str, str], drawn: Drawn
) -> pl.DataFrame:
    chosen = counted_lines(by_month)
    firsts = evidence.register.drop_nulls("double_count_group").group_by("double_count_group")
    # A group of which no line has a month yet: its first line, which shows nothing either.
    standing = dict(firsts.agg(pl.col("benefit_id").min()).iter_rows()) | chosen
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
    low, high = interval_of_sum(list(shown.iter_rows(named=True)), drawn)
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
