"""Realised benefits: from the estimated effect of a go-live to pounds, with its interval.

One formula: realised = effect in the good direction x volume x units per effect x unit value x
attribution. Confidence and optimism belong to the forecast only and are not read for it. Classes
(CRB cash-releasing, NCRB non-cash-releasing, SB societal, UB unmonetisable) are never added up.

Evidence of a line, by rule: A the verdict is "consistent with improvement" and the unit value is
verified or local; B the same verdict with another unit value; C an effect with an interval and any
other verdict; D no effect, or no interval. A line of A or B whose class is CRB falls to C where it
names no ledger line. Frames have one price base; months are their first day.
"""

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import DRAWS
from pipelines.statistics.benefit_draws import (
    ENDS,
    LINE_MONTH,
    POUND_ENDS,
    Drawn,
    draws_of,
    ends_of,
)

IMPROVED = "consistent with improvement"
FINANCE_AGREED = ("verified", "local")
OF_LINE = (
    "measure_metric_id", "go_live_type", "benefit_class", "double_count_group", "assumption_id",
    "unit_value_low_gbp", "unit_value_gbp", "unit_value_high_gbp", "value_source_status",
    "source_status", "register_version",
)  # fmt: skip
OF_EFFECT = (
    "volume", "price_factor", "value", "effect", "is_logged", "se", "month_spread", "degrees", "verdict",
    "units_of_effect", "attributed_units",
)  # fmt: skip
MONEY = ("planned_gbp", "planned_adjusted_gbp", "forecast_gbp", "realised_gbp", *POUND_ENDS)


class RegisterBroken(ValueError):
    """Lines of the register cannot be valued; the message has line, rule and next step of each."""


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
    interval is longer on one side. One error of an effect is that of every party and month of its
    metric and one unit value that of every line with its assumption, so that these do not cancel out
    in a sum; what months vary by themselves does. No effect, no volume, no price factor or no unit
    value leaves realised empty, never 0; a benefit that turned out a harm is below 0.
    The adjusted plan is the plan x (1 - optimism), the forecast that x attribution x confidence. Returned with the draws, for
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
    drawn = draws_of(rows, generator, draws)
    found = (
        rows.join(ends_of(rows, drawn), on=LINE_MONTH, how="left")
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
    hoped = plan * (1 - pl.col("optimism_rate"))
    return (
        months.with_columns(
            plan.alias("planned_gbp"),
            hoped.alias("planned_adjusted_gbp"),
            (plan * likely).alias("forecast_gbp"),
        )
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
