"""Turnaround percentiles with open reports kept, over the marts."""

import time

import dagster as dg
import duckdb

from pipelines.defs.resources import Pipeline
from pipelines.journal import Entry, Journal
from pipelines.statistics.roll_up import rolled_up
from pipelines.statistics.tables import TURNAROUND_SURVIVAL
from pipelines.statistics.turnaround import survival_by_group

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
    began = time.monotonic()
    with duckdb.connect(str(pipeline.settings.warehouse_file)) as connection:
        rows, exams = store_survival(connection)
    journal.add(
        Entry("statistics", "turnaround_survival", rows=rows, seconds=time.monotonic() - began)
    )
    return dg.MaterializeResult(metadata={"rows": rows, "exams": exams})


def store_survival(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Write statistics.turnaround_survival of an open warehouse; returns its rows and exams."""
    exams = connection.sql("select * from intermediate.int_report_turnarounds").pl()
    result = survival_by_group(rolled_up(exams), KEYS)
    connection.execute("create schema if not exists statistics")
    connection.register("result", result.to_arrow())
    connection.execute(
        "create or replace table statistics.turnaround_survival as "
        "select * from result order by org_level, org_code, modality_group, acquired_month_on"
    )
    connection.unregister("result")
    return len(result), len(exams)
