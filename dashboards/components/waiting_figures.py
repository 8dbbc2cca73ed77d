"""The figures of the DM01 waiting list. Each takes one row per census unless it says otherwise."""

from __future__ import annotations

import polars as pl

from dashboards.components import comparison, trend
from dashboards.components.figure import Figure

STREAMS = {
    "activity_waiting_list_count": "Waiting list",
    "activity_planned_count": "Planned",
    "activity_unscheduled_count": "Unscheduled",
}
UNCHARTED = {
    "published": "No control limits: these are published figures, and control charts are made of this "
    "warehouse's own. The chart of our own share has them.",
    "size": "Limits are of the whole list. 6 weeks or more as a number has no control chart: the "
    "registry judges it as a share of the list, and that chart has limits.",
    "streams": "Limits are of all tests done, the three streams together: a stream alone is no metric "
    "of the registry and has no control chart.",
}


def share(frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame) -> Figure:
    """The share of the list that has waited 6 weeks or more."""
    return trend.lines(
        frame,
        on="census_on",
        series={"waiting_6_plus_rate": "Waiting 6 weeks or more"},
        unit="rate",
        title=f"Waiting 6 weeks or more, {where}",
        what="share of the list waiting 6 weeks or more",
        events=events,
        targets=targets,
    )


def published(
    frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame
) -> Figure:
    """The share waiting 6 weeks or more as the national return was published."""
    return trend.lines(
        frame,
        on="census_on",
        series={
            "organisation_rate": "Chosen organisation",
            "network_rate": "Trusts of the network",
            "country_rate": "England",
        },
        unit="rate",
        title=f"As published by NHS England: waiting 6 weeks or more, {where}",
        what="published share waiting 6 weeks or more",
        events=events,
        targets=targets,
        more_notes=[
            UNCHARTED["published"],
            "Published figures, not this warehouse's own. The return is by trust: of a party choose "
            "the trust to see its own. England is drawn for months whose full "
            "extract was delivered.",
            "Contains public sector information licensed under the Open Government Licence v3.0. "
            "Source: NHS England, Monthly Diagnostics Waiting Times and Activity.",
        ],
    )


def size(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """The list at month end, and how many of it have waited 6 weeks or more."""
    return trend.lines(
        frame,
        on="census_on",
        series={
            "waiting_list_count": "Waiting list",
            "waiting_6_plus_count": "6 weeks or more",
        },
        unit="count",
        title=f"DM01 waiting list at month end, {where}",
        what="requests on the list",
        events=events,
        more_notes=[UNCHARTED["size"]],
    )


def longest(frame: pl.DataFrame, where: str, events: pl.DataFrame, targets: pl.DataFrame) -> Figure:
    """How many of the list have waited 13 weeks or more."""
    return trend.lines(
        frame,
        on="census_on",
        series={"waiting_13_plus_count": "Waiting 13 weeks or more"},
        unit="count",
        title=f"Waiting 13 weeks or more, {where}",
        what="requests waiting 13 weeks or more",
        events=events,
        targets=targets,
    )


def bands(frame: pl.DataFrame, where: str) -> Figure:
    """The latest list by weeks waited; one row per band."""
    return comparison.bands(frame, title=f"Waiting list by weeks waited, {where}")


def streams(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """Tests done each month, by the stream they came from."""
    return trend.bars(
        frame,
        on="census_on",
        series=STREAMS,
        unit="count",
        title=f"DM01 tests done each month by stream, {where}",
        what="tests done from the waiting list",
        timing="flow",
        events=events,
        more_notes=[UNCHARTED["streams"]],
    )


def peers(frame: pl.DataFrame, where: str, targets: pl.DataFrame) -> Figure:
    """The share waiting 6 weeks or more at the latest census; one row per organisation."""
    return comparison.peers(
        frame,
        on="census_on",
        value="waiting_6_plus_rate",
        unit="rate",
        title=f"Waiting 6 weeks or more against peers, {where}",
        targets=targets,
    )
