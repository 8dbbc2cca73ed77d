"""Compare two published files table by table."""

from pathlib import Path

import duckdb


def differences(left: Path, right: Path) -> list[str]:
    """Tables that differ between two published files, the build's own identity apart."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{left}' as a (read_only)")
        connection.execute(f"attach '{right}' as b (read_only)")
        tables = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where database_name = 'a' order by all"
        ).fetchall()
        found = []
        for (table,) in tables:
            if table == "catalogue.build":
                continue
            for one, other in (("a", "b"), ("b", "a")):
                count = connection.execute(
                    f"select count(*) from (from {one}.{table} except all from {other}.{table})"
                ).fetchall()[0][0]
                if count:
                    found.append(f"{table}: {count} rows only in {one}")
        return found
