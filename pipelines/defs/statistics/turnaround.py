"""Turnaround percentiles with open reports kept, over the marts."""

import dagster as dg
import duckdb

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import materialized, store
from pipelines.journal import Journal
from pipelines.statistics.roll_up import rolled_up
from pipelines.statistics.tables import TURNAROUND_SURVIVAL
from pipelines.statistics.turnaround import survival_by_group

# The median of the estimate, as the monthly series of metric R01.
R01 = """
    select
        'R01' as metric_id,
        org_level,
        org_code,
        modality_group,
        acquired_month_on as period_start_on,
        exam_count,
        p50_hours as value
    from statistics.turnaround_survival
"""
KEYS = ("org_level", "org_code", "modality_group", "acquired_month_on")


@dg.asset(
    key=["statistics", "turnaround_survival"],
    group_name="statistics",
    description=TURNAROUND_SURVIVAL["description"],
    owners=["team:imaging-analytics"],
    kinds={"python", "duckdb"},
    deps=[dg.AssetKey(["intermediate", "int_report_turnarounds"])],
)
def turnaround_survival(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> dg.MaterializeResult:
    """Read exams with their organisations, estimate, store."""
    return materialized(pipeline, journal, "turnaround_survival", store_survival)


def store_survival(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Write statistics.turnaround_survival of an open warehouse; returns its rows and exams."""
    exams = connection.sql("select * from intermediate.int_report_turnarounds").pl()
    result = survival_by_group(rolled_up(exams), KEYS)
    return store(connection, "turnaround_survival", result) | {"exams": len(exams)}
