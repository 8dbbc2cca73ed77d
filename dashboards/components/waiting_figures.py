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
            "Published figures, not this warehouse's own. The return is by trust: of a party choose "
            "the trust to see its own. England is drawn for months whose full "
            "extract was delivered.",
            "Contains public sector information licensed under the Open Government Licence v3.0. "
            "Source: NHS England, Monthly Diagnostics Waiting Times and Activity.",
        ],
    )


def size(frame: pl.DataFrame, where: str, events: pl.DataFrame) -> Figure:
    """The list at month end, and its long waits."""
    return trend.lines(
        frame,
        on="census_on",
        series={
            "waiting_list_count": "Waiting list",
            "waiting_6_plus_count": "6 weeks or more",
            "waiting_13_plus_count": "13 weeks or more",
        },
        unit="count",
        title=f"DM01 waiting list at month end, {where}",
        what="requests on the list",
        events=events,
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
