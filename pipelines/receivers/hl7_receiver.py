"""The HL7 receiver: MLLP over TCP, every message encrypted and synced before it is acknowledged.

One event loop in a thread of its own serves all connections and waits for nothing but the network;
the thread of the spool writes and syncs what has arrived meanwhile, as one group. Of a message only
its header is read here, and no line of the log holds a value of it.
"""

import asyncio
import contextlib
import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.receivers.hl7_acknowledge import (
    Outcome,
    acknowledgement,
    reply_code,
)
from pipelines.receivers.hl7_connection import Connection, Reply, count_in
from pipelines.receivers.listeners import Listener
from pipelines.receivers.spool import Position, SpoolRefused, SpoolWriter
from pipelines.receivers.timing import spread_ms

log = logging.getLogger("imaging.receive.hl7")

TICK_SECONDS = 0.5
# How often the log repeats that messages are refused.
REPEAT_SECONDS = 60.0
REPLIES_TIMED = 4096
BACKLOG = 128


@dataclass(frozen=True)
class Hl7Listening:
    """Where and how the receiver listens.

    `largest_message` in bytes; `message_seconds` is the time a peer has for one message,
    `idle_seconds` how long a connection may be silent. `time_zone` is that of the answers' MSH-7.
    """

    host: str = "127.0.0.1"
    most_connections: int = 64
    largest_message: int = 16 << 20
    message_seconds: float = 60.0
    idle_seconds: float = 3600.0
    time_zone: str = "Europe/London"
    tls: ssl.SSLContext | None = None


@dataclass
class Hl7Counts:
    """What the receiver did since it started.

    `received` messages are safe on disk; `acknowledged` counts answers by MSA-1 (`none` where the
    sender wanted none), `refused` messages by reason, `connections_dropped` by reason.
    """

    connections: int = 0
    connections_refused: dict[str, int] = field(default_factory=dict)
    connections_dropped: dict[str, int] = field(default_factory=dict)
    received: int = 0
    received_bytes: int = 0
    not_for_production: int = 0
    frames_broken_off: int = 0
    skipped_bytes: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Counts by name, for JSON."""
        return {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }


@dataclass
class _OfFeed:
    """What one feed has sent: messages kept, and when the latest was (UTC)."""

    received: int = 0
    received_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        at = self.received_at
        return {"received": self.received, "received_at": at and at.isoformat(timespec="seconds")}


class Hl7Receiver:
    """MLLP listeners over a spool. Start it, and stop it before the spool is closed."""

    def __init__(
        self,
        spool: SpoolWriter,
        listeners: Sequence[Listener],
        listening: Hl7Listening,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare the receiver; `now` is the clock (UTC), `on_end` is called if it ends by itself."""
        self.spool, self.listeners, self.listening = spool, listeners, listening
        self.now, self.on_end = now, on_end
        self.counts = Hl7Counts()
        self.feeds = {one.feed_id: _OfFeed() for one in listeners}
        self.reply_seconds: deque[float] = deque(maxlen=REPLIES_TIMED)
        self.ports: list[int] = []
        # Half of what may wait, so that the spool never makes the loop wait.
        self.most_unsafe = spool.limits.pending_bytes // 2
        self.unsafe_bytes = 0
        self.connections: set[Connection] = set()
        self.paused: dict[Connection, None] = {}
        self.known: set[tuple[str, str]] = set()
        self.is_stopping = False
        self._safe: deque[tuple[Reply, BaseException | None]] = deque()
        self._is_waking = False
        self._refusals = _Refusals()
        self._zone = ZoneInfo(listening.time_zone)
        self._stamped = (0, b"")
        self._run = f"IMG{int(time.time()):08X}"
        self._answers = 0
        self._grace = 0.0
        self._started, self._stop = threading.Event(), asyncio.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Listen; returns when every port is open. Raises OSError when one cannot be had."""
        self._thread = threading.Thread(target=self._serve, name="hl7-receiver", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.stop()

    def stop(self, *, grace: float = 10.0) -> None:
        """Take nothing new, answer what was received within `grace` seconds, close connections.

        Raises what ended the receiver, where something did.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._grace = grace
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self.loop.call_soon_threadsafe(self._stop.set)
        thread.join()
        if self._failure is not None:
            raise self._failure

    def document(self) -> dict[str, Any]:
        """State and counts, for JSON."""
        return {
            "listening": [
                {"port": port, "feed_id": one.feed_id}
                for port, one in zip(self.ports, self.listeners, strict=False)
            ],
            "connections_open": len(self.connections),
            "connections_held_back": len(self.paused),
            **self.counts.document(),
            "feeds": {name: found.document() for name, found in self.feeds.items()},
            "reply_ms": spread_ms(self.reply_seconds.copy()),
        }

    # ------------------------------------------------------------ the loop

    def _serve(self) -> None:
        try:
            asyncio.run(self._listen())
        except BaseException as error:
            self._failure = error
            self.on_end()
        finally:
            self._started.set()

    async def _listen(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(_named_only)
        servers: list[asyncio.Server] = []
        try:
            for one in self.listeners:
                server = await self.loop.create_server(
                    partial(Connection, self, one), self.listening.host, one.port, backlog=BACKLOG
                )
                servers.append(server)
                self.ports.append(server.sockets[0].getsockname()[1])
            self._started.set()
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)
                self._tick()
        finally:
            for server in servers:
                server.close()
            await self._drain()

    def _tick(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            connection.tick(now)

    async def _drain(self) -> None:
        """Answer what has arrived whole, then close."""
        self.is_stopping = True
        for connection in list(self.connections):
            connection.end()
        ends = time.monotonic() + self._grace
        while self.connections and time.monotonic() < ends:
            await asyncio.sleep(0.01)
            self._tick()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)

    # ------------------------------------------------------------ messages

    def has_room(self) -> bool:
        """Another message may wait for the disk."""
        return self.unsafe_bytes < self.most_unsafe

    def keep(self, message: bytes, reply: Reply) -> None:
        """Hand a message to the spool; its answer follows when it is safe."""
        connection = reply.connection
        try:
            ticket = self.spool.append(
                message,
                feed_id=connection.listener.feed_id,
                sender=connection.address,
                received_at=self.now(),
                patience=1.0,
            )
        except SpoolRefused as refused:
            self.not_kept(reply, str(refused))
            return
        self.unsafe_bytes += reply.size
        ticket.add_done_callback(partial(self._note, reply))

    def _note(self, reply: Reply, ticket: Future[Position]) -> None:
        """Runs in the thread of the spool: wake the loop, once for all that were synced together."""
        self._safe.append((reply, ticket.exception()))
        if not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._is_waking = False
        touched: dict[Connection, None] = {}
        while self._safe:
            reply, error = self._safe.popleft()
            self.unsafe_bytes -= reply.size
            if error is None:
                self._is_safe(reply)
            elif reply.answer is None:
                self.not_kept(reply, str(error))
            touched[reply.connection] = None
        for connection in touched:
            connection.flush()
        for connection in list(self.paused):
            connection.take()

    def _is_safe(self, reply: Reply) -> None:
        counts, feed = self.counts, self.feeds[reply.connection.listener.feed_id]
        counts.received += 1
        counts.received_bytes += reply.size
        counts.not_for_production += reply.header.first(11) != b"P"
        feed.received += 1
        feed.received_at = self.now()
        self._refusals.end()
        if reply.answer is None:
            self.reply(reply, Outcome.SAFE)
            self.reply_seconds.append(time.monotonic() - reply.began)

    def not_kept(self, reply: Reply, reason: str) -> None:
        """Answer that a message is not safe; the sender keeps it, and its connection ends."""
        count_in(self.counts.refused, reason)
        self._refusals.add(reason)
        self.reply(reply, Outcome.NOT_KEPT, reason)
        reply.connection.end()

    def refuse(self, reply: Reply, reason: str) -> None:
        """Answer that sending a message again will not help."""
        count_in(self.counts.refused, reason)
        if reason not in reply.connection.refused:  # said once of each connection
            reply.connection.refused.add(reason)
            log.warning("message of %s refused: %s", reply.connection, reason)
        self.reply(reply, Outcome.REFUSED, reason)

    def reply(self, reply: Reply, outcome: Outcome, text: str = "") -> None:
        """Fill in the answer to a message."""
        always_aa = reply.connection.listener.always_aa
        code = reply_code(outcome, reply.header, always_aa=always_aa)
        count_in(self.counts.acknowledged, code or "none")
        if code is None:
            reply.answer = b""
            return
        self._answers += 1
        message = acknowledgement(
            reply.header,
            code,
            control_id=f"{self._run}{self._answers}".encode(),
            at=self._stamp(),
            text=text,
        )
        reply.answer = b"\x0b" + message + b"\x1c\r"

    def _stamp(self) -> bytes:
        """The current second as an HL7 time with its offset."""
        second = int(time.time())
        if second != self._stamped[0]:
            local = datetime.fromtimestamp(second, self._zone)
            self._stamped = (second, local.strftime("%Y%m%d%H%M%S%z").encode())
        return self._stamped[1]


class _Refusals:
    """Tells the log that messages are not kept: at once, then every minute, then that it is over."""

    def __init__(self) -> None:
        self.count, self.began, self.told = 0, 0.0, 0.0

    def add(self, reason: str) -> None:
        now = time.monotonic()
        if not self.count:
            self.began = now
        self.count += 1
        if self.count == 1 or now - self.told >= REPEAT_SECONDS:
            self.told = now
            log.error("messages are answered AE, %d so far: %s", self.count, reason)

    def end(self) -> None:
        if self.count:
            seconds = time.monotonic() - self.began
            log.warning("messages are kept again after %.0f s; %d were not", seconds, self.count)
            self.count = 0


def _named_only(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the name of an error only: a traceback could hold values."""
    error = context.get("exception")
    log.error("internal error %s: %s", type(error).__name__, context.get("message", ""))
