"""What the appraisal would be with later, smaller or otherwise priced benefits; nothing is stored.

Rows are those of statistics.realised_benefits and statistics.programme_costs_monthly, and the
measures those of appraisal_cases.point_measures: without a change they are the stored ones. Delay and
haircut are of the plan: they change the forecast, never a realised value. A price is what a unit is
taken to be worth: it changes both, the units stay. A line measured in pounds has no price.
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import Simulation
from pipelines.statistics.appraisal_cases import point_measures, simulated_again
from pipelines.statistics.benefit_balance import MONETISED

ALL = "All"
MEASURES = ("npsv", "bcr", "discounted_payback_year")


@dataclass(frozen=True)
class Change:
    """What is changed, and of which benefits: ALL, a class (CRB, NCRB, SB) or a benefit_id.

    `haircut_rate` is the share of the forecast that is taken off, `value_factor` what unit values
    are multiplied by, `cost_bias` the share that is added to every cost. Raises ValueError, in words
    for the reader, on a delay that is no whole number of months from 0 on, a share outside 0 to 1, or
    a factor or bias below 0 or infinite.
    """

    delay_months: int = 0
    delay_of: str = ALL
    haircut_rate: float = 0.0
    haircut_of: str = ALL
    value_factor: float = 1.0
    value_of: str = ALL
    cost_bias: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        told = []
        if not (self.delay_months >= 0 and float(self.delay_months).is_integer()):
            told.append(
                f"a delay of {self.delay_months:g} months cannot be counted; "
                "give whole months, 0 or more"
            )
        if not 0 <= self.haircut_rate <= 1:
            told.append(
                f"a haircut of {100 * self.haircut_rate:g} % is no share of a benefit; "
                "give 0 % (nothing is taken off) to 100 % (all of it)"
            )
        if not (math.isfinite(self.value_factor) and self.value_factor >= 0):
            told.append(
                f"a price {self.value_factor:g} times the stored one is no price; "
                "give 0 or more, 1 for the stored price"
            )
        if not (math.isfinite(self.cost_bias) and self.cost_bias >= 0):
            told.append(
                f"a cost bias of {100 * self.cost_bias:g} % cannot be counted; give 0 % (costs as "
                "budgeted) or more"
            )
        if told:
            raise ValueError("; ".join(told))


def appraised_again(by_month: pl.DataFrame, costs: pl.DataFrame, change: Change) -> pl.DataFrame:
    """One row per basis, selection of classes and measure of MEASURES, with the change.

    `by_month` has benefit_id, party, month, benefit_class, is_counted, unit_value_gbp and its ends,
    is_priced, forecast_gbp, realised_gbp, one row per month from the first of a line and party to the last;
    `costs` cost_id, party, month, cost_gbp. Columns: appraisal_cases.point_measures. Raises
    ValueError on benefits that are not there.
    """
    return point_measures(changed(by_month, change), costs, MEASURES, bias=change.cost_bias)


def simulated(
    by_month: pl.DataFrame,
    costs: pl.DataFrame,
    swings: pl.DataFrame,
    change: Change,
    generator: np.random.Generator,
) -> Simulation | None:
    """The simulation with the change; see appraisal_cases.simulated_again. Raises as `changed`."""
    after = changed(by_month, change)
    return simulated_again(by_month, after, costs, swings, generator, bias=change.cost_bias)


def changed(by_month: pl.DataFrame, change: Change) -> pl.DataFrame:
    """The rows with the forecast later and less, and both values at the other price.

    What is delayed beyond the last month is gone: the appraisal is to date, and its costs stay. A
    forecast of a line without a unit value rests on no price, nor does a line that is measured in
    pounds (`is_priced` is false): its units are pounds, which have no other price.
    """
    known = {ALL, *MONETISED, *by_month["benefit_id"].unique()}
    for scope in (change.delay_of, change.haircut_of, change.value_of):
        if scope not in known:
            raise ValueError(f"{scope} is no line of the register that can be changed")
    forecast = pl.col("forecast_gbp")
    later = (
        forecast.shift(int(change.delay_months))
        .over("benefit_id", "party", order_by="month")
        .fill_null(0.0)
    )
    price = pl.when(_is_of(change.value_of)).then(change.value_factor).otherwise(1.0)
    rests_on_price = pl.col("unit_value_gbp").is_not_null() & pl.col("is_priced")
    return (
        by_month.with_columns(
            pl.when(_is_of(change.delay_of) & forecast.is_not_null())
            .then(later)
            .otherwise(forecast)
        )
        .with_columns(
            pl.when(_is_of(change.haircut_of))
            .then(forecast * (1.0 - change.haircut_rate))
            .otherwise(forecast)
        )
        .with_columns(
            pl.when(rests_on_price)
            .then(forecast * price)
            .otherwise(forecast)
            .alias("forecast_gbp"),
            pl.when(pl.col("is_priced"))
            .then(pl.col("realised_gbp") * price)
            .otherwise(pl.col("realised_gbp")),
        )
    )


def _is_of(scope: str) -> pl.Expr:
    if scope == ALL:
        return pl.lit(value=True)
    return (pl.col("benefit_class") == scope) | (pl.col("benefit_id") == scope)
