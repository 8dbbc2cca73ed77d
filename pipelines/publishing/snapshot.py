"""Write the published file of one audience: copy, audit, then give it its name.

Its tables are copies, each in the order of its columns, so that two builds of the same data hold
the same rows in the same order. What is added to them (views, macros, comments) is added when the
warehouse is no longer at hand: it can read nothing but the file.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from pipelines.durable import write_with
from pipelines.problems import Problem

# Read by DuckDB since 1.0 (June 2024): readers' own tools are seldom the newest. What DuckDB 2.0
# writes by itself is read by none before it. Costs 7 to 16 % of the file's size.
STORAGE_VERSION = "v1.0.0"
SUMMARY_SCHEMA = {"table_name": pl.String, "row_count": pl.Int64, "expected_count": pl.Int64}


class AuditFailed(Problem):
    """The candidate file does not hold what it should; nothing was published."""


@dataclass(frozen=True)
class Build:
    """Identity of one build of the published file."""

    build_id: str
    created_at: datetime
    audience: str
    is_synthetic: bool
    network_name: str
    suppression: str


def open_for_writing(path: Path) -> duckdb.DuckDBPyConnection:
    """A published file to be filled, in the format that older clients read."""
    return duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})


def table_counts(warehouse: Path, tables: list[str]) -> dict[str, int]:
    """Rows of each table (`schema.name`) of the warehouse; raises duckdb.Error if one is missing."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return {
            table: connection.execute(f"select count(*) from {table}").fetchall()[0][0]
            for table in tables
        }


def read_table(warehouse: Path, table: str) -> pl.DataFrame:
    """Every row of one table (`schema.name`) of the warehouse; raises duckdb.Error if missing."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.sql(f"select * from {table}").pl()


def write_snapshot(
    warehouse: Path,
    target: Path,
    tables: list[str],
    catalogue: dict[str, pl.DataFrame],
    build: Build,
    made: Mapping[str, pl.DataFrame] | None = None,
    statements: Sequence[str] = (),
    *,
    selects: Mapping[str, str] | None = None,
    attached: Mapping[str, Path] | None = None,
    check: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
) -> pl.DataFrame:
    """Copy `tables` and the catalogue into `target`; returns one row per table: counted rows.

    `made` are tables (`schema.name`) whose rows are given, whether or not the warehouse has one of
    that name; `statements` SQL that adds views, macros and comments. Raises AuditFailed, and leaves
    nothing at `target`, when a table came out with other columns or another number of rows than
    that of the warehouse; duckdb.Error, and leaves nothing either, when a statement does not hold
    for the file. `selects` are tables made by a query of `warehouse` and of the files of `attached`,
    by name; `check` judges the tables and raises where they may not be published.
    """
    summary: list[pl.DataFrame] = []

    def fill(temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        try:
            copy(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            # DuckDB leaves no write-ahead log behind a checkpointed, closed file.
            Path(f"{temporary}.wal").unlink(missing_ok=True)

    def copy(temporary: Path) -> None:
        source = str(warehouse).replace("'", "''")
        with open_for_writing(temporary) as connection:
            connection.execute(f"attach '{source}' as warehouse (read_only)")
            for name, path in (attached or {}).items():
                beside = str(path).replace("'", "''")
                connection.execute(f"attach '{beside}' as {name} (read_only)")
            named = [*tables, *(made or {}), *(selects or {})]
            for schema in sorted({table.split(".")[0] for table in named} | {"catalogue"}):
                connection.execute(f"create schema if not exists {schema}")
            for table in tables:
                connection.execute(
                    f"create table {table} as select * from warehouse.{table} order by all"
                )
            for table, query in (selects or {}).items():
                connection.execute(f"create table {table} as from ({query}) order by all")
            described = catalogue | {"build": _build_row(build)}
            frames = {f"catalogue.{name}": frame for name, frame in described.items()}
            for name, frame in (frames | dict(made or {})).items():
                connection.register("incoming", frame.to_arrow())
                connection.execute(f"create table {name} as select * from incoming")
                connection.unregister("incoming")
            summary.append(_audit(connection, [*tables, *_of_warehouse(connection, made or {})]))
            if check is not None:
                check(connection)
            for name in ("warehouse", *(attached or {})):
                connection.execute(f"detach {name}")
            for statement in statements:
                connection.execute(statement)
            connection.execute("checkpoint")

    write_with(fill, target)
    return summary[0]


def _build_row(build: Build) -> pl.DataFrame:
    return pl.DataFrame([build.__dict__]).with_columns(
        pl.col("created_at").dt.convert_time_zone("UTC")
    )


def _of_warehouse(connection: duckdb.DuckDBPyConnection, named: Iterable[str]) -> list[str]:
    held = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_catalog = 'warehouse'"
    ).fetchall()
    return sorted(set(named) & {name for (name,) in held})


def _audit(connection: duckdb.DuckDBPyConnection, tables: list[str]) -> pl.DataFrame:
    rows = []
    for table in tables:
        count = "select count(*) from {}"
        found = connection.execute(count.format(table)).fetchall()[0][0]
        expected = connection.execute(count.format(f"warehouse.{table}")).fetchall()[0][0]
        rows.append((table, found, expected))
        if found != expected:
            raise AuditFailed(f"{table}: {found} rows copied, the warehouse has {expected}")
        columns = [
            connection.execute(f"describe {name}").fetchall()
            for name in (table, f"warehouse.{table}")
        ]
        if [row[:2] for row in columns[0]] != [row[:2] for row in columns[1]]:
            raise AuditFailed(f"{table}: the copy has other columns than the warehouse")
    return pl.DataFrame(rows, schema=SUMMARY_SCHEMA, orient="row")


def checksum(path: Path) -> str:
    """Hex SHA-256 of a published file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_at(warehouse: Path) -> list[dict[str, str | None]]:
    """As-at per party and feed, as the mart rpt_feed_freshness states it (UTC, ISO)."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(
            "select party_code, feed_id, feed_kind, strftime(as_at, '%Y-%m-%dT%H:%M:%SZ') "
            "from marts.rpt_feed_freshness order by all"
        ).fetchall()
    return [
        dict(zip(("party_code", "feed_id", "feed_kind", "as_at"), row, strict=True)) for row in rows
    ]
