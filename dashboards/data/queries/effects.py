"""The effect of go-lives as it is stored: verdict, months since, parties, checks, what is not told."""

from __future__ import annotations

import polars as pl

from dashboards.data.published import Build, read


def measures(build: Build) -> pl.DataFrame:
    """One row per metric and type of go-live, those with an estimate first."""
    return read(
        build,
        """
        select
            effects.metric_id,
            coalesce(metrics.name, effects.metric_id) as metric,
            effects.go_live_type,
            effects.verdict,
            effects.change,
            effects.change_low,
            effects.change_high,
            effects.change_unit,
            effects.p_randomisation,
            effects.p_adjusted,
            effects.party_count,
            effects.not_estimated_because,
        from statistics.go_live_effects as effects
        left join catalogue.metrics as metrics on effects.metric_id = metrics.metric_id
        order by effects.verdict is null, effects.metric_id, effects.go_live_type
        """,
    )


def measure(build: Build, metric_id: str, go_live_type: str) -> pl.DataFrame:
    """One row: what is told of one metric and type of go-live, or why nothing is."""
    return read(
        build,
        """
        select
            effects.metric_id,
            coalesce(metrics.name, effects.metric_id) as metric,
            effects.go_live_type,
            effects.improvement,
            effects.unit,
            effects.is_logged,
            effects.verdict,
            effects.change,
            effects.change_low,
            effects.change_high,
            effects.change_unit,
            effects.promised_change,
            effects.detectable_change,
            effects.p_randomisation,
            effects.p_adjusted,
            effects.ri_count,
            effects.order_count,
            effects.n_effect_cells,
            effects.n_untreated_cells,
            effects.party_count,
            effects.comparator,
            effects.first_month_on,
            effects.last_month_on,
            effects.shock_months,
            effects.missing_month_count,
            effects.left_out_parties,
            effects.not_estimated_because,
            effects.cannot_tell,
            effects.co_interventions,
        from statistics.go_live_effects as effects
        left join catalogue.metrics as metrics on effects.metric_id = metrics.metric_id
        where effects.metric_id = $metric_id and effects.go_live_type = $go_live_type
        """,
        metric_id=metric_id,
        go_live_type=go_live_type,
    )


def by_month_since(build: Build, metric_id: str, go_live_type: str) -> pl.DataFrame:
    """One row per month since go-live; months below 0 are those of a go-live pretended earlier."""
    return read(
        build,
        """
        select
            months_since,
            change,
            change_low,
            change_high,
            party_count,
            n_effect_cells,
        from statistics.go_live_effects_by_month_since
        where metric_id = $metric_id and go_live_type = $go_live_type
        order by months_since
        """,
        metric_id=metric_id,
        go_live_type=go_live_type,
    )


def by_party(build: Build, metric_id: str, go_live_type: str) -> pl.DataFrame:
    """One row per party: its own effect, and the estimate without it, in the order of go-lives."""
    return read(
        build,
        """
        select
            coalesce(parties.short_name, own.party_code) as party,
            own.live_from_on,
            own.change,
            own.n_effect_cells,
            own.months_before,
            without.change as change_without_it,
            without.change_low as change_without_it_low,
            without.change_high as change_without_it_high,
        from statistics.go_live_effects_by_party as own
        left join statistics.go_live_effects_checks as without
            on
                own.metric_id = without.metric_id
                and own.go_live_type = without.go_live_type
                and own.party_code = without.variant
                and without.check_name = 'leave one out'
        left join marts.dim_party as parties on own.party_code = parties.party_code
        where own.metric_id = $metric_id and own.go_live_type = $go_live_type
        order by own.live_from_on, parties.sort_order
        """,
        metric_id=metric_id,
        go_live_type=go_live_type,
    )


def checks(build: Build, metric_id: str, go_live_type: str) -> pl.DataFrame:
    """One row per check and variant: the estimate if something were done otherwise."""
    return read(
        build,
        """
        select
            check_name,
            variant,
            change,
            change_low,
            change_high,
            n_effect_cells,
            note,
        from statistics.go_live_effects_checks
        where
            metric_id = $metric_id
            and go_live_type = $go_live_type
            and check_name <> 'leave one out'
        order by check_name, variant
        """,
        metric_id=metric_id,
        go_live_type=go_live_type,
    )
