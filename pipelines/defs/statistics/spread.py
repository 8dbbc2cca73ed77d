"""How far apart the trusts are in the figures that are also told by groups of patients."""

import dagster as dg
import duckdb

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import materialized, store
from pipelines.journal import Journal
from pipelines.statistics.spread import between_trusts
from pipelines.statistics.tables import TRUST_SPREAD

VALUES = """
    select
        metric_id,
        modality_group,
        period_start_on,
        org_code as trust_code,
        value,
        denominator as size
    from marts.rpt_metrics_monthly
    where metric_id in ('W02', 'W05', 'W05P90') and org_level = 'trust' and org_code <> 'Unknown'
    union all
    select
        metric_id,
        modality_group,
        period_start_on,
        org_code as trust_code,
        value,
        cast(denominator as double) as size
    from statistics.metric_estimates
    where org_level = 'trust' and org_code <> 'Unknown'
"""


@dg.asset(
    key=["statistics", "trust_spread"],
    group_name="statistics",
    description=TRUST_SPREAD["description"],
    owners=["team:imaging-analytics"],
    kinds={"python", "duckdb"},
    deps=[
        dg.AssetKey(["marts", "rpt_metrics_monthly"]),
        dg.AssetKey(["statistics", "metric_estimates"]),
    ],
)
def trust_spread(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> dg.MaterializeResult:
    """Read the figures of the trusts, compare, store."""
    return materialized(pipeline, journal, "trust_spread", store_spread)


def store_spread(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Write statistics.trust_spread of an open warehouse; returns its rows."""
    return store(connection, "trust_spread", between_trusts(connection.sql(VALUES).pl()))
