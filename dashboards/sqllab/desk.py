"""What one reader is doing at the SQL workbench: the query that runs, the last answer, the history.

A query runs in a thread of its own, so that the page stays alive and the reader can cancel. Nothing
is kept longer than the reader's session, and nothing of an answer is in the history.
"""

import threading
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from dashboards.sqllab import broker
from dashboards.sqllab.broker import Answer, Limits, QueryRefused, QueryResult, QueryStopped

SCHEMAS = ("marts", "statistics", "catalogue")
MOST_REMEMBERED = 20
# What a query may take whose rows go into a file and not onto the page.
FOR_A_FILE = Limits(seconds=60.0, rows=1_000_000, bytes=128_000_000)
_STARTERS = Path(__file__).with_name("starters.toml")


@dataclass(frozen=True)
class Asked:
    """A statement with its answer, the lines that say which file it was asked of, and its limits."""

    sql: str
    provenance: tuple[str, ...]
    answer: Answer
    limits: Limits = field(default_factory=Limits)

    @property
    def outcome(self) -> str:
        """The answer in a few words."""
        if isinstance(self.answer, QueryResult):
            cut = "the first " if self.answer.truncated else ""
            return f"{cut}{self.answer.frame.height:,} rows in {self.answer.seconds:.2f} s"
        word = "refused" if isinstance(self.answer, QueryRefused) else "stopped"
        return f"{word}: {self.answer.reason}"


@dataclass
class Desk:
    """The workbench of one session; all of it is called by one thread at a time, the page's."""

    limits: Limits = field(default_factory=Limits)
    # Whose queries these are: each user runs one at a time.
    user: str = ""
    # Told of every answer before the reader is; an answer that it fails on is not given.
    record: Callable[[Asked], None] | None = None
    # Told of every file that is taken away: its name, its rows, the statement.
    taken: Callable[..., None] | None = None
    last: Asked | None = None
    # The answer of the same statement under the limits of a file; it goes with the next query.
    for_file: Asked | None = None
    # statement and outcome, newest first
    history: list[tuple[str, str]] = field(default_factory=list)
    _running: Future[Asked] | None = None
    _cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def is_running(self) -> bool:
        """A query was sent and its answer was not taken yet."""
        return self._running is not None

    @property
    def has_answer(self) -> bool:
        """The query that was sent has ended."""
        return self._running is not None and self._running.done()

    def send(self, sql: str, *, file: Path, provenance: Sequence[str]) -> None:
        """Begin a query on a published file; one that still runs is cancelled first."""
        self._begin(sql, file, provenance, self.limits)

    def fetch(self, *, file: Path, provenance: Sequence[str]) -> None:
        """Begin the last query once more, under the limits of a file."""
        if self.last is not None:
            self._begin(self.last.sql, file, provenance, FOR_A_FILE)

    def _begin(self, sql: str, file: Path, provenance: Sequence[str], limits: Limits) -> None:
        if self.is_running:
            self.cancel()
            self.take()
        cancel, running, record = threading.Event(), Future[Asked](), self.record

        def ask() -> None:
            try:
                answer = broker.run(
                    sql,
                    published_file=file,
                    schemas=SCHEMAS,
                    limits=limits,
                    cancel=cancel,
                    user=self.user,
                )
                if record is not None:
                    record(Asked(sql, tuple(provenance), answer, limits))
            except Exception as error:
                answer = QueryStopped(f"the query could not be run ({error}); send it again")
            running.set_result(Asked(sql, tuple(provenance), answer, limits))

        threading.Thread(target=ask, daemon=True).start()
        self._cancel, self._running = cancel, running

    def cancel(self) -> None:
        """End the query that runs, soon."""
        self._cancel.set()

    def take(self) -> None:
        """Wait for the query that runs, and keep its answer and its line of the history."""
        if self._running is None:
            return
        asked, self._running = self._running.result(), None
        if asked.limits is FOR_A_FILE:
            self.for_file = asked
            return
        self.last, self.for_file = asked, None
        kept = [line for line in self.history if line[0] != asked.sql]
        self.history = [(asked.sql, asked.outcome), *kept][:MOST_REMEMBERED]


@cache
def starters() -> Sequence[tuple[str, str]]:
    """Title and statement of every query to begin with."""
    told = tomllib.loads(_STARTERS.read_text(encoding="utf-8"))["starter"]
    return [(one["title"], one["sql"].strip()) for one in told]
