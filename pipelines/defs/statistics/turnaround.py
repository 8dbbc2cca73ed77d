"""Turnaround percentiles with open reports kept, over the marts."""

from collections.abc import Iterator

import dagster as dg
import duckdb

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import each_materialized, specs, store_each
from pipelines.journal import Journal
from pipelines.statistics.roll_up import rolled_up
from pipelines.statistics.tables import METRIC_ESTIMATES, TURNAROUND_SURVIVAL
from pipelines.statistics.turnaround import as_metric, survival_by_group

KEYS = ("org_level", "org_code", "modality_group", "acquired_month_on")


STORED = (TURNAROUND_SURVIVAL, METRIC_ESTIMATES)
READ = (("intermediate", "int_report_turnarounds"),)


@dg.multi_asset(name="turnaround_survival", specs=specs(STORED, READ))
def turnaround_survival(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> Iterator[dg.MaterializeResult]:
    """Read exams with their organisations, estimate, store."""
    yield from each_materialized(pipeline, journal, "turnaround_survival", store_survival)


def store_survival(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Write turnaround_survival and metric_estimates of an open warehouse; returns the rows of each."""
    exams = connection.sql("select * from intermediate.int_report_turnarounds").pl()
    found = survival_by_group(rolled_up(exams), KEYS)
    names = [name for name, *_ in METRIC_ESTIMATES["columns"]]
    return store_each(connection, STORED, (found, as_metric(found).select(names)))
