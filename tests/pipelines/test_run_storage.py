"""Dagster's files during a run: which wait for the disk less often, and what they hold after it."""

import sqlite3
from pathlib import Path

import pytest
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from pipelines.run_storage import synced_at_checkpoints

FULL, NORMAL = 2, 1


def database(folder: Path, mode: str = "wal") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{mode}.db"
    with sqlite3.connect(file) as connection:
        connection.execute(f"pragma journal_mode = {mode}")
        connection.execute("create table events (number integer)")
    connection.close()
    return file


def write(file: Path, *numbers: int) -> int:
    """Write each number by a connection of its own, as Dagster does; what the last one waits for."""
    waits_for = FULL
    for number in numbers:
        engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("insert into events values (:number)"), {"number": number})
            waits_for = connection.execute(text("pragma synchronous")).scalar_one()
        engine.dispose()
    return waits_for


def numbers_in(file: Path) -> list[int]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    found = [number for (number,) in connection.execute("select number from events order by 1")]
    connection.close()
    return found


def test_what_is_written_in_a_run_is_in_the_file_after_it(tmp_path):
    """Failing means that Dagster does not know what ran, or that its log grows for ever."""
    file = database(tmp_path / "home")
    with synced_at_checkpoints(tmp_path / "home"):
        assert write(file, 1, 2, 3) == NORMAL
        assert numbers_in(file) == [1, 2, 3], "another process must see it at once"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert numbers_in(file) == [1, 2, 3]


def test_no_connection_closed_in_a_run_copies_the_log_into_the_file(tmp_path):
    """Failing means that a build waits for the disk as long as it computes."""
    file = database(tmp_path / "home")
    before = file.read_bytes()
    with synced_at_checkpoints(tmp_path / "home"):
        write(file, 1, 2, 3)
        assert file.read_bytes() == before
    assert file.read_bytes() != before


def test_one_engine_serves_every_connection_to_a_file(tmp_path):
    """Failing means that each event of a run makes an engine and its statements anew."""
    address = f"sqlite:///{database(tmp_path / 'home')}"
    with synced_at_checkpoints(tmp_path / "home"):
        make = sqlite_event_log.create_engine
        assert make(address, poolclass=NullPool) is make(address, poolclass=NullPool)
    assert sqlite_event_log.create_engine is create_engine


@pytest.mark.parametrize(("place", "mode"), [("elsewhere", "wal"), ("home", "delete")])
def test_no_other_file_waits_for_the_disk_less_often(tmp_path, place, mode):
    """Failing means that a power cut can damage a file that has no log to mend it by."""
    file = database(tmp_path / place, mode)
    with synced_at_checkpoints(tmp_path / "home"):
        assert write(file, 1) == FULL


def test_after_a_run_everything_is_as_it_was(tmp_path):
    """Failing means that a process that goes on writes with less care than it says."""
    file = database(tmp_path / "home")
    with pytest.raises(RuntimeError), synced_at_checkpoints(tmp_path / "home"):
        raise RuntimeError
    assert write(file, 1) == FULL
