"""The one door to the statistics: what a reader's own numbers would mean. Nothing here is stored."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.data.filters import Filters
from dashboards.data.published import Build, read
from pipelines.statistics import waiting_list
from pipelines.statistics.waiting_list import WEEKS_TO_TARGET, ListPlan

TARGET_WEEKS = 6.0
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
    """The list of the last complete month: its size, its pace of 13 weeks, its growth of 3 months.

    Growth counts in months that have a pace: in the 13 weeks before, a list that is told anew grows
    as it fills. None where the organisation has no list of the modality.
    """
    frame = read(
        build,
        """
        select
            clearing.period_start_on,
            growing.period_start_on >= clearing.period_start_on - interval 2 month as is_recent,
            clearing.numerator as queue_size,
            clearing.denominator as weekly_tests,
            growing.value as growth,
            date_diff(
                'day', growing.period_start_on, growing.period_start_on + interval 1 month
            ) as days,
        from marts.rpt_metrics_monthly as clearing
        inner join marts.rpt_metrics_monthly as growing
            on
                growing.metric_id = 'W08'
                and growing.org_level = clearing.org_level
                and growing.org_code = clearing.org_code
                and growing.modality_group = clearing.modality_group
                and growing.period_start_on <= clearing.period_start_on
        inner join marts.rpt_metrics_monthly as paced
            on
                paced.metric_id = 'W07'
                and paced.org_level = growing.org_level
                and paced.org_code = growing.org_code
                and paced.modality_group = growing.modality_group
                and paced.period_start_on = growing.period_start_on
                and paced.denominator is not null
        where
            clearing.metric_id = 'W07'
            and clearing.org_level = $org_level
            and clearing.org_code = $org_code
            and clearing.modality_group = $modality_group
            and clearing.numerator is not null
            and clearing.denominator is not null
            and growing.value is not null
        order by clearing.period_start_on desc, growing.period_start_on desc
        limit $months
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        months=MONTHS_OF_GROWTH,
    )
    if frame.is_empty():
        return None
    last = frame.row(0, named=True)
    months = frame.filter(
        (frame["period_start_on"] == last["period_start_on"]) & frame["is_recent"]
    )
    is_told = months.height == MONTHS_OF_GROWTH
    demand = last["weekly_tests"]
    if is_told:
        demand = waiting_list.weekly_demand(
            demand, float(months["growth"].sum()), float(months["days"].sum())
        )
    return Asked(
        demand=demand,
        is_growth_told=is_told,
        capacity=last["weekly_tests"],
        queue_size=last["queue_size"],
        census=f"{last['period_start_on']:%B %Y}",
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
