"""Immutable landing files: named by the hash of their source bytes and the parser version.

A file is written under a temporary name, synced, renamed, and its folder synced; a reader or a
crash never meets half a file. The receipt of a source file is written last: it is the commit.
"""

import fcntl
import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.durable import NO_ROOM, write_with
from pipelines.landing.schema import landing_schema, shaped

PARSER_VERSION = "2"
# An exam's keys stand in each of its events: in one group of rows their dictionary is kept once,
# which halves the file.
ROW_GROUP_ROWS = 1_000_000
EMPTY_FILE = "columns.parquet"


class LandingStore:
    """The landing folder: one subfolder of Parquet files per landing table."""

    def __init__(self, root: Path, contracts: dict[str, Contract]) -> None:
        """Open (and create) the folder; `contracts` are the inbound contracts by name."""
        self.root = root
        self.tables = {c.table: c for c in contracts.values() if c.settings.get("landed", True)}

    def prepare(self) -> None:
        """Give every landing table an empty first file, so that the warehouse can always read.

        It has every column of today, so that files of an older reader have those too, as nulls.
        Its name begins with a letter: Spark passes over names with a leading underscore.
        """
        for table, contract in self.tables.items():
            marker, schema = self.root / table / EMPTY_FILE, landing_schema(contract)
            if not marker.exists() or pl.read_parquet_schema(marker) != schema:
                write_parquet(pl.DataFrame(schema=schema), marker)
            # what earlier releases named it
            (marker.parent / "_schema.parquet").unlink(missing_ok=True)

    def write(self, table: str, name: str, frame: pl.DataFrame) -> Path:
        """Write one landing file of a table; writing the same name again replaces it whole.

        What an earlier version of the reader made of the same source goes, so that it is never
        read beside this.
        """
        path = self.root / table / f"{name}.p{PARSER_VERSION}.parquet"
        write_parquet(shaped(frame, self.tables[table]), path)
        for other in path.parent.glob(f"{name}.p*.parquet"):
            if other != path:
                other.unlink()
        return path

    @contextmanager
    def unfinished(self, table: str, names: Sequence[str]) -> Generator[None]:
        """Note which landing files are being written, until their receipts are.

        A killed process leaves the note behind, and `undo_unfinished` deletes what has no
        receipt: the next harvest may cut the same records into other files. The note is locked
        while its process lives, so that another harvest leaves these files alone.
        """
        note = self.root / f".{table}.{os.getpid()}.unfinished.json"
        descriptor = _locked(note)
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(list(names)).encode())
            os.fsync(descriptor)
            try:
                yield
            except BaseException:
                self._undo(names)
                raise
            finally:
                note.unlink()
        finally:
            os.close(descriptor)

    def undo_unfinished(self, table: str) -> None:
        """Delete the landing files that a dead harvest left without a receipt."""
        for note in self.root.glob(f".{table}.*.unfinished.json"):
            descriptor = os.open(note, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Killed before it was written, it has nothing to undo.
                self._undo(json.loads(note.read_bytes() or b"[]"))
                note.unlink()
            except BlockingIOError:
                continue  # its harvest is at work
            finally:
                os.close(descriptor)

    def _undo(self, names: Sequence[str]) -> None:
        """Delete what was made of sources without a receipt of landed rows.

        The receipt of a refusal says nothing: a replay has the source of what was refused.
        """
        receipts = self.receipts().select("source_sha", "rows_written")
        landed = set(receipts.filter(pl.col("rows_written") > 0)["source_sha"])
        told = set(receipts["source_sha"])
        for name in set(names) - landed:
            # Whatever was made of the same source lies in several tables.
            for path in self.root.glob(f"*/{name}.p*.parquet"):
                if name not in told or path.parent.name not in ("receipts", "rejects"):
                    path.unlink()

    def read(self, table: str) -> pl.DataFrame:
        """All rows of a small landing table (receipts, rejects)."""
        files = sorted((self.root / table).glob("*.parquet"))
        schema = landing_schema(self.tables[table])
        if not files:
            return pl.DataFrame(schema=schema)
        return pl.read_parquet(files).select(pl.col(n).cast(t) for n, t in schema.items())

    def receipts(self) -> pl.DataFrame:
        """One row per source file that was harvested (contract receipts)."""
        return self.read("receipts")

    def file_names(self) -> list[str]:
        """Names of all landing files, sorted: the identity of what the warehouse is built from."""
        return sorted(str(p.relative_to(self.root)) for p in self.root.glob("*/*.parquet"))


def _locked(path: Path) -> int:
    """Open a file with a lock that ends with this process; a file just deleted is made anew."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
        os.close(descriptor)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as zstd Parquet, atomically and durably; raises DiskFull."""

    def fill(temporary: Path) -> None:
        try:
            frame.write_parquet(
                temporary, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_ROWS
            )
        except pl.exceptions.ComputeError as error:
            # The system's error comes as a text only.
            code = next((code for code in NO_ROOM if f"(os error {code})" in str(error)), None)
            if code is not None:
                raise OSError(code, os.strerror(code)) from error
            raise

    write_with(fill, path)
