"""Memory of a process and of all it has started, looked at while it runs; its processor time."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PROC = Path("/proc")
# Adding up the pages of a process that holds gigabytes takes tens of milliseconds.
LOOK_SECONDS = 0.5
# What is added up of each process: its share of what several hold, or all that it holds.
SHARED_ONCE, RESIDENT = "Pss:", "Rss:"


class MemoryWatch:
    """A thread that looks again and again; `looks` are (UTC epoch seconds, bytes)."""

    def __init__(self, process: int, counted: str = SHARED_ONCE) -> None:
        """Watch the process of this id and its descendants."""
        self.looks: list[tuple[float, int]] = []
        self._process, self._counted = process, counted
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.looks.append((time.time(), tree_bytes(self._process, self._counted)))
            if self._ended.wait(LOOK_SECONDS):
                return


def peak_bytes(looks: list[tuple[float, int]], began: float, ended: float) -> int:
    """The most that was seen from one instant to another, 0 where nobody looked."""
    return max((held for at, held in looks if began <= at <= ended), default=0)


def tree_bytes(process: int, counted: str = SHARED_ONCE) -> int:
    """Bytes of a process and its descendants.

    Memory that several share counts once (PSS) unless RESIDENT is counted: then once for each (RSS).
    """
    return sum(_own_bytes(one, counted) for one in _tree(process))


def cpu_seconds(process: int) -> float:
    """Seconds of processors that a process has used so far, all its threads, without children."""
    words = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _tree(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found


def _parent(entry: Path) -> int | None:
    try:
        # The name of a command, which stands in brackets, may hold anything.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _own_bytes(process: int, counted: str) -> int:
    try:
        rolled_up = (PROC / str(process) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # it has ended, or it is not ours
    lines = (line.split() for line in rolled_up.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words[0] == counted)
