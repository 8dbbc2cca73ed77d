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
_STARTERS = Path(__file__).with_name("starters.toml")


@dataclass(frozen=True)
class Asked:
    """A statement with its answer, and the lines that say which file it was asked of."""

    sql: str
    provenance: tuple[str, ...]
    answer: Answer

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
                    limits=self.limits,
                    cancel=cancel,
                    user=self.user,
                )
                if record is not None:
                    record(Asked(sql, tuple(provenance), answer))
            except Exception as error:
                answer = QueryStopped(f"the query could not be run ({error}); send it again")
            running.set_result(Asked(sql, tuple(provenance), answer))

        threading.Thread(target=ask, daemon=True).start()
        self._cancel, self._running = cancel, running

    def cancel(self) -> None:
        """End the query that runs, soon."""
        self._cancel.set()

    def take(self) -> None:
        """Wait for the query that runs, and keep its answer and its line of the history."""
        if self._running is None:
            return
        self.last, self._running = self._running.result(), None
        kept = [line for line in self.history if line[0] != self.last.sql]
        self.history = [(self.last.sql, self.last.outcome), *kept][:MOST_REMEMBERED]


@cache
def starters() -> Sequence[tuple[str, str]]:
    """Title and statement of every query to begin with."""
    told = tomllib.loads(_STARTERS.read_text(encoding="utf-8"))["starter"]
    return [(one["title"], one["sql"].strip()) for one in told]
