"""The files of the audiences beside the first one: what is told once, cut for each of them.

What one rule tells is computed once and written once; the file of an audience is a copy of it, in
which a trust's own rows are replaced in SQL by those of the warehouse.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl

from pipelines.durable import write_with
from pipelines.publishing import analyst
from pipelines.publishing.audiences import Audience
from pipelines.publishing.disclosure import WITHHELD, WITHHELD_TEXT, Disclosure
from pipelines.publishing.snapshot import (
    AuditFailed,
    Build,
    open_for_writing,
    read_table,
    write_snapshot,
)
from pipelines.publishing.suppression import Limits

STAFF = ("reporter", "radiographer", "operator", "requester", "performer", "staff")


@dataclass(frozen=True)
class Published:
    """What every edition is cut from.

    `tables` are the published tables of the warehouse (`schema.name`), `made` those whose rows are
    given, `catalogue` the frames of the whole file and `disclosure` how each table may be told.
    """

    warehouse: Path
    tables: Sequence[str]
    made: Mapping[str, pl.DataFrame]
    catalogue: Mapping[str, pl.DataFrame]
    disclosure: Disclosure


def file_name(build_id: str, audience: str) -> str:
    """Name of the file of an audience in the published folder."""
    return f"warehouse_{build_id}_{audience}.duckdb"


def write_editions(
    folder: Path, whole: Path, published: Published, audiences: Sequence[Audience], build: Build
) -> dict[str, Path]:
    """Write the file of each audience; returns their paths by audience.

    `whole` is the file with every row, which is copied for an audience from which nothing is
    hidden. Raises AuditFailed where a file would tell what its audience may not see; the files
    written by then are orphans that the next publication removes.
    """
    found: dict[str, Path] = {}
    shared: dict[Limits, Path] = {}
    try:
        for audience in audiences:
            base = whole
            if audience.limits is not None:
                if audience.limits not in shared:
                    # named as durable.remove_abandoned knows it, should the process be killed
                    path = folder / f".shared_{len(shared)}.{os.getpid()}.tmp"
                    shared[audience.limits] = path
                    _write_shared(path, published, replace(audience, ods_code=None), build)
                base = shared[audience.limits]
            target = folder / file_name(build.build_id, audience.name)
            its = replace(build, audience=audience.name, suppression=audience.rule())
            _write_copy(base, target, published, audience, its)
            found[audience.name] = target
    finally:
        for path in shared.values():
            path.unlink(missing_ok=True)
    return found


def _write_copy(
    base: Path, target: Path, published: Published, audience: Audience, build: Build
) -> None:
    """The base under the name of its audience, with the rows that are its own."""

    def fill(temporary: Path) -> None:
        shutil.copyfile(base, temporary)
        with open_for_writing(temporary) as connection:
            connection.execute(
                "update catalogue.build set audience = $audience, suppression = $suppression",
                {"audience": build.audience, "suppression": build.suppression},
            )
            if audience.ods_code:
                _put_own(connection, published, audience)
            if audience.limits is not None:
                verify(connection, published.disclosure, audience)
            connection.execute("checkpoint")
        Path(f"{temporary}.wal").unlink(missing_ok=True)

    write_with(fill, target)


def _put_own(
    connection: duckdb.DuckDBPyConnection, published: Published, audience: Audience
) -> None:
    """Replace what is told of the organisation by what the warehouse has; add its rows of exams."""
    disclosure, ods = published.disclosure, audience.ods_code
    warehouse = str(published.warehouse).replace("'", "''")
    connection.execute(f"attach '{warehouse}' as warehouse (read_only)")
    for name in published.tables:
        own = disclosure.own_column(name)
        if name in disclosure.rows and audience.row_tables == "own":
            where = disclosure.rows[name].replace("$ods", f"'{ods}'")
            connection.execute(
                f"create table {name} as from warehouse.{name} where {where} order by all"
            )
        elif own:
            connection.execute(f"delete from {name} where {own} = '{ods}'")
            connection.execute(
                f"insert into {name} select *, null from warehouse.{name} where {own} = '{ods}' "
                "order by all"
            )
    connection.execute("detach warehouse")
    rows = [name for name in published.tables if name in disclosure.rows]
    described = {
        part: published.catalogue[part].filter(_named(rows)) for part in ("tables", "columns")
    }
    for part, frame in described.items():
        connection.register("incoming", frame.to_arrow())
        connection.execute(f"insert into catalogue.{part} by name from incoming")
        connection.unregister("incoming")
    for statement in [
        *analyst.comments(described["tables"], described["columns"]),
        *_counted(published.tables),
    ]:
        connection.execute(statement)


def _write_shared(path: Path, published: Published, audience: Audience, build: Build) -> None:
    """The file of the rule of an audience, with nothing in it that is any organisation's own."""
    told = path.with_name(f".told{path.name}")
    try:
        _write_told(told, published, audience.limits)
        _write_cut(path, published, told, build)
    finally:
        told.unlink(missing_ok=True)
        Path(f"{told}.wal").unlink(missing_ok=True)


def _write_told(path: Path, published: Published, limits: Limits | None) -> None:
    """The masked tables as they are told under one rule, for every organisation."""
    assert limits is not None
    disclosure = published.disclosure
    path.unlink(missing_ok=True)
    masked = [name for name in published.tables if disclosure.is_masked(name)]
    frames = {name: read_table(published.warehouse, name) for name in masked}
    frames |= {name: made for name, made in published.made.items() if disclosure.is_masked(name)}
    with duckdb.connect(str(path)) as connection:
        for name, frame in disclosure.tell(frames, limits).items():
            connection.execute(f"create schema if not exists {name.split('.')[0]}")
            connection.register("incoming", frame.to_arrow())
            connection.execute(f"create table {name} as select * from incoming")
            connection.unregister("incoming")


def _write_cut(path: Path, published: Published, told: Path, build: Build) -> None:
    disclosure = published.disclosure
    selects = {}
    for name in [*published.tables, *published.made]:
        if name in disclosure.open:
            selects[name] = f"from warehouse.{name}"
        elif disclosure.is_masked(name):
            selects[name] = f"from told.{name}"
    columns = published.catalogue["columns"]
    kept = columns.filter(_named(list(selects)) | (pl.col("table_schema") == "main"))
    masked = [name for name in selects if disclosure.is_masked(name)]
    catalogue = dict(published.catalogue) | {
        "tables": published.catalogue["tables"].filter(_named(list(selects))),
        "columns": _with_marker(kept, masked),
    }
    described = catalogue["columns"].filter(pl.col("table_schema") != "main")
    write_snapshot(
        published.warehouse,
        path,
        [],
        catalogue,
        build,
        None,
        [*_counted(list(selects)), *analyst.statements(catalogue["tables"], described)],
        selects=selects,
        attached={"told": told},
    )


def _named(tables: Sequence[str]) -> pl.Expr:
    return pl.concat_str("table_schema", "table_name", separator=".").is_in(list(tables))


def _counted(tables: Sequence[str]) -> list[str]:
    """SQL that counts the rows of the tables again for the catalogue."""
    return [
        f"update catalogue.tables set row_count = (select count(*) from {name}) "
        f"where table_schema || '.' || table_name = '{name}'"
        for name in tables
    ]


def verify(
    connection: duckdb.DuckDBPyConnection, disclosure: Disclosure, audience: Audience
) -> None:
    """Raise AuditFailed where the open file tells a small count, a foreign row or a staff key."""
    limits, ods = audience.limits, audience.ods_code
    assert limits is not None
    held = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() "
        "where database_name = current_database() and schema_name in ('marts', 'statistics')"
    ).fetchall()
    for (name,) in held:
        columns = [row[0] for row in connection.execute(f"describe {name}").fetchall()]
        staff = [c for c in columns if c.startswith(STAFF) and c.endswith(("_key", "_id"))]
        if staff:
            raise AuditFailed(f"{name}: {staff} would tell of staff; nothing was published")
        if name in disclosure.rows and audience.row_tables != "own":
            raise AuditFailed(f"{name}: {audience.name} may have no row of an exam")
        spec = disclosure.counts.get(name)
        if spec is None:
            continue
        own = disclosure.own_column(name)
        others = f"{own} is distinct from '{ods}'" if own and ods else "true"
        for column, exempt in spec.get("exempt", {}).items():
            others += f" and {column} not in ({', '.join(repr(one) for one in exempt)})"
        small = " or ".join(
            f"(abs({count}) > {limits.lowest - 1} and abs({count}) < {limits.highest + 1})"
            for count in spec["counts"]
        )
        found = connection.execute(
            f"select count(*) from {name} where {others} and ({small})"
        ).fetchall()[0][0]
        if found:
            raise AuditFailed(f"{name}: {found} rows would tell {audience.name} a small count")


def _with_marker(columns: pl.DataFrame, masked: Sequence[str]) -> pl.DataFrame:
    """The columns of the catalogue with the marker at the end of every masked table."""
    last = columns.filter(_named(masked)).group_by("table_schema", "table_name")
    markers = last.agg(pl.col("position").max() + 1).with_columns(
        column_name=pl.lit(WITHHELD),
        data_type=pl.lit("VARCHAR"),
        description=pl.lit(WITHHELD_TEXT),
        unit=pl.lit(""),
    )
    return pl.concat([columns, markers.select(columns.columns).cast(columns.schema)])
