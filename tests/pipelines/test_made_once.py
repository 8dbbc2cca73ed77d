"""What both workers of a test run share is whole, and made once."""

import multiprocessing
import os
from pathlib import Path

import pytest

from tests.made_once import made_once


class Worker:
    """The folder of one worker of a run, as pytest-xdist lays it out."""

    def __init__(self, run: Path, number: int) -> None:
        self.folder = run / f"popen-gw{number}"
        self.folder.mkdir(parents=True)

    def getbasetemp(self) -> Path:
        return self.folder


def make(folder: Path) -> None:
    assert not list(folder.iterdir())
    (folder / f"{os.getpid()}.txt").write_text("made")


def needs_it(run: Path, number: int) -> None:
    made_once(Worker(run, number), "network", make)


def test_two_workers_make_it_once(tmp_path):
    """Failing means that a worker reads what the other is still writing, or writes over it."""
    workers = [multiprocessing.Process(target=needs_it, args=(tmp_path, n)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(list((tmp_path / "network").iterdir())) == 1


def test_what_could_not_be_made_is_made_by_the_next(tmp_path):
    """Failing means that half a network passes for a whole one in every test after it."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError

    for number in range(2):
        with pytest.raises(OSError):
            made_once(Worker(tmp_path, number), "network", fail)
    made = made_once(Worker(tmp_path, 2), "network", make)
    assert [path.suffix for path in made.iterdir()] == [".txt"]
