"""How the assets of this stage put a statistic into the warehouse, and note it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

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


def specs(tables: Sequence[dict[str, Any]], deps: Iterable[tuple[str, str]]) -> list[dg.AssetSpec]:
    """Asset specs of tables that one function computes together; `deps`: schema and table."""
    return [
        dg.AssetSpec(
            key=["statistics", table["name"]],
            group_name="statistics",
            description=table["description"],
            owners=["team:imaging-analytics"],
            kinds={"python", "duckdb"},
            deps=[dg.AssetKey(key) for key in deps],
        )
        for table in tables
    ]


def each_materialized(
    pipeline: Pipeline,
    journal: Journal,
    name: str,
    compute: Callable[[duckdb.DuckDBPyConnection], dict[str, int]],
) -> Iterator[dg.MaterializeResult]:
    """Compute and store tables together; `compute` returns the rows of each, by its name."""

    def counted(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
        counts = compute(connection)
        return {"rows": sum(counts.values())} | counts

    counts = dict(materialized(pipeline, journal, name, counted).metadata or {})
    del counts["rows"]
    for table, rows in counts.items():
        yield dg.MaterializeResult(asset_key=["statistics", table], metadata={"rows": rows})


def store_each(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[dict[str, Any]],
    results: Sequence[pl.DataFrame],
) -> dict[str, int]:
    """Write one result to each table of an open warehouse; returns the rows of each, by its name."""
    names = [table["name"] for table in tables]
    return {
        name: store(connection, name, result)["rows"]
        for name, result in zip(names, results, strict=True)
    }


def store(connection: duckdb.DuckDBPyConnection, name: str, result: pl.DataFrame) -> dict[str, int]:
    """Write the table statistics.<name> of an open warehouse; returns how many rows it has."""
    connection.execute("create schema if not exists statistics")
    connection.register("result", result.to_arrow())
    connection.execute(
        f"create or replace table statistics.{name} as select * from result order by all"
    )
    connection.unregister("result")
    return {"rows": len(result)}
