"""How long reports take, with reports still open kept in."""

from __future__ import annotations

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read


def survival_by_month(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per month of acquisition: median and 90th percentile in hours.

    A percentile that the cohort has not reached yet is null.
    """
    return read(
        build,
        f"""
        select
            {marker(build)}
            acquired_month_on,
            exam_count,
            open_count,
            case when p50_reached then p50_hours end as p50_hours,
            case when p90_reached then p90_hours end as p90_hours,
        from statistics.turnaround_survival
        where
            org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and acquired_month_on between $from_on and $to_on
        order by acquired_month_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def by_month(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per month of acquisition: share reported in 28 days, and the unreported backlog.

    The share is null until the whole month is 28 days old.
    """
    return read(
        build,
        f"""
        select
            {marker(build)}
            acquired_month_on,
            acquired_count,
            reported_count,
            open_count,
            reported_within_28_days_count,
            within_28_days_rate,
            is_mature,
            backlog_count,
            backlog_over_28_days_count,
        from marts.rpt_report_turnaround_monthly
        where
            org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and priority_group = 'All'
            and acquired_month_on between $from_on and $to_on
        order by acquired_month_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def peers_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per peer organisation: median hours in the latest month any of them has one."""
    return read(
        build,
        f"""
        with peers as (
            select
                {marker(build, "cohorts")}
                cohorts.org_code,
                cohorts.acquired_month_on,
                cohorts.exam_count,
                cohorts.open_count,
                case when cohorts.p50_reached then cohorts.p50_hours end as p50_hours,
                coalesce(parties.short_name, trusts.short_name, cohorts.org_code)
                    as organisation,
                coalesce(parties.sort_order, 99) as sort_order,
            from statistics.turnaround_survival as cohorts
            left join marts.dim_party as parties
                on cohorts.org_level = 'party' and cohorts.org_code = parties.party_code
            left join marts.dim_trust as trusts
                on
                    cohorts.org_level = 'trust'
                    and cohorts.org_code = trusts.trust_code
                    and cohorts.acquired_month_on
                    between coalesce(trusts.valid_from, date '1900-01-01')
                    and coalesce(trusts.valid_to, date '2999-12-31')
            where
                cohorts.org_level = $peer_level
                and cohorts.org_code <> 'Unknown'
                and cohorts.modality_group = $modality_group
                and cohorts.acquired_month_on between $from_on and $to_on
        )

        select
            {marker(build)}
            organisation,
            acquired_month_on,
            exam_count,
            open_count,
            p50_hours,
            org_code = $org_code as is_mine,
        from peers
        where
            acquired_month_on = (
                select max(acquired_month_on)
                from peers
                where p50_hours is not null
            )
        order by p50_hours desc nulls last, sort_order, organisation
        """,
        peer_level=filters.peer_level,
        org_code=filters.org_code if filters.org_level != "network" else "",
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
