"""How much imaging was asked for, done and reported."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read

DAYS_SHOWN = 91


def by_day(build: Build, filters: Filters) -> pl.DataFrame:
    """One row per day of the last 13 weeks of the chosen months."""
    return read(
        build,
        f"""
        select
            {marker(build)}
            day_on,
            request_count,
            exam_count,
            report_count,
            dna_count,
            cancelled_count,
        from marts.rpt_throughput_daily
        where
            org_level = $org_level
            and org_code = $org_code
            and modality_group = $modality_group
            and day_on between $from_on and $to_on
        order by day_on
        """,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=max(filters.from_on, filters.to_on - timedelta(days=DAYS_SHOWN - 1)),
        to_on=filters.to_on,
    )
