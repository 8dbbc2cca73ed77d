"""Dagster's embedded storage, written without a wait for the disk at every event of a run."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine


@contextmanager
def synced_at_checkpoints(folder: Path) -> Generator[None]:
    """Let SQLite files below a folder wait for the disk at their checkpoints alone, in this process.

    A build tells Dagster of thousands of events. Each is written by a connection of its own, which
    waits for the disk when it commits and copies the log into the file when it closes: together
    that takes as long as the build. A killed process loses nothing by it; a power cut may lose the
    last events of the run, whose verdict, receipts and published files are kept and synced
    elsewhere. The files stay whole: they have a write-ahead log, and no other is touched.

    Dagster also makes an engine for every one of these connections, and its statements anew for
    every engine: here one engine serves them all.
    """
    root = folder.resolve()
    made: dict[str, Engine] = {}

    def engine_of(address: str, **settings: Any) -> Engine:
        if address not in made:
            made[address] = create_engine(address, **settings)
        return made[address]

    held: dict[Path, sqlite3.Connection] = {}

    def begin(connection: Any, _record: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        file = Path(connection.execute("pragma database_list").fetchone()[2])
        # A file gets its write-ahead log when Dagster makes it, after the first connections.
        if not file.is_relative_to(root) or not _has_log(connection):
            return
        connection.execute("pragma synchronous = normal")
        if file not in held:
            # While one connection stays open, none is the last to close, which would checkpoint.
            held[file] = sqlite3.connect(file, check_same_thread=False)
            held[file].execute("select count(*) from sqlite_master").fetchall()

    event.listen(Engine, "connect", begin)
    sqlite_event_log.create_engine = engine_of  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        sqlite_event_log.create_engine = create_engine
        event.remove(Engine, "connect", begin)
        for connection in held.values():
            connection.close()


def _has_log(connection: sqlite3.Connection) -> bool:
    return connection.execute("pragma journal_mode").fetchone() == ("wal",)
