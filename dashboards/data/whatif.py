"""The one door to the statistics: what a reader's own numbers would mean. Nothing here is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build
from dashboards.data.queries import benefits, metrics
from pipelines.statistics import benefit_what_if, waiting_list
from pipelines.statistics.appraisal import DRAWS
from pipelines.statistics.appraisal_cases import (
    BASES,
    BIAS_SOURCE,
    BIAS_SOURCE_STATUS,
    OPTIMISM_BIASES,
)
from pipelines.statistics.benefit_balance import MONETISED
from pipelines.statistics.waiting_list import WEEKS_TO_TARGET, ListPlan

TARGET_WEEKS = waiting_list.LONG_WAIT_DAYS / waiting_list.DAYS_A_WEEK
MONTHS_OF_GROWTH = 3


@dataclass(frozen=True)
class Asked:
    """Numbers of a list: patients a week, patients, weeks.

    `census` says of which month they are; where the growth of three months is not told
    (`is_growth_told`), demand is the tests a week.
    """

    demand: float
    capacity: float
    queue_size: float
    target_wait: float = TARGET_WEEKS
    time_to_target: float = WEEKS_TO_TARGET
    census: str = ""
    is_growth_told: bool = True


def start(build: Build, filters: Filters) -> Asked | None:
    """The list of the last month that has a pace (W07): its size, its pace, its growth (W08).

    Growth counts in months that have a pace too: before, a list that is told anew grows as it
    fills. None where the organisation has no list of the modality.
    """
    paced = metrics.by_month(build, filters, "W07").drop_nulls("denominator")
    if paced.is_empty():
        return None
    last = paced.row(-1, named=True)
    since = pl.lit(last["period_start_on"]).dt.offset_by(f"-{MONTHS_OF_GROWTH - 1}mo")
    grown = (
        metrics.by_month(build, filters, "W08")
        .drop_nulls("value")
        .join(paced.filter(pl.col("period_start_on") >= since), on="period_start_on", how="semi")
    )
    is_told = grown.height == MONTHS_OF_GROWTH
    demand = tests = last["denominator"]
    if is_told:
        days = grown["period_start_on"].dt.days_in_month().to_list()
        demand = waiting_list.weekly_demand(tests, grown["value"].to_list(), days)
    return Asked(
        demand=demand,
        capacity=tests,
        queue_size=last["numerator"],
        census=f"{last['period_start_on']:%B %Y}",
        is_growth_told=is_told,
    )


def plan(asked: Asked) -> ListPlan:
    """What the numbers mean; see pipelines.statistics.waiting_list.list_plan."""
    return waiting_list.list_plan(
        asked.demand,
        asked.capacity,
        asked.queue_size,
        asked.target_wait,
        time_to_target=asked.time_to_target,
    )


@dataclass(frozen=True)
class Doubts:
    """How a reader would have the benefits; as begun with, nothing is changed.

    The delay is in `delay_unit` (months or years). Each is of all benefits, of a class or of a line.
    """

    delay: int = 0
    delay_unit: str = "months"
    delay_of: str = benefit_what_if.ALL
    haircut_percent: float = 0.0
    haircut_of: str = benefit_what_if.ALL
    price: float = 1.0
    price_of: str = benefit_what_if.ALL
    cost_bias_percent: float = 0.0

    def change(self) -> benefit_what_if.Change:
        """The same in months and fractions. Raises ValueError, in words, on what cannot be counted."""
        return benefit_what_if.Change(
            delay_months=self.delay * MONTHS_OF[self.delay_unit],
            delay_of=self.delay_of,
            haircut_rate=self.haircut_percent / 100,
            haircut_of=self.haircut_of,
            value_factor=self.price,
            value_of=self.price_of,
            cost_bias=self.cost_bias_percent / 100,
        )


NOTHING_CHANGED = Doubts()
# The same draws for the same numbers, on every page and day.
SEED = 20201001
# The bias that the stored appraisal is also told with, in percent, and where it comes from.
STORED_BIAS = (100 * max(OPTIMISM_BIASES), BIAS_SOURCE, BIAS_SOURCE_STATUS)
MONTHS_OF = {"months": 1, "years": 12}
# Of each figure: the measure and the selection of classes it is of.
APPRAISED = (
    ("npsv", "all monetised"),
    ("bcr", "all monetised"),
    ("bcr", "cash only"),
    ("discounted_payback_year", "all monetised"),
)
SWINGS = ("npsv_low_gbp", "npsv_high_gbp", "switching_value")
BESIDE = ("stored_value", "stored_note", "changed_value", "changed_note")
RESTS_ON = ("first_year", "last_month_on", "price_year", "schedule", "rates_vintage")


def changeable(build: Build) -> pl.DataFrame:
    """One row per line of the register that the appraisal counts: benefit_id, title, benefit_class."""
    return benefits.lines_that_count(build, MONETISED)


def not_priced(build: Build) -> list[str]:
    """The lines whose metric is in pounds, which another price leaves as they are."""
    rows = benefits.by_month(build).filter(~pl.col("is_priced"))
    return rows["benefit_id"].unique().sort().to_list()


@dataclass(frozen=True)
class Simulated:
    """What draws of the uncertain lines give: `draws` of them, from SEED.

    `figures` has measure, unit, value; `lines` one row per line, the widest swing first: variant,
    npsv_low_gbp, npsv_high_gbp, switching_value.
    """

    draws: int
    figures: pl.DataFrame
    lines: pl.DataFrame


def simulated(build: Build, doubts: Doubts) -> Simulated | None:
    """All monetised benefits, realised, then forecast, with the doubts; None where nothing is told.

    See pipelines.statistics.appraisal.simulate and appraisal_cases.simulated_again.
    """
    try:
        found = benefit_what_if.simulated(
            benefits.by_month(build),
            benefits.costs_by_month(build),
            benefits.swings(build),
            doubts.change(),
            np.random.default_rng(SEED),
        )
    except ValueError:
        return None
    if found is None:
        return None
    figures = [
        ("npsv", "GBP", found.deterministic),
        ("npsv_p10", "GBP", found.p10),
        ("npsv_p50", "GBP", found.p50),
        ("npsv_p90", "GBP", found.p90),
        ("npsv_above_zero_rate", "rate", found.probability_above_zero),
    ]
    lines = [
        (
            swing.name,
            min(swing.npsv_at_low, swing.npsv_at_high),
            max(swing.npsv_at_low, swing.npsv_at_high),
            found.switching_values.get(swing.name),
        )
        for swing in found.tornado
    ]
    return Simulated(
        DRAWS,
        pl.DataFrame(figures, ["measure", "unit", "value"], orient="row"),
        pl.DataFrame(
            lines,
            {"variant": pl.String} | dict.fromkeys(SWINGS, pl.Float64),
            orient="row",
        ),
    )


def compared(build: Build, doubts: Doubts) -> tuple[pl.DataFrame, str]:
    """One row per basis and figure of APPRAISED: stored and changed value, each with its note, and
    what both rest on.

    Beside it why nothing is changed, in words; empty where the changed values are counted. Stored
    are costs as budgeted. See pipelines.statistics.benefit_what_if.
    """
    case = ["basis", "class_selection", "measure"]
    stored = benefits.appraisal(build).rename({"value": "stored_value", "note": "stored_note"})
    problem, changed = "", pl.DataFrame()
    try:
        changed = benefit_what_if.appraised_again(
            benefits.by_month(build),
            benefits.costs_by_month(build),
            doubts.change(),
        )
    except ValueError as refused:
        problem = str(refused)
        changed = stored.select(
            *case, pl.lit(None, pl.Float64).alias("value"), pl.lit("not counted").alias("note")
        )
    shown = pl.DataFrame(
        [(place, *figure) for place, figure in enumerate(APPRAISED)],
        ["place", "measure", "class_selection"],
        orient="row",
    )
    found = (
        stored.join(shown, on=["measure", "class_selection"])
        .join(
            changed.select(
                *case,
                pl.col("value").alias("changed_value"),
                pl.col("note").alias("changed_note"),
            ),
            on=case,
            how="left",
        )
        .sort(pl.col("basis").cast(pl.Enum(BASES)), "place")
    )
    return found.select(*case, "unit", *BESIDE, *RESTS_ON), problem
