"""Who waits longer: figures by group of patients, and how far apart the trusts are."""

from __future__ import annotations

import polars as pl

from dashboards.data.filters import Filters
from dashboards.data.published import Build, marker, read

# One shape for both tables, so that one figure draws either.
COLUMNS = """
    metric_id,
    org_level,
    org_code,
    modality_group,
    patient_group_kind,
    patient_group,
    group_order,
    is_group_known,
    period_start_on,
    denominator,
    value,
    known_rate,
    gap_to_least_deprived,
    least_deprived_denominator,
    is_withheld,
"""
GROUPED = f"""
    select {COLUMNS}
    from marts.rpt_equity_monthly
    union all
    select {COLUMNS}
    from statistics.turnaround_by_patient_group
"""


def latest(build: Build, filters: Filters, metric_id: str, kind: str) -> pl.DataFrame:
    """One row per patient group at the latest of the chosen months, in the order of the groups.

    kind is deprivation_quintile or ethnic_group. A withheld group has no figures. Parties have no
    rows.
    """
    return read(
        build,
        f"""
        with grouped as ({GROUPED}),

        chosen as (
            select
                period_start_on,
                patient_group,
                group_order,
                denominator,
                value,
                gap_to_least_deprived,
                least_deprived_denominator,
                known_rate,
                is_group_known,
                is_withheld,
            from grouped
            where
                metric_id = $metric_id
                and patient_group_kind = $kind
                and org_level = $org_level
                and org_code = $org_code
                and modality_group = $modality_group
                and period_start_on between $from_on and $to_on
        )

        select
            period_start_on,
            patient_group,
            denominator,
            value,
            gap_to_least_deprived,
            least_deprived_denominator,
            known_rate,
            is_group_known,
            is_withheld,
        from chosen
        where period_start_on = (select max(period_start_on) from chosen)
        order by group_order
        """,
        metric_id=metric_id,
        kind=kind,
        org_level=filters.org_level,
        org_code=filters.org_code,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )


def spread_by_month(build: Build, filters: Filters, metric_id: str) -> pl.DataFrame:
    """One row per month: highest and lowest trust and the middle half, whole network."""
    return read(
        build,
        f"""
        select
            {marker(build, "spread")}
            spread.period_start_on,
            spread.highest,
            coalesce(highest.short_name, spread.highest_trust_code) as highest_trust,
            spread.highest_size,
            spread.upper_quartile,
            spread.lower_quartile,
            spread.lowest,
            coalesce(lowest.short_name, spread.lowest_trust_code) as lowest_trust,
            spread.lowest_size,
            spread.gap,
            spread.quartile_gap,
            spread.trust_count,
            spread.left_out_count,
        from statistics.trust_spread as spread
        left join marts.dim_trust as highest
            on
                spread.highest_trust_code = highest.trust_code
                and spread.period_start_on between coalesce(highest.valid_from, date '1900-01-01')
                and coalesce(highest.valid_to, date '2999-12-31')
        left join marts.dim_trust as lowest
            on
                spread.lowest_trust_code = lowest.trust_code
                and spread.period_start_on between coalesce(lowest.valid_from, date '1900-01-01')
                and coalesce(lowest.valid_to, date '2999-12-31')
        where
            spread.metric_id = $metric_id
            and spread.modality_group = $modality_group
            and spread.period_start_on between $from_on and $to_on
        order by spread.period_start_on
        """,
        metric_id=metric_id,
        modality_group=filters.modality_group,
        from_on=filters.from_on,
        to_on=filters.to_on,
    )
