"""The published tables of an audience as Parquet, for tools that read files (Power BI, Excel, R).

A copy leaves the house, so it holds suppressed aggregates only: a file in which nothing is hidden is
refused, and rows of single exams, which a trust's file has, stay out.
"""

import csv
import getpass
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from pipelines.durable import write_bytes, write_with
from pipelines.exports.dids import ExportProblem
from pipelines.publishing.disclosure import Disclosure
from pipelines.publishing.pointer import Manifest, read_manifest

DICTIONARY, ABOUT = "data_dictionary.csv", "about.txt"
# Tables that explain the others, beside those of the catalogue.
EXPLAINING = ("catalogue.metrics",)
_COLUMNS = """
    select
        columns.table_schema || '.' || columns.table_name as table_name,
        tables.grain,
        tables.description as table_description,
        columns.column_name,
        columns.data_type,
        columns.unit,
        columns.description,
    from catalogue.columns as columns
    inner join catalogue.tables as tables using (table_schema, table_name)
    order by columns.table_schema, columns.table_name, columns.position
"""


@dataclass(frozen=True)
class Copied:
    """What was written: files by name, with the rows of those that hold a table."""

    build_id: str
    audience: str
    rule: str
    rows: dict[str, int]


def copy_tables(published: Path, audience: str, folder: Path) -> Copied:
    """Write <schema>.<table>.parquet for each table, data_dictionary.csv and about.txt.

    Raises ExportProblem where nothing is published, or the audience's file may not leave.
    """
    manifest = read_manifest(published)
    if manifest is None:
        raise ExportProblem("nothing has been published yet; run `imaging run`")
    told = _told(manifest, audience)
    about = _about(manifest, audience, told["rule"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    with duckdb.connect(str(published / told["file"]), read_only=True) as connection:
        for name in _names(connection):
            # Names are those of our own catalogue; quoted, because a file name is built of them.
            schema, table = (part.replace('"', '""') for part in name.split("."))
            relation = connection.sql(f'from "{schema}"."{table}"')
            path = folder / f"{name}.parquet"
            write_with(
                lambda half, one=relation: one.write_parquet(str(half), compression="zstd"), path
            )
            path.chmod(0o600)
            ((rows[path.name],),) = relation.aggregate("count(*)").fetchall()
        dictionary = _dictionary(connection, {name.removesuffix(".parquet") for name in rows})
    write_bytes(dictionary, folder / DICTIONARY, mode=0o600)
    write_bytes(about.encode(), folder / ABOUT, mode=0o600)
    return Copied(manifest.build_id, audience, told["rule"], rows)


def record(path: Path, copied: Copied, folder: Path, now: datetime) -> None:
    """Add a line that says who wrote which copy where; the file is 0600 and only ever grows."""
    line = {
        "at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "account": getpass.getuser(),
        "what": "parquet",
        "folder": str(folder),
        **asdict(copied),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def _told(manifest: Manifest, audience: str) -> dict[str, str]:
    """What the manifest says of the audience's file. Raises ExportProblem."""
    open_to = sorted(name for name, one in manifest.audiences.items() if one.get("suppressed"))
    if audience not in open_to:
        raise ExportProblem(
            f"copies are made of files in which small counts are hidden; {audience} is none of "
            f"them. Choose one of: {', '.join(open_to) or 'none in this build'}"
        )
    return manifest.audiences[audience]


def _names(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """The tables to copy (`schema.name`), none of which has rows of single exams."""
    listed = connection.sql(
        "select table_schema || '.' || table_name from catalogue.tables order by all"
    ).fetchall()
    rows = Disclosure.load().rows
    yield from (name for (name,) in listed if name not in rows)
    yield from EXPLAINING


def _dictionary(connection: duckdb.DuckDBPyConnection, copied: set[str]) -> bytes:
    """One line per column of the copied tables, UTF-8 with a mark that Excel knows it by."""
    found = connection.sql(_COLUMNS)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(found.columns)
    for row in found.fetchall():
        if row[0] in copied:
            lines.writerow([" ".join(str(cell or "").split()) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def _about(manifest: Manifest, audience: str, rule: str) -> str:
    lines = [
        f"Build: {manifest.build_id}",
        f"Published: {manifest.created_at}",
        f"Audience: {audience}",
        f"Small numbers: {rule}",
        "Empty is never nought: the column withheld names what is hidden of a row.",
        "Every table holds several levels (network, party, trust, and All): choose one, never add up.",
        *(
            f"As at: {one['party_code']} {one['feed_kind']} {one['as_at']}"
            for one in manifest.as_at
        ),
    ]
    return "\n".join(lines) + "\n"
