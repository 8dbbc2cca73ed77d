"""The one door to the statistics: what a reader's own numbers would mean. Nothing here is stored."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build
from dashboards.data.queries import benefits, metrics
from pipelines.statistics import benefit_what_if, waiting_list
from pipelines.statistics.appraisal_cases import BASES
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


NOTHING_CHANGED = Doubts()
MONTHS_OF = {"months": 1, "years": 12}
# Of each figure: the measure and the selection of classes it is of.
APPRAISED = (
    ("npsv", "all monetised"),
    ("bcr", "all monetised"),
    ("bcr", "cash only"),
    ("discounted_payback_year", "all monetised"),
)
BESIDE = ("stored_value", "stored_note", "changed_value", "changed_note")
RESTS_ON = ("first_year", "last_month_on", "price_year", "schedule", "rates_vintage")


def changeable(build: Build) -> pl.DataFrame:
    """One row per line of the register that the appraisal counts: benefit_id, title, benefit_class."""
    return benefits.lines_that_count(build, MONETISED)


def compared(build: Build, doubts: Doubts) -> tuple[pl.DataFrame, str]:
    """One row per basis and figure of APPRAISED: stored and changed value, each with its note, and
    what both rest on.

    Beside it why nothing is changed, in words; empty where the changed values are counted. Costs
    are as budgeted in both. See pipelines.statistics.benefit_what_if.
    """
    case = ["basis", "class_selection", "measure"]
    stored = benefits.appraisal(build).rename({"value": "stored_value", "note": "stored_note"})
    problem, changed = "", pl.DataFrame()
    try:
        changed = benefit_what_if.appraised_again(
            benefits.by_month(build),
            benefits.costs_by_month(build),
            benefit_what_if.Change(
                delay_months=doubts.delay * MONTHS_OF[doubts.delay_unit],
                delay_of=doubts.delay_of,
                haircut_rate=doubts.haircut_percent / 100,
                haircut_of=doubts.haircut_of,
                value_factor=doubts.price,
                value_of=doubts.price_of,
            ),
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
