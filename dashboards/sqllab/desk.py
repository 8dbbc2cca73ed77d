"""What one reader is doing at the SQL workbench: the query that runs, the last answer, the history.

A query runs in a thread of its own, so that the page stays alive and the reader can cancel. Nothing
is kept longer than the reader's session, and nothing of an answer is in the history.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from dashboards.sqllab import broker
from dashboards.sqllab.broker import Answer, Limits, QueryRefused, QueryResult, QueryStopped
from dashboards.sqllab.wire import Value

SCHEMAS = ("marts", "statistics", "catalogue")
MOST_REMEMBERED = 20
# What a query may take whose rows go into a file and not onto the page.
FOR_A_FILE = Limits(seconds=60.0, rows=1_000_000, bytes=128_000_000)


@dataclass(frozen=True)
class Asked:
    """A statement with its answer, the lines that say which file it was asked of, and its limits."""

    sql: str
    provenance: tuple[str, ...]
    answer: Answer
    limits: Limits = field(default_factory=Limits)
    # Name of a parameter of the statement -> the value that was bound to it.
    parameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def values(self) -> list[str]:
        """The values that were bound, one line each."""
        return [f"${name}: {value}" for name, value in self.parameters.items()]

    @property
    def outcome(self) -> str:
        """The answer in a few words."""
        if isinstance(self.answer, QueryResult):
            cut = "the first " if self.answer.truncated else ""
            return f"{cut}{self.answer.frame.height:,} rows in {self.answer.seconds:.2f} s"
        word = "refused" if isinstance(self.answer, QueryRefused) else "stopped"
        return f"{word}: {self.answer.reason}"


@dataclass(frozen=True)
class Past:
    """A line of the history: a statement, its values and what became of it; nothing of its rows."""

    sql: str
    outcome: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


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
    history: list[Past] = field(default_factory=list)
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

    def send(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        *,
        file: Path,
        provenance: Sequence[str],
    ) -> None:
        """Begin a query on a published file; one that still runs is cancelled first.

        parameters are bound to the $names of the statement.
        """
        self._begin(sql, parameters or {}, file, provenance, self.limits)

    def fetch(self, *, file: Path, provenance: Sequence[str]) -> None:
        """Begin the last query once more, under the limits of a file."""
        if self.last is not None:
            self._begin(self.last.sql, self.last.parameters, file, provenance, FOR_A_FILE)

    def _begin(
        self,
        sql: str,
        parameters: Mapping[str, Value],
        file: Path,
        provenance: Sequence[str],
        limits: Limits,
    ) -> None:
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
                    parameters=parameters,
                )
                if record is not None:
                    record(Asked(sql, tuple(provenance), answer, limits, parameters))
            except Exception as error:
                answer = QueryStopped(f"the query could not be run ({error}); send it again")
            running.set_result(Asked(sql, tuple(provenance), answer, limits, parameters))

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
        past = Past(asked.sql, asked.outcome, asked.parameters)
        kept = [
            line
            for line in self.history
            if (line.sql, line.parameters) != (past.sql, past.parameters)
        ]
        self.history = [past, *kept][:MOST_REMEMBERED]
