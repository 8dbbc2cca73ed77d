"""A control chart of every metric, organisation and modality group, over the published months."""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg
import duckdb
import polars as pl

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import each_materialized, specs, store_each
from pipelines.journal import Journal
from pipelines.metrics import Metric, read_registry
from pipelines.statistics.control_charts import control_charts
from pipelines.statistics.tables import SPC_CHARTS, SPC_POINTS
from pipelines.warehouse import manifest_path

# Both have whole months only.
VALUES = """
    with months as (
        select metric_id, org_level, org_code, modality_group, period_start_on, value
        from marts.rpt_metrics_monthly
        union all
        select metric_id, org_level, org_code, modality_group, period_start_on, value
        from statistics.metric_estimates
    )

    select * from months where org_code <> 'Unknown' and modality_group <> 'Unknown'
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
READ = (
    ("marts", "rpt_metrics_monthly"),
    ("statistics", "metric_estimates"),
    ("marts", "dim_event"),
    ("marts", "dim_target"),
    ("intermediate", "int_party_trusts"),
)
STORED = (SPC_POINTS, SPC_CHARTS)


@dg.multi_asset(name="spc", specs=specs(STORED, READ))
def spc(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> Iterator[dg.MaterializeResult]:
    """Read every monthly series, judge, store points and charts."""
    registry = read_registry(manifest_path(pipeline.settings.dbt_project))
    yield from each_materialized(pipeline, journal, "spc", partial(store_spc, registry=registry))


def store_spc(connection: duckdb.DuckDBPyConnection, registry: Sequence[Metric]) -> dict[str, int]:
    """Write statistics.spc_points and spc_charts of an open warehouse; returns the rows of each."""
    metrics = pl.DataFrame(
        [(metric.metric_id, metric.improvement) for metric in registry],
        schema={"metric_id": pl.String, "improvement": pl.String},
        orient="row",
    )
    results = control_charts(
        connection.sql(VALUES).pl(),
        connection.sql(GO_LIVES).pl(),
        connection.sql(TRUST_PARTIES).pl(),
        connection.sql("from marts.dim_target").pl(),
        metrics,
    )
    return store_each(connection, STORED, results)
