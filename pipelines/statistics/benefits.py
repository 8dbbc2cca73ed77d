"""Realised benefits: from the estimated effect of a go-live to pounds, with its interval.

One formula: realised = effect in the good direction x volume x units per effect x unit value x
attribution. Confidence and optimism belong to the forecast only and are not read for it. Classes
(CRB cash-releasing, NCRB non-cash-releasing, SB societal, UB unmonetisable) are never added up.

Evidence of a line, by rule: A the verdict is "consistent with improvement" and the unit value is
verified or local; B the same verdict with another unit value; C an effect with an interval and any
other verdict; D no effect, or no interval. A line of A or B whose class is CRB falls to C where it
names no ledger line. Frames have one price base; months are their first day.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import DRAWS, PARTIES_LESS_ONE, UncertainLine, multipliers
from pipelines.statistics.intervals import SIGNIFICANCE

# In the order in which they stand beside each other; UB has no pounds.
MONETISED = ("CRB", "NCRB", "SB")
IMPROVED = "consistent with improvement"
FINANCE_AGREED = ("verified", "local")
INTERVAL = (SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2)
OF_LINE = (
    "measure_metric_id", "go_live_type", "benefit_class", "double_count_group", "assumption_id",
    "unit_value_low_gbp", "unit_value_gbp", "unit_value_high_gbp", "value_source_status",
    "source_status", "register_version",
)  # fmt: skip
OF_EFFECT = (
    "volume", "price_factor", "value", "effect", "is_logged", "se", "month_spread", "degrees", "verdict",
    "units_of_effect", "attributed_units",
)  # fmt: skip
LINE_MONTH = ("benefit_id", "party", "month")
BALANCE = (
    "party", "month", "crb_gbp", "ncrb_gbp", "sb_gbp", "cost_gbp", "net_cash_gbp",
    "net_cash_empty_because",
)  # fmt: skip
LEFT_OUT = {"benefit_id": pl.String, "party": pl.String, "from_month": pl.Date}
MONEY = ("planned_gbp", "forecast_gbp", "realised_gbp", "realised_low_gbp", "realised_high_gbp")
ENDS = ("ci_low", "ci_high")
# What the interval of an effect is made from.
OF_INTERVAL = ("value", "effect", "se", "month_spread")


class RegisterBroken(ValueError):
    """Lines of the register cannot be valued; the message has line, rule and next step of each."""


@dataclass(frozen=True)
class Drawn:
    """Draws shared by all pounds: standard scores by effect, pounds by unit value.

    `seed` begins the draws of what single months vary by themselves.
    """

    scores: dict[tuple[str, str], np.ndarray]
    values: dict[tuple[Any, ...], np.ndarray]
    seed: int
    count: int

    def of_month(self, metric: str, kind: str, party: str, month: date) -> np.ndarray:
        """Standard normal draws of one month of a party: the same for every line with the metric."""
        name = f"{metric} {kind} {party} {month}".encode()
        own = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
        return np.random.default_rng([self.seed, own]).standard_normal(self.count)


def line_faults(register: pl.DataFrame) -> dict[str, str]:
    """By line of the register that cannot be valued: what is wrong, and what to do.

    `register` has the columns that `benefits_by_month` reads. What one line alone may say is a rule
    of the contract of the feed benefit_register and is not asked again; here is what makes a sound
    line useless, and what several lines say together.
    """
    newest = max((_version(row) for row in register.iter_rows(named=True)), default=())
    told = {
        row["benefit_id"]: "; ".join(_faults(row, newest)) for row in register.iter_rows(named=True)
    }
    return {line: fault for line, fault in told.items() if fault}


def _version(row: dict[str, Any]) -> tuple[int, str, str]:
    """Version and sign-off of a line, the later one greater."""
    signed = row["signed_off_on"]
    return (
        row["register_version"] or 0,
        "" if signed is None else signed.isoformat(),
        row["signed_off_by_role"] or "",
    )


def _faults(row: dict[str, Any], newest: tuple[Any, ...]) -> list[str]:
    needed = ("go_live_type", "ramp_months", "attribution_rate")
    missing = [name for name in needed if row[name] is None]
    valued = ("units_per_effect", "unit_value_low_gbp", "unit_value_high_gbp", "price_base_year",
              "value_source_status")  # fmt: skip
    if row["benefit_class"] != "UB" and row["unit_value_gbp"] is not None:
        missing += [name for name in valued if row[name] is None]
    checks = (
        (not missing, f"the register does not say {', '.join(missing)}; add it"),
        (row["baseline_from"] <= row["baseline_to"], "the baseline ends before it begins"),
        (
            None not in (row["register_version"], row["signed_off_by_role"], row["signed_off_on"]),
            "the line is not signed off; say version, role and day",
        ),
        (
            _version(row) == newest,
            f"the line is of another version or sign-off than version {(newest or (0,))[0]}; "
            "deliver all lines as one version",
        ),
    )
    return [told for holds, told in checks if not holds]


def benefits_by_month(
    register: pl.DataFrame,
    effects: pl.DataFrame,
    volumes: pl.DataFrame,
    go_lives: pl.DataFrame,
    generator: np.random.Generator,
    *,
    until: date,
    draws: int = DRAWS,
) -> tuple[pl.DataFrame, Drawn]:
    """One row per line of the register, party and month from the month after its go-live on.

    `register`: the lines of staging.stg_finance__benefits, with `beneficiary`; pounds in prices of
    one year. `effects`: metric_id, go_live_type, party, month, value (of the metric), effect (value
    less what it would be, in its unit), is_logged (whether it was estimated as a logarithm), se
    (standard error of the mean effect) and month_spread (standard deviation of a single month of the
    party), both in the scale of the estimate, degrees (of freedom of se), verdict. `volumes`: metric_id, party, month, volume (denominator of the month; 1 for a metric
    that is a count), price_factor (what its pounds are multiplied by to be in the prices of the
    register; 1 for a metric that is not in pounds, null where it is not known). `go_lives`: party, go_live_type, go_live_on. `until`: last month told, its
    first day.

    The intervals of effect and pounds come from `draws` draws, made in the scale of the estimate: the
    error of the mean effect (Student's t), what the month varies by itself (normal), and the unit
    value (triangular). Of a logged metric both multiply what the metric would be, so that the
    interval is longer on one side.
    One error of an effect is that of every party and month of its metric and one unit value that of
    every line with its assumption, so that these do not cancel out in a sum; what months vary by
    themselves does. No effect, no volume,
    no price factor or no unit value leaves realised empty, never 0; a benefit that turned out a harm is below 0.
    The forecast is the plan x attribution x confidence x (1 - optimism). Returned with the draws, for
    the interval of sums of rows (`interval_of_sum`). Raises RegisterBroken.
    """
    faults = line_faults(register)
    if faults:
        raise RegisterBroken("; ".join(f"{line}: {fault}" for line, fault in faults.items()))
    rows = _line_months(register, effects, volumes, go_lives, until)
    good = pl.when(pl.col("improvement") == "increase").then(1.0).otherwise(-1.0)
    units = good * pl.col("volume") * pl.col("units_per_effect") * pl.col("attribution_rate")
    value = pl.when(pl.col("benefit_class") != "UB").then(pl.col("unit_value_gbp"))
    rows = (
        rows.with_columns(units.alias("units_of_effect"), value.alias("unit_value_gbp"))
        .with_columns((pl.col("effect") * pl.col("units_of_effect")).alias("attributed_units"))
        .with_columns(
            (
                pl.col("attributed_units") * pl.col("unit_value_gbp") * pl.col("price_factor")
            ).alias("realised_gbp")
        )
    )  # fmt: skip
    drawn = _drawn_of(rows, generator, draws)
    found = (
        rows.join(_ends(rows, drawn), on=LINE_MONTH, how="left")
        .with_columns(_grade().alias("evidence_grade"))
        .select(*LINE_MONTH, *OF_LINE, *OF_EFFECT, *ENDS, *MONEY, "evidence_grade")
        .sort(LINE_MONTH)
    )
    return found, drawn


def first_months(go_lives: pl.DataFrame) -> pl.DataFrame:
    """One row per party and type of go-live: from_month, the first full month after it."""
    return go_lives.group_by("party", "go_live_type").agg(
        pl.col("go_live_on").min().dt.offset_by("-1d").dt.month_start().dt.offset_by("1mo")
        .alias("from_month")
    )  # fmt: skip


def _line_months(
    register: pl.DataFrame,
    effects: pl.DataFrame,
    volumes: pl.DataFrame,
    go_lives: pl.DataFrame,
    until: date,
) -> pl.DataFrame:
    """Lines with the months after go-live, their plan, forecast, volume and effect."""
    parties = (
        first_months(go_lives)
        .join(register, on="go_live_type")
        .filter((pl.col("beneficiary") == "NETWORK") | (pl.col("beneficiary") == pl.col("party")))
    )
    shared = parties.with_columns(pl.len().over("benefit_id").alias("party_count"))
    months = (
        shared.filter(pl.col("from_month") <= until)
        .with_columns(pl.date_ranges("from_month", pl.lit(until), "1mo").alias("month"))
        .explode("month")
    )
    since = (pl.col("month").dt.year() - pl.col("from_month").dt.year()) * 12 + (
        pl.col("month").dt.month().cast(pl.Int32) - pl.col("from_month").dt.month().cast(pl.Int32)
    )
    ramp = (
        pl.when(pl.col("ramp_months") == 0)
        .then(1.0)
        .otherwise(((since + 1) / pl.col("ramp_months")).clip(0, 1))
    )
    plan = pl.col("planned_value_gbp_per_year") / 12 / pl.col("party_count") * ramp
    likely = pl.col("attribution_rate") * pl.col("confidence_rate") * (1 - pl.col("optimism_rate"))
    key = ("measure_metric_id", "party", "month")
    return (
        months.with_columns(plan.alias("planned_gbp"), (plan * likely).alias("forecast_gbp"))
        .join(volumes.rename({"metric_id": "measure_metric_id"}), on=key, how="left")
        .join(
            effects.rename({"metric_id": "measure_metric_id"}),
            on=(*key, "go_live_type"),
            how="left",
        )
    )


def _grade() -> pl.Expr:
    """Evidence grade by the rules of the module."""
    improved = pl.col("verdict") == IMPROVED
    has_interval = pl.col("effect").is_not_null() & pl.col("ci_low").is_not_null()
    backed = (pl.col("benefit_class") != "CRB") | pl.col("ledger_line").is_not_null()
    agreed = pl.col("value_source_status").is_in(FINANCE_AGREED)
    return (
        pl.when(~has_interval | pl.col("ci_high").is_null())
        .then(pl.lit("D"))
        .when(improved & backed & agreed)
        .then(pl.lit("A"))
        .when(improved & backed)
        .then(pl.lit("B"))
        .otherwise(pl.lit("C"))
    )


def _drawn_of(rows: pl.DataFrame, generator: np.random.Generator, draws: int) -> Drawn:
    seed = int(generator.integers(2**63))
    # Drawn in the order of their names, so that the order of the rows changes nothing.
    degrees = (
        rows.group_by("measure_metric_id", "go_live_type")
        .agg(pl.col("degrees").max().fill_null(PARTIES_LESS_ONE))
        .sort("measure_metric_id", "go_live_type")
    )
    scores = {
        (metric, kind): generator.standard_t(freedom, draws)
        for metric, kind, freedom in degrees.iter_rows()
    }
    return Drawn(scores, _drawn_values(rows, generator, draws), seed, draws)


def effect_draws(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray:
    """Draws of the effect (row x draw) in the unit of the metric; nan where it has no interval.

    `rows` of `benefits_by_month`. The error is drawn in the scale of the estimate. Of a logarithm it
    multiplies the counterfactual, of which it takes away as much as the effect gains.
    """
    found = np.full((len(rows), drawn.count), np.nan)
    for place, row in enumerate(rows.iter_rows(named=True)):
        if any(row[name] is None or not math.isfinite(row[name]) for name in OF_INTERVAL):
            continue
        metric, kind = row["measure_metric_id"], row["go_live_type"]
        error = row["se"] * drawn.scores[metric, kind]
        if row["month_spread"]:
            own = drawn.of_month(metric, kind, row["party"], row["month"])
            error = error + row["month_spread"] * own
        if row["is_logged"]:
            error = -(row["value"] - row["effect"]) * np.expm1(-error)
        found[place] = row["effect"] + error
    return found


def pound_draws(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray:
    """Draws of the realised pounds (row x draw); nan where a row has none or no interval."""
    return _pounds_of(rows, effect_draws(rows, drawn), drawn)


def _pounds_of(rows: pl.DataFrame, effects: np.ndarray, drawn: Drawn) -> np.ndarray:
    nothing = np.full(drawn.count, np.nan)
    keys = [value_key(row) for row in rows.iter_rows(named=True)]
    values = np.array([drawn.values.get(key, nothing) for key in keys])
    units, factors = (
        rows[name].cast(pl.Float64).fill_null(math.nan).to_numpy()[:, None]
        for name in ("units_of_effect", "price_factor")
    )
    return effects * units * values.reshape(effects.shape) * factors


def _ends(rows: pl.DataFrame, drawn: Drawn) -> pl.DataFrame:
    """The rows that have an effect, with the ends of the intervals of effect and pounds."""
    parts = [pl.DataFrame(schema={name: rows.schema[name] for name in LINE_MONTH} | dict.fromkeys(
        (*ENDS, *MONEY[-2:]), pl.Float64))]  # fmt: skip
    # A line at a time: the draws of all of them would not fit in memory.
    for line in rows.drop_nulls("effect").sort(LINE_MONTH).partition_by("benefit_id"):
        effects = effect_draws(line, drawn)
        ends = {}
        for names, told in (
            (ENDS, effects),
            (MONEY[-2:], _pounds_of(line, effects, drawn)),
        ):
            for name, end in zip(names, np.quantile(told, INTERVAL, axis=1), strict=True):
                ends[name] = pl.Series(name, end, dtype=pl.Float64).fill_nan(None)
        parts.append(line.select(LINE_MONTH).with_columns(**ends))
    return pl.concat(parts)


def drawn_sum(rows: pl.DataFrame, drawn: Drawn) -> np.ndarray | None:
    """Draws of the pounds of rows together; None where one has no interval, or there is no row."""
    total = np.zeros(drawn.count)
    for line in rows.sort(LINE_MONTH).partition_by("benefit_id"):
        total = total + pound_draws(line, drawn).sum(axis=0)
    return None if rows.is_empty() or np.isnan(total).any() else total


def interval_of_sum(rows: pl.DataFrame, drawn: Drawn) -> tuple[float, float] | tuple[None, None]:
    """2.5 and 97.5 percentile of the pounds of some rows together.

    None where a row has no effect, no interval or no value, or there is no row.
    """
    total = drawn_sum(rows, drawn)
    if total is None:
        return None, None
    low, high = np.quantile(total, INTERVAL)
    return float(low), float(high)


def value_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What the draws of a unit value are kept by: assumption, low, value and high."""
    names = ("assumption_id", "unit_value_low_gbp", "unit_value_gbp", "unit_value_high_gbp")
    return tuple(row[name] for name in names)


def _drawn_values(
    rows: pl.DataFrame, generator: np.random.Generator, draws: int
) -> dict[tuple[Any, ...], np.ndarray]:
    keys = {value_key(row) for row in rows.iter_rows(named=True) if row["unit_value_gbp"]}
    drawn = {}
    for key in sorted(keys, key=str):
        _, low, mode, high = key
        line = UncertainLine(str(key), "benefit", (0.0,), low, mode, high)
        drawn[key] = multipliers(line, generator, draws)
    # What is worth nothing is worth nothing in every draw.
    return drawn | {
        value_key(row): np.zeros(draws)
        for row in rows.iter_rows(named=True)
        if row["unit_value_gbp"] == 0
    }


def counted_once(by_month: pl.DataFrame) -> pl.DataFrame:
    """The rows of `benefits_by_month` with `is_counted`: one line of each double-count group.

    The line with the best grade it reached in any month, of several the one whose grade is best in
    more months, then the first id; the same line for all parties and months. Lines without a group
    count. Of the network one choice, since a choice by party would take the best of each.
    """
    chosen = list(counted_lines(by_month).values())
    is_counted = pl.col("double_count_group").is_null() | pl.col("benefit_id").is_in(chosen)
    return by_month.with_columns(is_counted.alias("is_counted"))


def counted_lines(by_month: pl.DataFrame) -> dict[str, str]:
    """The line that counts, by double-count group; the rule is that of `counted_once`."""
    order = (
        by_month.filter(pl.col("double_count_group").is_not_null())
        .group_by("double_count_group", "benefit_id")
        .agg(
            pl.col("evidence_grade").min().alias("best"),
            (pl.col("evidence_grade") == pl.col("evidence_grade").min()).sum().alias("months"),
        )
        .sort("double_count_group", "best", "months", "benefit_id", descending=[False, False, True, False])
        .unique("double_count_group", keep="first", maintain_order=True)
    )  # fmt: skip
    return dict(order.select("double_count_group", "benefit_id").iter_rows())


def balance_by_party(
    by_month: pl.DataFrame,
    costs: pl.DataFrame,
    unpriced: Mapping[str, str] | None = None,
    left_out: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per party and month: realised by class, costs, and cash-releasing less costs.

    `by_month` of `counted_once`, `costs` of `costs_by_month` (several rows of one month are added
    up; an empty one is a cost that is not valued, and `unpriced` says why, by cost). `left_out`:
    benefit_id, party, from_month of cash-releasing lines that count and cannot be valued at all.
    crb_gbp, ncrb_gbp and sb_gbp stand beside each other and are never added; each is of the lines
    that can be told, and empty where none can. net_cash_gbp is crb_gbp less cost_gbp, only where it
    is whole: every cash-releasing line of the party and month is told and every cost valued. Else it
    is empty and net_cash_empty_because says why. A month without a cost row cost nothing.
    """
    counted = by_month.filter(pl.col("is_counted"))
    is_cash, is_told = pl.col("benefit_class") == "CRB", pl.col("realised_gbp").is_not_null()

    def of_class(name: str) -> pl.Expr:
        found = pl.col("realised_gbp").filter(pl.col("benefit_class") == name).drop_nulls()
        return pl.when(found.len() > 0).then(found.sum()).alias(f"{name.lower()}_gbp")

    gained = counted.group_by("party", "month").agg(
        *(of_class(name) for name in MONETISED),
        is_cash.sum().alias("cash_count"),
        _listed(pl.col("benefit_id").filter(is_cash & ~is_told), ", ").alias("untold"),
    )
    is_valued = pl.col("cost_gbp").is_not_null()
    why = pl.col("cost_id").filter(~is_valued).replace(dict(unpriced or {}))
    paid = costs.group_by("party", "month").agg(
        pl.when(is_valued.all()).then(pl.col("cost_gbp").sum()).alias("cost_gbp"),
        _listed(why, "; ").alias("unpriced"),
    )
    rows = gained.join(paid, on=("party", "month"), how="full", coalesce=True)
    lacking = pl.DataFrame(schema=LEFT_OUT) if left_out is None else left_out
    never = (
        rows.join(lacking, on="party")
        .filter(pl.col("month") >= pl.col("from_month"))
        .group_by("party", "month")
        .agg(_listed(pl.col("benefit_id"), ", ").alias("never"))
    )
    no_cost = pl.col("unpriced").is_null()
    because = pl.concat_str(
        _said("unpriced", "{}"),
        _said("never", "{} cannot be valued: statistics.benefit_ledger says why"),
        _said("untold", "{} has no value in the month: statistics.realised_benefits says why"),
        pl.when(pl.col("cash_count").fill_null(0) == 0)
        .then(pl.lit("no cash-releasing line has a month after a go-live of the party")),
        separator="; ",
        ignore_nulls=True,
    )  # fmt: skip
    return (
        rows.join(never, on=("party", "month"), how="left")
        .with_columns(pl.when(no_cost).then(0.0).otherwise(pl.col("cost_gbp")).alias("cost_gbp"))
        .with_columns(pl.when(because != "").then(because).alias("net_cash_empty_because"))
        .with_columns(
            pl.when(pl.col("net_cash_empty_because").is_null())
            .then(pl.col("crb_gbp") - pl.col("cost_gbp"))
            .alias("net_cash_gbp")
        )
        .select(BALANCE)
        .sort("party", "month")
    )


def _listed(names: pl.Expr, separator: str) -> pl.Expr:
    return names.unique().sort().str.join(separator)


def _said(name: str, words: str) -> pl.Expr:
    """The words with what a column lists; null where it lists nothing."""
    listed = pl.col(name)
    return pl.when(listed.fill_null("") != "").then(pl.format(words, listed))


def costs_by_month(costs: pl.DataFrame, parties: pl.Series, *, until: date) -> pl.DataFrame:
    """One row per cost, party and month up to `until`: cost_id, party, month, cost_gbp.

    `costs` has the columns of the seed programme_costs; NETWORK is shared equally by `parties`. A
    cost without a price year raises ValueError: it cannot be set against real benefits.
    """
    nameless = costs.filter(pl.col("price_base_year").is_null())["cost_id"].to_list()
    if nameless:
        raise ValueError(f"{', '.join(nameless)}: no price_base_year; ask finance which")
    owners = pl.DataFrame({"party": parties})
    months = costs.with_columns(
        pl.date_ranges(
            "from_month", pl.min_horizontal(pl.col("to_month").fill_null(until), until), "1mo"
        ).alias("month")
    ).explode("month")
    is_owner = (pl.col("party_code") == "NETWORK") | (pl.col("party_code") == pl.col("party"))
    return (
        months.drop_nulls("month")
        .join(owners, how="cross")
        .filter(is_owner)
        .select(
            "cost_id",
            "party",
            "month",
            (pl.col("gbp_per_month") / pl.len().over("cost_id", "month")).alias("cost_gbp"),
        )
        .sort("cost_id", "party", "month")
    )
