"""The files of the audiences beside the first one: what is told once, cut for each of them.

Told frames are computed once for each rule and kept in a file beside; the file of an audience is
then cut from it and from the warehouse in SQL. A trust's own rows come as the warehouse has them.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines.durable import write_with
from pipelines.publishing import analyst
from pipelines.publishing.audiences import Audience
from pipelines.publishing.disclosure import WITHHELD, WITHHELD_TEXT, Disclosure
from pipelines.publishing.snapshot import AuditFailed, Build, read_table, write_snapshot
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
    told: dict[Limits, Path] = {}
    try:
        for audience in audiences:
            target = folder / file_name(build.build_id, audience.name)
            its = replace(build, audience=audience.name, suppression=audience.rule())
            if audience.limits is None:
                _write_copy(whole, target, its)
            else:
                if audience.limits not in told:
                    # named as durable.remove_abandoned knows it, should the process be killed
                    told[audience.limits] = folder / f".told_{len(told)}.{os.getpid()}.tmp"
                    _write_told(told[audience.limits], published, audience.limits)
                _write_cut(target, published, told[audience.limits], audience, its)
            found[audience.name] = target
    finally:
        for path in told.values():
            path.unlink(missing_ok=True)
            Path(f"{path}.wal").unlink(missing_ok=True)
    return found


def _write_copy(whole: Path, target: Path, build: Build) -> None:
    def fill(temporary: Path) -> None:
        shutil.copyfile(whole, temporary)
        with duckdb.connect(str(temporary)) as connection:
            connection.execute(
                "update catalogue.build set audience = $audience, suppression = $suppression",
                {"audience": build.audience, "suppression": build.suppression},
            )
            connection.execute("checkpoint")
        Path(f"{temporary}.wal").unlink(missing_ok=True)

    write_with(fill, target)


def _write_told(path: Path, published: Published, limits: Limits) -> None:
    """The masked tables as they are told under one rule, for every organisation."""
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


def _write_cut(
    target: Path, published: Published, told: Path, audience: Audience, build: Build
) -> None:
    selects = selects_of(published, audience)
    tables = published.catalogue["tables"]
    columns = published.catalogue["columns"]
    kept = pl.concat_str("table_schema", "table_name", separator=".").is_in(list(selects))
    masked = [name for name in selects if published.disclosure.is_masked(name)]
    catalogue = dict(published.catalogue) | {
        "tables": tables.filter(kept),
        "columns": _with_marker(columns.filter(kept | (pl.col("table_schema") == "main")), masked),
    }
    counted = [
        f"update catalogue.tables set row_count = (select count(*) from {name}) "
        f"where table_schema || '.' || table_name = '{name}'"
        for name in selects
    ]
    described = catalogue["columns"].filter(pl.col("table_schema") != "main")
    write_snapshot(
        published.warehouse,
        target,
        [],
        catalogue,
        build,
        None,
        [*counted, *analyst.statements(catalogue["tables"], described)],
        selects=selects,
        attached={"told": told},
        check=lambda connection: verify(connection, published.disclosure, selects, audience),
    )


def selects_of(published: Published, audience: Audience) -> dict[str, str]:
    """The query of each table of an audience with small counts hidden, by `schema.name`."""
    disclosure, ods = published.disclosure, audience.ods_code
    found = {}
    for name in [*published.tables, *published.made]:
        if name in disclosure.open:
            found[name] = f"select * from warehouse.{name}"
        elif name in disclosure.rows and audience.row_tables == "own" and ods:
            where = disclosure.rows[name].replace("$ods", f"'{ods}'")
            found[name] = f"select * from warehouse.{name} where {where}"
        elif disclosure.is_masked(name):
            own = disclosure.own_column(name)
            query = f"select * from told.{name}"
            if ods and own:
                query += (
                    f" where {own} is distinct from '{ods}' union all select *, null::varchar "
                    f"from warehouse.{name} where {own} = '{ods}'"
                )
            found[name] = query
    return found


def verify(
    connection: duckdb.DuckDBPyConnection,
    disclosure: Disclosure,
    tables: Mapping[str, Any],
    audience: Audience,
) -> None:
    """Raise AuditFailed where the open file tells a small count, a foreign row or a staff key."""
    limits, ods = audience.limits, audience.ods_code
    assert limits is not None
    for name in tables:
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
    names = pl.concat_str("table_schema", "table_name", separator=".")
    last = columns.filter(names.is_in(list(masked))).group_by("table_schema", "table_name")
    markers = last.agg(pl.col("position").max() + 1).with_columns(
        column_name=pl.lit(WITHHELD),
        data_type=pl.lit("VARCHAR"),
        description=pl.lit(WITHHELD_TEXT),
        unit=pl.lit(""),
    )
    return pl.concat([columns, markers.select(columns.columns).cast(columns.schema)])
