"""What both workers of a run need, and is slow to make, is made by the first that needs it."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all workers of this run share, filled by one of them while others wait.

    What is in it must stay as it is: copy it before changing anything. If making fails, the
    next that needs it tries again, in an empty folder.
    """
    own = factory.getbasetemp()
    # a worker's folder lies in that of the run; without workers there is one folder
    shared = own.parent if own.name.startswith("popen-") else own
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder, done = shared / name, shared / f"{name}.done"
        if not done.exists():
            tried = sum(1 for _ in shared.glob(f"{name}.failed*"))
            if folder.exists():
                folder.rename(shared / f"{name}.failed{tried}")
            folder.mkdir()
            make(folder)
            done.touch()
        return folder
