"""What arrived, what was refused, how good it is and how fresh."""

from __future__ import annotations

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read


def freshness(build: Build) -> pl.DataFrame:
    """One row per feed: its newest instant and whether it keeps up with its kind.

    A feed is level with the others unless it is late beside the newest feed of its kind, so one
    silent trust shows even when the whole network is a day old.
    """
    return read(
        build,
        """
        select
            coalesce(parties.short_name, 'Network') as party,
            feeds.party_code,
            feeds.feed_kind,
            feeds.feed_id,
            feeds.as_at,
            feeds.as_at_local,
            feeds.last_received_at,
            feeds.tells_of_exams,
            feeds.file_count,
            feeds.quarantined_file_count,
            not feeds.is_late as is_level_with_others,
        from marts.rpt_feed_freshness as feeds
        left join marts.dim_party as parties on feeds.party_code = parties.party_code
        order by parties.sort_order nulls last, feeds.feed_kind, feeds.feed_id
        """,
    )


def evidence(build: Build, needing: str = "") -> pl.DataFrame:
    """One row per party and metric or benefit line that lacks a feed: what is there, what is not.

    needing is the kind of feed that the metrics and lines must need; empty for all of them.
    """
    return read(
        build,
        """
        select
            coalesce(parties.short_name, matrix.party_code) as party,
            matrix.party_code,
            matrix.subject_kind,
            matrix.subject_id,
            matrix.subject_name,
            matrix.needed_feeds,
            matrix.held_feeds,
            matrix.missing_feeds,
            matrix.evidence_status,
        from marts.rpt_feed_metric_matrix as matrix
        left join marts.dim_party as parties on matrix.party_code = parties.party_code
        where
            matrix.evidence_status <> 'available'
            and contains(coalesce(matrix.needed_feeds, ''), $needing)
        order by matrix.subject_kind, matrix.subject_id, parties.sort_order nulls last
        """,
        needing=needing,
    )


def missing_feeds(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per party of the chosen organisation and metric that lacks a feed there."""
    return read(
        build,
        """
        select
            matrix.subject_id as metric_id,
            coalesce(parties.short_name, matrix.party_code) as party,
            matrix.missing_feeds,
        from marts.rpt_feed_metric_matrix as matrix
        left join marts.dim_party as parties on matrix.party_code = parties.party_code
        where
            matrix.subject_kind = 'metric'
            and matrix.missing_feeds is not null
            and (
                $org_level = 'network'
                or ($org_level = 'party' and matrix.party_code = $org_code)
                or (
                    $org_level = 'trust'
                    and matrix.party_code in (
                        select party_code
                        from marts.dim_site
                        where current_trust_code = $org_code
                    )
                )
            )
        order by matrix.subject_id, parties.sort_order nulls last
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
    )


def reconciliation(build: Build) -> pl.DataFrame:
    """One row per feed: source records received, landed and rejected."""
    return read(
        build,
        """
        select
            feed_kind,
            feed_id,
            file_count,
            quarantined_file_count,
            rows_received,
            rows_landed,
            rows_rejected,
            rows_written,
            is_reconciled,
        from marts.rpt_reconciliation
        order by is_reconciled, feed_kind, feed_id
        """,
    )


def rejects(build: Build) -> pl.DataFrame:
    """One row per feed, file and rule that refused records, most refused first."""
    return read(
        build,
        """
        select
            rule,
            feed_kind,
            feed_id,
            file_name,
            scope,
            reject_count,
            reason_example,
        from marts.rpt_rejects
        order by reject_count desc, rule, feed_id, file_name
        """,
    )


def device_clocks(build: Build) -> pl.DataFrame:
    """One row per scanner: its clock in the newest week it had images, the furthest off first.

    offset_seconds is positive where the clock is behind, empty where nothing tells.
    """
    return read(
        build,
        """
        select
            station_name,
            device_key,
            party_code,
            modality_group,
            week_start_on,
            clock_state,
            offset_seconds,
            spread_seconds,
            method,
            study_count,
            is_proven_fast,
            series_count,
            corrected_series_count,
            corrected_rate,
        from marts.rpt_device_clocks_weekly
        qualify row_number() over (partition by device_key order by week_start_on desc) = 1
        order by abs(offset_seconds) desc nulls last, station_name, device_key
        """,
    )


def late_changes(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per metric and month whose published figures changed, the newest change first.

    Of the chosen organisation, all modalities together.
    """
    return read(
        build,
        """
        select
            revisions.metric_id,
            metrics.name as metric,
            metrics.unit,
            revisions.period_start_on,
            revisions.first_value,
            revisions.first_published_at,
            revisions.previous_value,
            revisions.value,
            revisions.change_since_first,
            revisions.is_published,
            revisions.revision_count,
            revisions.changed_at,
            revisions.changed_in_build_id,
        from statistics.metric_revisions as revisions
        left join catalogue.metrics as metrics on revisions.metric_id = metrics.metric_id
        where
            revisions.org_level = $org_level
            and revisions.org_code = $org_code
            and revisions.modality_group = 'All'
            and revisions.period_start_on between $from_on and $to_on
        order by revisions.changed_at desc, revisions.metric_id, revisions.period_start_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def failing_by_month(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per quality metric, rule and month: failing and checked records."""
    return read(
        build,
        f"""
        select
            {marker(build, "quality")}
            quality.metric_id,
            quality.rule,
            quality.period_start_on,
            quality.failing_count,
            quality.checked_count,
            quality.failing_rate,
        from marts.rpt_data_quality_monthly as quality
        where
            quality.org_level = $org_level
            and quality.org_code = $org_code
            and quality.period_start_on between $from_on and $to_on
        order by quality.metric_id, quality.rule, quality.period_start_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
