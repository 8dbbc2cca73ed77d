"""Runs what a reader typed, in a process that cannot hurt: answer, refusal or stop, never an error.

The boundary is the file (it holds what its audience may see) and the process: forked for one query
from a zygote, unprivileged, bounded by the kernel, killed when its time is over. The gate and the
locked engine inside it make good messages and a second line. One child is opened before its query.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from dashboards.sqllab import answer, confinement, wire
from dashboards.sqllab.confinement import Protections
from dashboards.sqllab.gate import LONGEST

# A child stops itself at its limit, counted from when it has the file open; one that does not look
# up is killed this much after the limit as counted here.
GRACE_SECONDS = 1.0
AT_ONCE = 2
# A process that was opened before somebody asked, and is not asked, ends after this.
IDLE_SECONDS = 300.0
_LOOK_SECONDS = 0.05
_START_SECONDS = 30.0
_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {
    # Two threads at import otherwise, and the zygote must have none besides its own.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # An arena for each thread reserves address space, which the child's limit counts.
    "MALLOC_ARENA_MAX": "2",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True)
class Limits:
    """What one query may take: seconds, megabytes of memory, rows and bytes of its result."""

    seconds: float = 15.0
    memory_mb: int = 1024
    rows: int = 10_000
    bytes: int = 32_000_000

    def __post_init__(self) -> None:
        if not (0 < self.seconds <= 600 and self.memory_mb >= 64 and self.rows >= 1):
            raise ValueError("limits: seconds above 0 to 600, memory_mb from 64, rows from 1")
        if not 1 <= self.bytes <= 1_000_000_000:
            raise ValueError("limits: bytes from 1 to 1,000,000,000")


@dataclass(frozen=True)
class QueryResult:
    """The answer: its rows, or the first of them (`truncated`); seconds as the reader waited."""

    frame: pl.DataFrame
    truncated: bool
    seconds: float


@dataclass(frozen=True)
class QueryRefused:
    """The statement may not or cannot run; `reason` names what is in the way."""

    reason: str


@dataclass(frozen=True)
class QueryStopped:
    """The query was ended before it had an answer; `reason` says by which limit or by whom.

    `peak_memory_mb`: the most the process held, its start of about 150 MB included, where known.
    """

    reason: str
    peak_memory_mb: float | None = None


Answer = QueryResult | QueryRefused | QueryStopped


class _ServiceFailed(Exception):
    """The zygote is gone or could not start; the message says why."""


def run(
    sql: str,
    *,
    published_file: Path,
    schemas: Sequence[str] = ("marts",),
    limits: Limits | None = None,
    cancel: threading.Event | None = None,
    user: str = "",
    parameters: Mapping[str, wire.Value] | None = None,
) -> Answer:
    """Run one typed statement on a published file.

    `parameters`: a text, number, date or None for each $name of the statement, bound by the engine
    and never written into the text. A name without a value, a value that is not used or is of
    another type is a refusal that names the parameter.

    At most two run at once, and one of a user; another waits, outside its own limit of time. `user`
    is any name that tells users apart; without one no user is told from another. `cancel`, set from
    another thread, ends query or wait. Raises ValueError for a schema that is no plain name.
    """
    try:
        request = _request(sql, published_file, schemas, limits or Limits(), parameters)
    except wire.NoValue as why:
        return QueryRefused(str(why))
    return _Service.current().ask(request, cancel or threading.Event(), user)


def warm() -> Protections:
    """Start the zygote now instead of with the first query; what the kernel holds on this machine."""
    return _Service.current().start().protections


def retire() -> None:
    """End the process that waits for the next query: the next one is as slow as the first."""
    _Service.current().retire()


def _request(
    sql: str,
    file: Path,
    schemas: Sequence[str],
    limits: Limits,
    parameters: Mapping[str, wire.Value] | None = None,
) -> dict[str, Any]:
    if odd := [name for name in schemas if not name.isidentifier() or not name.isascii()]:
        raise ValueError(f"schemas {', '.join(odd)}: give plain names of schemas, such as marts")
    return {
        "sql": sql,
        "file": str(file.resolve()),
        "schemas": list(schemas),
        "seconds": limits.seconds,
        "memory_mb": limits.memory_mb,
        "rows": limits.rows,
        "bytes": limits.bytes,
        "parameters": wire.tag(parameters or {}),
        "is_gated": True,
    }


def _opening(request: dict[str, Any], own_user: bool) -> dict[str, Any]:
    """What a child is told before its query; `state` tells one file of a name from another."""
    try:
        found = Path(request["file"]).stat()
    except OSError:
        state = None
    else:
        state = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]
    told = {key: request[key] for key in ("file", "seconds", "memory_mb")}
    return told | {"own_user": own_user, "idle_seconds": IDLE_SECONDS, "state": state}


class _Zygote:
    """The process that forks, and the socket on which it is asked to."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = (
            f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
            f"from dashboards.sqllab.zygote import main; main({theirs.fileno()})"
        )
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # An interrupt from the keyboard is for the server, which ends this by hanging up.
                start_new_session=True,
            )
        self.control = ours
        ours.settimeout(_START_SECONDS)
        try:
            told = ours.recv(1024)
        except TimeoutError:
            told = b""
        if not told:
            self.close()
            raise _ServiceFailed("the process for typed SQL did not start; see the server's log")
        self.protections = Protections(**json.loads(told))

    def fork(self, child: socket.socket, life: socket.socket) -> None:
        """Have a child serve one socket and be told of its end by the other. Raises OSError."""
        socket.send_fds(self.control, [b"?"], [child.fileno(), life.fileno()])

    def close(self) -> None:
        """Hang up, which ends it with all its children."""
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class _Child:
    """A process for one query: a socket to talk by, and one that ends it and tells of its end."""

    def __init__(self, zygote: Callable[[], _Zygote], opening: dict[str, Any]) -> None:
        self.opening = opening
        self.socket, theirs = socket.socketpair()
        self.life, their_life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with closing(theirs), closing(their_life):
                self.zygote = _fork(zygote, theirs, their_life)
            self.socket.setblocking(False)
            # A new socket has room for it.
            self.socket.send(wire.pack(opening))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _ServiceFailed(
                    "the process for typed SQL has ended; send it again"
                ) from error
            raise

    def is_waiting(self) -> bool:
        """It has not ended, by itself or with its zygote: neither socket has anything to read."""
        return not select.select([self.socket, self.life], [], [], 0)[0]

    def close(self) -> None:
        """End it, where it has not ended."""
        self.socket.close()
        self.life.close()


class _Service:
    """One zygote of this process, how many queries run at once, and a child for the next."""

    _lock = threading.Lock()
    _of: dict[int, "_Service"] = {}  # noqa: RUF012 - by process id: a fork of ours has none

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._zygote: _Zygote | None = None
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._users = threading.Condition()
        self._busy: set[str] = set()
        self._keeping = threading.Lock()
        self._spare: _Child | None = None

    @classmethod
    def current(cls) -> "_Service":
        with cls._lock:
            if os.getpid() not in cls._of:
                cls._of[os.getpid()] = cls()
                atexit.register(cls._of[os.getpid()].close)
            return cls._of[os.getpid()]

    def start(self) -> _Zygote:
        with self._starting:
            if self._zygote is None or self._zygote.process.poll() is not None:
                if self._zygote is not None:
                    self._zygote.close()
                    self._zygote = None
                self._zygote = _Zygote()
            return self._zygote

    def close(self) -> None:
        self.retire()
        with self._starting:
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None

    def retire(self) -> None:
        """End the process that waits for the next query, where there is one."""
        with self._keeping:
            if self._spare is not None:
                self._spare.close()
            self._spare = None

    def _child(self, opening: dict[str, Any]) -> _Child:
        """A process for a query: the one that waits where it was opened alike, or a new one."""
        zygote = self.start()
        with self._keeping:
            spare, self._spare = self._spare, None
        if spare is not None:
            if spare.zygote is zygote and spare.opening == opening and spare.is_waiting():
                return spare
            spare.close()
        return _Child(self.start, opening)

    def _keep(self, opening: dict[str, Any]) -> None:
        """Have a process opened for the next query, which most often asks the same file.

        It costs a query half its time to wait for the engine's start. What waits has run nothing,
        and runs one query as any other.
        """
        if opening["state"] is None or self._spare is not None:
            return
        try:
            child = _Child(self.start, opening)
        except _ServiceFailed:
            return
        with self._keeping:
            # Another thread may have been quicker.
            if self._spare is None:
                self._spare = child
            else:
                child.close()

    def ask(self, request: dict[str, Any], cancel: threading.Event, user: str = "") -> Answer:
        if len(request["sql"]) > LONGEST:
            return QueryRefused(
                f"the text has {len(request['sql']):,} characters; {LONGEST:,} is the most"
            )
        with self._slot(cancel, user) as has_slot:
            if not has_slot:
                return QueryStopped("cancelled before it began")
            try:
                held = self.start().protections
                if not held.keep_files_apart:
                    return QueryRefused(confinement.OFF)
                opening = _opening(request, held.own_user)
                answer = _Query(request, cancel).ask(self._child(opening))
                self._keep(opening)
                return answer
            except _ServiceFailed as failed:
                return QueryStopped(str(failed))

    @contextmanager
    def _slot(self, cancel: threading.Event, user: str) -> Generator[bool]:
        with self._alone(cancel, user) as is_alone:
            while not (got := is_alone and self._slots.acquire(timeout=_LOOK_SECONDS)):
                if cancel.is_set():
                    break
            try:
                yield got
            finally:
                if got:
                    self._slots.release()

    @contextmanager
    def _alone(self, cancel: threading.Event, user: str) -> Generator[bool]:
        """Whether the user may go on: no other query of theirs runs or waits for a slot."""
        with self._users:
            while (is_busy := user in self._busy) and not cancel.is_set():
                self._users.wait(_LOOK_SECONDS)
            if user and not is_busy:
                self._busy.add(user)
        try:
            yield not is_busy
        finally:
            if user and not is_busy:
                with self._users:
                    self._busy.discard(user)
                    self._users.notify_all()


class _Query:
    """One query from the fork to the answer."""

    def __init__(self, request: dict[str, Any], cancel: threading.Event) -> None:
        self.cancel = cancel
        self.began = time.monotonic()
        self.request = request
        self.deadline = self.began + request["seconds"] + GRACE_SECONDS
        # Arrow adds heads and padding to what the child counted.
        self.most = 2 * request["bytes"] + 1_000_000
        self.killed: str | None = None

    def ask(self, child: _Child) -> Answer:
        with closing(child):
            message = self._converse(child.socket, child.life)
            if message is not None:
                return self._answer(*message, child.life)
            return self._ended(child.life)

    def _converse(
        self, ours: socket.socket, life: socket.socket
    ) -> tuple[dict[str, Any], memoryview] | None:
        """The child's message; None where it ended, or was killed, without a whole one."""
        to_send = memoryview(wire.pack(self.request))
        data = bytearray()
        poll = select.poll()
        while True:
            poll.register(ours, select.POLLIN | (select.POLLOUT if to_send else 0))
            left = self.deadline - time.monotonic()
            if self.cancel.is_set() or left <= 0:
                self._kill(life, "cancelled" if self.cancel.is_set() else self._too_long())
                return None
            if not poll.poll(min(left, _LOOK_SECONDS) * 1000):
                continue
            try:
                if to_send:
                    to_send = to_send[ours.send(to_send) :]
                if not (part := ours.recv(1 << 20)):
                    return None
                data += part
                if (message := wire.unpack(data, self.most)) is not None:
                    return message
            except BlockingIOError:
                continue
            except ConnectionError:
                return None
            except wire.Malformed as why:
                self._kill(life, f"the process of the query sent {why}, and was ended")
                return None

    def _kill(self, life: socket.socket, reason: str) -> None:
        self.killed = reason
        # It may have ended meanwhile.
        with suppress(OSError):
            life.send(b"k")

    def _answer(self, head: dict[str, Any], body: memoryview, life: socket.socket) -> Answer:
        if head.get("kind") == "refused":
            return QueryRefused(wire.words(head, "reason"))
        if head.get("kind") != "result":
            _, peak = _how_it_ended(life)
            return QueryStopped(self._why(head), peak)
        try:
            frame = answer.read(body, rows=self.request["rows"])
        except answer.Forged as why:
            return QueryStopped(
                f"the process of the query sent an answer {why}, which was thrown away; tell the "
                "operator"
            )
        except answer.NotShown as why:
            return QueryStopped(
                f"the answer has a type that cannot be shown ({why}); cast it to varchar"
            )
        return QueryResult(frame, bool(head.get("truncated")), time.monotonic() - self.began)

    def _why(self, head: dict[str, Any]) -> str:
        if head.get("why") == "time":
            return self._too_long()
        if head.get("why") == "memory":
            return self._too_much()
        return f"the query was not run: {wire.words(head, 'words')}; tell the operator"

    def _ended(self, life: socket.socket) -> QueryStopped:
        """A stop told in words, where the child could not tell it itself."""
        status, peak = _how_it_ended(life)
        if self.killed is not None:
            return QueryStopped(self.killed, peak)
        if status is None:
            return QueryStopped("the process for typed SQL ended; send the query again")
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGXCPU:
            return QueryStopped(self._too_long(), peak)
        # bad_alloc without a handler aborts; a stack that cannot grow, and memory that the kernel
        # wants back, end otherwise.
        if number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL):
            return QueryStopped(f"{self._too_much()} (ended by signal {number})", peak)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == wire.OUT_OF_MEMORY:
            return QueryStopped(self._too_much(), peak)
        return QueryStopped(
            f"the process of the query ended without an answer (status {status}); send it again, "
            "and tell the operator if it repeats",
            peak,
        )

    def _too_long(self) -> str:
        return (
            f"stopped after {self.request['seconds']:g} s, the most a query may take; ask for "
            "less: fewer months or columns, a narrower join"
        )

    def _too_much(self) -> str:
        return (
            f"it needed more than the {self.request['memory_mb']:,} MB a query may take; ask for "
            "less: fewer rows or columns to sort and group, shorter texts and lists"
        )


def _fork(zygote: Callable[[], _Zygote], child: socket.socket, life: socket.socket) -> _Zygote:
    """Ask for a child; a zygote that has just ended is started once more. Raises _ServiceFailed."""
    for _ in range(2):
        asked = zygote()
        try:
            asked.fork(child, life)
        except OSError:
            continue
        return asked
    raise _ServiceFailed("the process for typed SQL cannot be reached; restart the dashboards")


def _how_it_ended(life: socket.socket) -> tuple[int | None, float | None]:
    """Wait status and peak megabytes of a child that is ending; None where nobody can tell."""
    life.settimeout(5)
    try:
        status, kilobytes = wire.ENDED.unpack(life.recv(64))
    except (OSError, ValueError, wire.struct.error):
        return None, None
    return status, kilobytes / 1024
