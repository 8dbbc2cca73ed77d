"""Any metric of the registry: its months for one organisation, or its latest month for all."""

from __future__ import annotations

from typing import Any

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read

# The months of one metric of what the reader chose, with the parameters of _series.
OF_SERIES = """
            metric_id = $metric_id
            and org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and period_start_on between $from_on and $to_on
"""


def by_month(build: Build, filters: Filters, metric_id: str) -> pl.DataFrame:
    """One row per month: numerator, denominator and value of one metric."""
    return read(
        build,
        f"""
        select
            {marker(build)}
            period_start_on,
            numerator,
            denominator,
            value,
        from marts.rpt_metrics_monthly
        where {OF_SERIES}
        order by period_start_on
        """,
        **_series(filters, metric_id),
    )


def control_points(build: Build, filters: Filters, metric_id: str) -> pl.DataFrame:
    """One row per month of one metric that has a value, with its control limits."""
    return read(
        build,
        f"""
        select
            period_start_on,
            value,
            points.mean,
            lpl,
            upl,
            special_cause_type,
            point_type,
        from statistics.spc_points as points
        where {OF_SERIES}
        order by period_start_on
        """,
        **_series(filters, metric_id),
    )


def control_chart(build: Build, filters: Filters, metric_id: str) -> pl.DataFrame:
    """At most one row: what the control chart of one metric says of its last month."""
    return read(
        build,
        """
        select
            variation_icon,
            variation_text,
            assurance_icon,
            assurance_text,
            limits_from_on,
            rebase_reason,
            last_month_on,
            note,
        from statistics.spc_charts
        where
            metric_id = $metric_id
            and org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
        """,
        metric_id=metric_id,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
    )


def peers_latest(build: Build, filters: Filters, metric_id: str) -> pl.DataFrame:
    """One row per peer organisation in the latest month that holds a value for any of them.

    is_mine marks the chosen organisation. A peer without a value keeps its row.
    """
    return read(
        build,
        f"""
        with peers as (
            select
                {marker(build, "points")}
                points.org_code,
                points.period_start_on,
                points.numerator,
                points.denominator,
                points.value,
                coalesce(parties.short_name, trusts.short_name, points.org_code) as organisation,
                coalesce(parties.sort_order, 99) as sort_order,
            from marts.rpt_metrics_monthly as points
            left join marts.dim_party as parties
                on points.org_level = 'party' and points.org_code = parties.party_code
            left join marts.dim_trust as trusts
                on
                    points.org_level = 'trust'
                    and points.org_code = trusts.trust_code
                    and points.period_start_on
                    between coalesce(trusts.valid_from, date '1900-01-01')
                    and coalesce(trusts.valid_to, date '2999-12-31')
            where
                points.metric_id = $metric_id
                and points.org_level = $peer_level
                and points.org_code <> 'Unknown'
                and points.modality_group = $modality_group
                and points.period_start_on between $from_on and $to_on
        )

        select
            {marker(build)}
            organisation,
            period_start_on,
            numerator,
            denominator,
            value,
            org_code = $org_code as is_mine,
        from peers
        where period_start_on = (select max(period_start_on) from peers where value is not null)
        order by value desc nulls last, sort_order, organisation
        """,
        metric_id=metric_id,
        peer_level=filters.peer_level,
        org_code=filters.org_code if filters.org_level != "network" else "",
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def _series(filters: Filters, metric_id: str) -> dict[str, Any]:
    return {
        "metric_id": metric_id,
        "org_level": filters.org_level,
        "org_code": filters.org_code,
        "modality_group": filters.modality_group,
        "from_on": filters.from_on,
        "to_on": filters.to_on,
    }
