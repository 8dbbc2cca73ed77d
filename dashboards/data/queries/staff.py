"""What is told of staff, by team and organisation, and what no published file tells."""

from __future__ import annotations

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read


def output_by_team(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per team of the reporting rota and week: minutes of reading for each rostered hour.

    The team All is left out; a week of too few readers keeps its row and has no figures.
    """
    return read(
        build,
        f"""
        select
            {marker(build)}
            team,
            week_start_on,
            is_shown,
            session_count,
            rostered_hours,
            minutes_per_rostered_hour,
        from marts.rpt_reporting_output_weekly
        where
            org_level = $org_level
            and org_code = $org_code
            and team <> 'All'
            and week_start_on between $from_on and $to_on
        order by week_start_on, team
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def balance(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per party in the latest month of the choice: reading done for others, and by others.

    is_mine marks the chosen organisation.
    """
    return read(
        build,
        f"""
        with latest as (
            select max(month_on) as month_on
            from marts.rpt_reporting_balance_monthly
            where modality_group = 'All' and month_on between $from_on and $to_on
        )

        select
            {marker(build, "balances")}
            parties.short_name as organisation,
            balances.month_on,
            balances.given_report_count,
            balances.received_report_count,
            balances.balance_minutes,
            balances.party_code = $org_code as is_mine,
        from marts.rpt_reporting_balance_monthly as balances
        inner join latest on balances.month_on = latest.month_on
        inner join marts.dim_party as parties on balances.party_code = parties.party_code
        where balances.modality_group = 'All'
        order by balances.balance_minutes desc nulls last, parties.sort_order
        """,
        org_code=filters.org_code if filters.org_level != "network" else "",
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def protections(build: Build) -> pl.DataFrame:
    """One row per protection of staff: what is not shown, the smallest group, and its tests."""
    return read(
        build,
        """
        select
            statement,
            people,
            least_people_count,
            source,
            source_status,
            tested_by,
        from marts.dim_staff_protection
        order by sort_order
        """,
    )
