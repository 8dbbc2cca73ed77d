"""What a run did, step by step, and how far it is."""

from dataclasses import dataclass, field


@dataclass
class Entry:
    """Counts of one step for the table a run prints; its seconds where they were measured."""

    stage: str
    name: str
    files: int = 0
    rows: int = 0
    rejects: int = 0
    seconds: float | None = 0.0


@dataclass
class Journal:
    """Counts and progress of a run; the command line hands in one that shows a progress bar."""

    entries: list[Entry] = field(default_factory=list)

    def progress(self, what: str, done: int, total: int) -> None:
        """Say how far a long step is (a total of 0 is not known); silent unless watched."""

    def add(self, entry: Entry) -> None:
        """Note what a step did."""
        self.entries.append(entry)
