"""Turnaround percentiles by groups of patients, over the same exams as those of everybody."""

import dagster as dg
import duckdb
import polars as pl

from pipelines.defs.resources import Pipeline
from pipelines.defs.statistics.storing import materialized, store
from pipelines.journal import Journal
from pipelines.statistics.patient_groups import turnaround_by_patient_group as by_group
from pipelines.statistics.tables import TURNAROUND_BY_PATIENT_GROUP

# A month at a time: the exams of all months, four rows each and twice, would not fit in memory.
EXAMS = """
    select
        exams.trust_code,
        exams.modality_group,
        patient_groups.patient_group_kind,
        patient_groups.patient_group,
        patient_groups.group_order,
        patient_groups.is_group_known,
        exams.acquired_month_on,
        exams.hours,
        exams.is_reported
    from intermediate.int_report_turnarounds as exams
    inner join intermediate.int_exam_patient_groups as patient_groups
        on exams.exam_key = patient_groups.exam_key
    where exams.acquired_month_on = $month
"""


@dg.asset(
    key=["statistics", "turnaround_by_patient_group"],
    group_name="statistics",
    description=TURNAROUND_BY_PATIENT_GROUP["description"],
    owners=["team:imaging-analytics"],
    kinds={"python", "duckdb"},
    deps=[
        dg.AssetKey(["intermediate", "int_report_turnarounds"]),
        dg.AssetKey(["intermediate", "int_exam_patient_groups"]),
    ],
)
def turnaround_by_patient_group(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> dg.MaterializeResult:
    """Read exams with their patient groups, estimate, store."""
    return materialized(pipeline, journal, "turnaround_by_patient_group", store_by_patient_group)


def store_by_patient_group(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Write statistics.turnaround_by_patient_group of an open warehouse; returns its rows."""
    months = connection.sql(
        "select distinct acquired_month_on from intermediate.int_report_turnarounds order by all"
    ).fetchall()
    found = [by_group(connection.sql(EXAMS, params={"month": month}).pl()) for (month,) in months]
    if not found:
        found = [by_group(connection.sql(EXAMS, params={"month": None}).pl())]
    return store(connection, "turnaround_by_patient_group", pl.concat(found))
