"""The one door to the statistics: what a reader's own numbers would mean. Nothing here is stored."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build
from dashboards.data.queries import metrics
from pipelines.statistics import waiting_list
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
