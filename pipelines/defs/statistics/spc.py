"""A control chart of every metric, organisation and modality group, over the published months."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import materialized, store
from pipelines.journal import Journal
from pipelines.metrics import Metric, read_registry
from pipelines.statistics.control_charts import control_charts
from pipelines.statistics.tables import SPC_CHARTS, SPC_POINTS
from pipelines.warehouse import manifest_path

# The mart has whole months only; R01 is told up to the same month.
VALUES = """
    select metric_id, org_level, org_code, modality_group, period_start_on, value
    from marts.rpt_metrics_monthly
    where org_code <> 'Unknown' and modality_group <> 'Unknown'
    union all
    select
        'R01' as metric_id,
        org_level,
        org_code,
        modality_group,
        acquired_month_on as period_start_on,
        p50_hours as value
    from statistics.turnaround_survival
    where
        org_code <> 'Unknown'
        and modality_group <> 'Unknown'
        and acquired_month_on <= (select max(period_start_on) from marts.rpt_metrics_monthly)
"""
GO_LIVES = """
    select scope_code as party_code, event_on, label || ' on ' || strftime(event_on, '%-d %B %Y') as label
    from marts.dim_event
    where starts_with(event_type, 'go_live_') and event_on is not null
"""
# A trust that took over sites of another party keeps the party that was its alone.
TRUST_PARTIES = """
    select trust_code, max_by(party_code, valid_from) as party_code
    from intermediate.int_party_trusts
    group by trust_code
"""


def _spec(table: dict[str, Any]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=["statistics", table["name"]],
        group_name="statistics",
        description=table["description"],
        owners=["team:imaging-analytics"],
        kinds={"python", "duckdb"},
        deps=[
            dg.AssetKey(["marts", "rpt_metrics_monthly"]),
            dg.AssetKey(["statistics", "turnaround_survival"]),
            dg.AssetKey(["marts", "dim_event"]),
            dg.AssetKey(["marts", "dim_target"]),
            dg.AssetKey(["intermediate", "int_party_trusts"]),
        ],
    )


@dg.multi_asset(name="spc", specs=[_spec(SPC_POINTS), _spec(SPC_CHARTS)])
def spc(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> Iterator[dg.MaterializeResult]:
    """Read every monthly series, judge, store points and charts."""
    registry = read_registry(manifest_path(pipeline.settings.dbt_project))
    found = materialized(pipeline, journal, "spc", partial(store_spc, registry=registry))
    counts = dict(found.metadata or {})
    for table, count in ((SPC_POINTS, counts["rows"]), (SPC_CHARTS, counts["charts"])):
        yield dg.MaterializeResult(
            asset_key=["statistics", table["name"]], metadata={"rows": count}
        )


def store_spc(connection: duckdb.DuckDBPyConnection, registry: Sequence[Metric]) -> dict[str, int]:
    """Write statistics.spc_points and spc_charts of an open warehouse; returns rows and charts."""
    metrics = pl.DataFrame(
        [(metric.metric_id, metric.improvement) for metric in registry],
        schema={"metric_id": pl.String, "improvement": pl.String},
        orient="row",
    )
    points, charts = control_charts(
        connection.sql(VALUES).pl(),
        connection.sql(GO_LIVES).pl(),
        connection.sql(TRUST_PARTIES).pl(),
        connection.sql("from marts.dim_target").pl(),
        metrics,
    )
    stored = store(connection, SPC_POINTS["name"], points)
    return stored | {"charts": store(connection, SPC_CHARTS["name"], charts)["rows"]}
