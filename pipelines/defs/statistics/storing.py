"""How the assets of this stage put a statistic into the warehouse, and note it."""

import time
from collections.abc import Callable

import dagster as dg
import duckdb
import polars as pl

from pipelines.defs.resources import Pipeline
from pipelines.journal import Entry, Journal


def materialized(
    pipeline: Pipeline,
    journal: Journal,
    name: str,
    compute: Callable[[duckdb.DuckDBPyConnection], dict[str, int]],
) -> dg.MaterializeResult:
    """Compute and store one statistic of the warehouse; its counts, `rows` first, are metadata."""
    began = time.monotonic()
    with duckdb.connect(str(pipeline.settings.warehouse_file)) as connection:
        counts = compute(connection)
    journal.add(Entry("statistics", name, rows=counts["rows"], seconds=time.monotonic() - began))
    return dg.MaterializeResult(metadata=counts)


def store(connection: duckdb.DuckDBPyConnection, name: str, result: pl.DataFrame) -> dict[str, int]:
    """Write the table statistics.<name> of an open warehouse; returns how many rows it has."""
    connection.execute("create schema if not exists statistics")
    connection.register("result", result.to_arrow())
    connection.execute(
        f"create or replace table statistics.{name} as select * from result order by all"
    )
    connection.unregister("result")
    return {"rows": len(result)}
