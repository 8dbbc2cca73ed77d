"""Who and when can be chosen, what happened, and which targets apply."""

from __future__ import annotations

from datetime import date

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, read


def build_facts(build: Build) -> pl.DataFrame:
    """One row: what the published file says about itself."""
    return read(
        build,
        """
        select
            build_id,
            created_at,
            audience,
            is_synthetic,
            suppression,
            network_name,
        from catalogue.build
        """,
    )


def choices(build: Build) -> pl.DataFrame:
    """One row per organisation that can be chosen: network, parties, then trusts.

    ended_on is the last day of a trust that exists no longer, else null.
    """
    return read(
        build,
        """
        with current_trusts as (
            select trust_code
            from marts.dim_trust
            where is_current
        )

        select distinct on (organisations.org_level, organisations.org_code)
            organisations.org_level,
            organisations.org_code,
            organisations.org_name,
            organisations.sort_order,
            trusts.valid_to as ended_on,
        from marts.dim_organisation as organisations
        left join marts.dim_trust as trusts
            on
                organisations.org_level = 'trust'
                and organisations.org_code = trusts.trust_code
                and trusts.trust_code not in (select trust_code from current_trusts)
        where organisations.org_code <> 'Unknown'
        order by
            case organisations.org_level when 'network' then 1 when 'party' then 2 else 3 end,
            organisations.sort_order,
            organisations.org_name,
            trusts.valid_to desc
        """,
    )


def modalities(build: Build) -> list[str]:
    """The modality groups that have rows, 'All' first."""
    frame = read(
        build,
        """
        select distinct modality_group
        from marts.rpt_metrics_monthly
        where metric_id = 'T01'
        order by modality_group <> 'All', modality_group
        """,
    )
    return frame["modality_group"].to_list()


def months(build: Build, org_level: str, org_code: str) -> list[date]:
    """The months an organisation has exams for, ascending (first day of each)."""
    frame = read(
        build,
        """
        select distinct period_start_on
        from marts.rpt_metrics_monthly
        where
            metric_id = 'T01'
            and org_level = $org_level
            and org_code = $org_code
        order by period_start_on
        """,
        org_level=org_level,
        org_code=org_code,
    )
    return frame["period_start_on"].to_list()


def events(build: Build, filters: Filters, metric_id: str = "") -> pl.DataFrame:
    """One row per event to mark on a time chart of the chosen organisation and months.

    A party sees its own events, a trust those of its sites' parties, the network the archive
    go-lives of all; everyone sees network-wide events. An event that concerns some metrics only,
    as a change of their definition, is there for a metric_id among them.
    """
    return read(
        build,
        """
        select
            events.scope_code,
            coalesce(parties.short_name, 'Network') as scope_name,
            events.event_type,
            events.event_on,
            events.ends_on,
            events.label,
            events.source,
            events.source_status,
        from marts.dim_event as events
        left join marts.dim_party as parties on events.scope_code = parties.party_code
        where
            events.event_on <= $to_on
            and coalesce(events.ends_on, events.event_on) >= $from_on
            and (
                events.metric_ids is null
                or list_contains(string_split(events.metric_ids, '; '), $metric_id)
            )
            and (
                events.scope_code = 'NETWORK'
                or ($org_level = 'network' and events.event_type = 'go_live_archive')
                or ($org_level <> 'network' and events.scope_code = $org_code)
                or (
                    $org_level = 'trust'
                    and events.scope_code in (
                        select party_code
                        from marts.dim_site
                        where current_trust_code = $org_code
                    )
                )
            )
        order by events.event_on, parties.sort_order
        """,
        metric_id=metric_id,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def go_lives(build: Build) -> pl.DataFrame:
    """One row per party and type of go-live, parties in contract order."""
    return read(
        build,
        """
        select
            parties.short_name as party,
            events.event_type,
            events.event_on,
            events.label,
            events.source,
            events.source_status,
        from marts.dim_event as events
        inner join marts.dim_party as parties on events.scope_code = parties.party_code
        where starts_with(events.event_type, 'go_live_')
        order by parties.sort_order, events.event_on
        """,
    )


def targets(build: Build, metric_id: str, modality_group: str) -> pl.DataFrame:
    """One row per target of a metric that applies to a modality, oldest first."""
    return read(
        build,
        """
        select
            metric_id,
            scope,
            comparator,
            target_value,
            unit,
            valid_from,
            valid_to,
            source,
            source_status,
        from marts.dim_target
        where
            metric_id = $metric_id
            and scope in ('national', 'local', 'all', $modality_group)
        order by valid_from nulls first, target_value
        """,
        metric_id=metric_id,
        modality_group=modality_group,
    )
