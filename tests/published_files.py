"""Compare two published files table by table."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

PUBLISHED = ("catalogue", "marts", "statistics")
# What images say of the end of a series is, where they are not read, known from the list and from
# nothing else; a dose report says the same beside either.
OF_LISTS_AND_FILES = {"marts.rpt_series_ends_monthly": "end_method in ('none', 'rdsr')"}


def differences(
    left: Path,
    right: Path,
    only: dict[str, str] | None = None,
    *,
    schemas: Sequence[str] = PUBLISHED,
    seen_as: dict[str, str] | None = None,
) -> list[str]:
    """Tables that differ between two files of a build, the build's own identity apart.

    `only`: which rows of a table are compared, as a condition in SQL; all where none is given.
    `seen_as`: what of a table is compared, as a query of `{table}`; all of it where none is given.
    """
    with duckdb.connect() as connection:
        connection.execute(f"attach '{left}' as a (read_only)")
        connection.execute(f"attach '{right}' as b (read_only)")
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where database_name = 'a' and schema_name in (select unnest($schemas)) order by all",
            {"schemas": list(schemas)},
        ).fetchall()
        found = []
        for (table,) in tables:
            if table == "catalogue.build":
                continue
            rows = (only or {}).get(table, "true")
            query = (seen_as or {}).get(table, f"from {{table}} where {rows}")
            for one, other in (("a", "b"), ("b", "a")):
                mine, its = (query.format(table=f"{name}.{table}") for name in (one, other))
                count = connection.execute(
                    f"select count(*) from ({mine} except all {its})"
                ).fetchall()[0][0]
                if count:
                    found.append(f"{table}: {count} rows only in {one}")
        return found
