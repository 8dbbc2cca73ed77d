"""Who opens images from where: views, failed launches and the time to the first image."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import WITHHELD, Build, marker, read


def measures(build: Build) -> pl.DataFrame:
    """One row per measure of image access, as the stored rows explain it, in their order."""
    return read(
        build,
        """
        select distinct on (sort_order, measure)
            measure as metric_id,
            measure_name as name,
            definition,
            numerator_name as numerator,
            denominator_name as denominator,
            unit,
            improvement,
            source,
            source_status,
        from marts.rpt_image_access_monthly
        order by sort_order, measure
        """,
    )


def by_month(build: Build, filters: Filters, measure: str) -> pl.DataFrame:
    """One row per month: one measure of all ways in, beside that of the network.

    audited_party_count says for how many parties the value of the network speaks.
    """
    return read(
        build,
        f"""
        select
            {marker(build, "own")}
            own.month_on,
            own.numerator,
            own.denominator,
            own.value,
            network.value as network_value,
            network.audited_party_count,
        from marts.rpt_image_access_monthly as own
        left join marts.rpt_image_access_monthly as network
            on
                network.org_level = 'network'
                and own.measure = network.measure
                and own.access_context = network.access_context
                and own.month_on = network.month_on
        where
            own.measure = $measure
            and own.access_context = 'All'
            and own.org_level = $org_level
            and own.org_code = $org_code
            and own.month_on between $from_on and $to_on
        order by own.month_on
        """,
        measure=measure,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def _hidden(build: Build, names: Mapping[str, str]) -> str:
    """The marker of a pivoted row: names of columns whose `<part>_hidden` says so, by part."""
    if not build.rule:
        return ""
    told = ", ".join(
        f"case when \"{part}_hidden\" then '{name}' end" for part, name in names.items()
    )
    return f"nullif(concat_ws(', ', {told}), '') as {WITHHELD},"


def _is_hidden(build: Build) -> str:
    return f"coalesce({WITHHELD}, '') like '%value%'" if build.rule else "false"


WAYS = {
    "own_record": "own_record",
    "shared_record": "shared_record",
    "gp": "gp",
    "meeting": "meeting",
    "archive_viewer": "archive_viewer",
    "Unknown": "not_known",
    "All": "all_views",
}
OF_A_WAY = {
    "views": "views",
    "other_party_views": "other_party_rate",
    "failed_launches": "failed_rate",
    "first_image_seconds": "first_image_seconds",
    "slow_first_images": "slow_rate",
    "first_image_timed": "timed_rate",
    "viewing_people": "viewing_people",
}


def views_by_context(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per month: image views by the way in, a column for each."""
    return read(
        build,
        f"""
        with views as (
            select
                month_on,
                access_context,
                value,
                {_is_hidden(build)} as is_hidden,
            from marts.rpt_image_access_monthly
            where
                measure = 'views'
                and org_level = $org_level
                and org_code = $org_code
                and month_on between $from_on and $to_on
        ),

        ways as (
            pivot views
            on access_context
            in ('own_record', 'shared_record', 'gp', 'meeting', 'archive_viewer', 'Unknown', 'All')
            using first(value) as told, first(is_hidden) as hidden
        )

        select
            {_hidden(build, WAYS)}
            month_on,
            own_record_told as own_record,
            shared_record_told as shared_record,
            gp_told as gp,
            meeting_told as meeting,
            archive_viewer_told as archive_viewer,
            "Unknown_told" as not_known,
            "All_told" as all_views,
        from ways
        order by month_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def contexts_latest(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per way in, most used first and all of them last, in the latest stored month."""
    return read(
        build,
        f"""
        with points as (
            select
                access_context,
                month_on,
                measure,
                value,
                {_is_hidden(build)} as is_hidden,
            from marts.rpt_image_access_monthly
            where
                org_level = $org_level
                and org_code = $org_code
                and month_on between $from_on and $to_on
            qualify month_on = max(month_on) over ()
        ),

        ways as (
            pivot points
            on measure in (
                'views', 'other_party_views', 'failed_launches', 'first_image_seconds',
                'slow_first_images', 'first_image_timed', 'viewing_people'
            )
            using first(value) as told, first(is_hidden) as hidden
        )

        select
            {_hidden(build, OF_A_WAY)}
            access_context,
            month_on,
            views_told as views,
            other_party_views_told as other_party_rate,
            failed_launches_told as failed_rate,
            first_image_seconds_told as first_image_seconds,
            slow_first_images_told as slow_rate,
            first_image_timed_told as timed_rate,
            viewing_people_told as viewing_people,
        from ways
        order by access_context = 'All', views desc nulls last, access_context
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def peers_latest(build: Build, filters: Filters, measure: str) -> pl.DataFrame:
    """One row per party in the latest month that holds a value, beside the network's value.

    is_mine marks the chosen party; a trust has none, since views are counted by party.
    """
    return read(
        build,
        f"""
        with points as (
            select
                {marker(build)}
                org_level,
                org_code,
                month_on,
                numerator,
                denominator,
                value,
            from marts.rpt_image_access_monthly
            where
                measure = $measure
                and access_context = 'All'
                and month_on between $from_on and $to_on
        )

        select
            {marker(build, "points")}
            coalesce(parties.short_name, points.org_code) as organisation,
            points.month_on,
            points.numerator,
            points.denominator,
            points.value,
            network.value as network_value,
            $org_level = 'party' and points.org_code = $org_code as is_mine,
        from points
        left join points as network
            on network.org_level = 'network' and points.month_on = network.month_on
        left join marts.dim_party as parties on points.org_code = parties.party_code
        where
            points.org_level = 'party'
            and points.month_on = (
                select max(month_on)
                from points
                where org_level = 'party' and value is not null
            )
        order by points.value desc nulls last, parties.sort_order, organisation
        """,
        measure=measure,
        org_level=filters.org_level,
        org_code=filters.org_code,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
