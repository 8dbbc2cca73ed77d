"""The DM01 waiting list and its activity streams."""

from __future__ import annotations

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read


def tests(build: Build) -> list[str]:
    """The DM01 tests that have rows, 'All' first."""
    frame = read(
        build,
        """
        select distinct dm01_test
        from marts.rpt_waiting_times_monthly
        order by dm01_test <> 'All', dm01_test
        """,
    )
    return frame["dm01_test"].to_list()


def modality_group(build: Build, dm01_test: str) -> str:
    """The modality group of a DM01 test, 'All' for all tests: metrics are counted by it."""
    frame = read(
        build,
        """
        select distinct modality_group
        from marts.rpt_waiting_times_monthly
        where dm01_test = $dm01_test
        """,
        dm01_test=dm01_test,
    )
    return frame.row(0)[0]


def by_month(build: Build, filters: Filters, dm01_test: str) -> pl.DataFrame:
    """One row per census (last day of a month): the list, its long waits and the streams."""
    return read(
        build,
        f"""
        select
            {marker(build)}
            census_on,
            waiting_list_count,
            waiting_6_plus_count,
            waiting_13_plus_count,
            waiting_6_plus_rate,
            activity_waiting_list_count,
            activity_planned_count,
            activity_unscheduled_count,
        from marts.rpt_waiting_times_monthly
        where
            org_level = $org_level
            and org_code = $org_code
            and dm01_test = $dm01_test
            and census_on between $from_on and $to_on
        order by census_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        dm01_test=dm01_test,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def published_by_month(build: Build, filters: Filters, dm01_test: str) -> pl.DataFrame:
    """One row per month of the published return: shares of the organisation, network and country.

    The return is by trust: a party, whose code may be that of a larger trust, has no share of its
    own; the share of whoever did not report is null.
    """
    return read(
        build,
        """
        with published as (
            select
                org_level,
                org_code,
                census_on,
                waiting_6_plus_rate,
            from marts.rpt_published_waits_monthly
            where dm01_test = $dm01_test and census_on between $from_on and $to_on
        ),

        chosen as (
            select
                census_on,
                waiting_6_plus_rate,
            from published
            where org_level = $org_level and org_code = $org_code
        ),

        country as (
            select
                census_on,
                waiting_6_plus_rate,
            from published
            where org_level = 'country'
        )

        select
            network.census_on,
            chosen.waiting_6_plus_rate as organisation_rate,
            network.waiting_6_plus_rate as network_rate,
            country.waiting_6_plus_rate as country_rate,
        from published as network
        left join chosen on network.census_on = chosen.census_on
        left join country on network.census_on = country.census_on
        where network.org_level = 'network'
        order by network.census_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        dm01_test=dm01_test,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def bands_latest(build: Build, filters: Filters, dm01_test: str) -> pl.DataFrame:
    """One row per week band at the latest census of the chosen months, shortest wait first."""
    # a band that is hidden is told so of the column it becomes
    is_named = "list_contains(string_split(withheld, ', '), band)"
    hidden = f"if({is_named}, 'waiting_count', null) as withheld," if build.rule else ""
    return read(
        build,
        f"""
        with censuses as (
            select
                {marker(build)}
                census_on,
                columns('band_.*'),
            from marts.rpt_waiting_times_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and dm01_test = $dm01_test
                and census_on between $from_on and $to_on
            order by census_on desc
            limit 1
        ),

        bands as (
            from censuses
            unpivot include nulls (waiting_count for band in (columns('band_.*')))
        )

        select
            {hidden}
            census_on,
            band,
            waiting_count,
        from bands
        order by band
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        dm01_test=dm01_test,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def peers_latest(build: Build, filters: Filters, dm01_test: str) -> pl.DataFrame:
    """One row per peer organisation at the latest census: share waiting 6 weeks or more."""
    return read(
        build,
        f"""
        with peers as (
            select
                {marker(build, "waits")}
                waits.org_code,
                waits.census_on,
                waits.waiting_6_plus_count,
                waits.waiting_list_count,
                waits.waiting_6_plus_rate,
                coalesce(parties.short_name, trusts.short_name, waits.org_code) as organisation,
                coalesce(parties.sort_order, 99) as sort_order,
            from marts.rpt_waiting_times_monthly as waits
            left join marts.dim_party as parties
                on waits.org_level = 'party' and waits.org_code = parties.party_code
            left join marts.dim_trust as trusts
                on
                    waits.org_level = 'trust'
                    and waits.org_code = trusts.trust_code
                    and waits.census_on between coalesce(trusts.valid_from, date '1900-01-01')
                    and coalesce(trusts.valid_to, date '2999-12-31')
            where
                waits.org_level = $peer_level
                and waits.org_code <> 'Unknown'
                and waits.dm01_test = $dm01_test
                and waits.census_on between $from_on and $to_on
        )

        select
            {marker(build)}
            organisation,
            census_on,
            waiting_6_plus_count,
            waiting_list_count,
            waiting_6_plus_rate,
            org_code = $org_code as is_mine,
        from peers
        where census_on = (select max(census_on) from peers)
        order by waiting_6_plus_rate desc nulls last, sort_order, organisation
        """,
        peer_level=filters.peer_level,
        org_code=filters.org_code if filters.org_level != "network" else "",
        dm01_test=dm01_test,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
