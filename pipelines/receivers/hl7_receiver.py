"""The HL7 receiver: MLLP over TCP, every message encrypted and synced before it is acknowledged.

One event loop in a thread of its own serves all connections and waits for nothing but the network;
the thread of the spool writes and syncs what has arrived meanwhile, as one group. Of a message only
its header is read here, and no line of the log holds a value of it.
"""

import asyncio
import contextlib
import logging
import socket
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

from pipelines.receivers.addresses import is_among
from pipelines.receivers.hl7_acknowledge import (
    NO_HEADER,
    Header,
    Outcome,
    acknowledgement,
    header_of,
    reply_code,
)
from pipelines.receivers.keepalive import notice_dead_peer
from pipelines.receivers.listeners import Listener
from pipelines.receivers.mllp_frames import END, Frames, TooLarge
from pipelines.receivers.spool import Position, SpoolRefused, SpoolWriter
from pipelines.receivers.timing import spread_ms
from pipelines.sources.dicom_sockets import acknowledge_at_once

log = logging.getLogger("imaging.receive.hl7")

# A message waits so long for the disk before its sender is told to come back later.
PATIENCE_SECONDS = 30.0
HANDSHAKE_SECONDS = 10.0
# A connection that is to be closed has so long to take its last answer.
CLOSING_SECONDS = 10.0
# A frame that ends with 0x1C alone is whole when nothing follows for so long.
SETTLE_SECONDS = 1.0
TICK_SECONDS = 0.5
# Messages of one connection that may wait for the disk; MLLP itself has one.
MOST_IN_FLIGHT = 64
# Who sends more than this outside frames does not speak MLLP.
MOST_SKIPPED = 1 << 16
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


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


class _Reply:
    """The answer to one message, in its place among those of the connection.

    `answer` is None until it is known, and empty where the sender wants none.
    """

    __slots__ = ("answer", "began", "connection", "header", "size")

    def __init__(self, connection: "_Connection", header: Header, size: int) -> None:
        self.connection, self.header, self.size = connection, header, size
        self.began = time.monotonic()
        self.answer: bytes | None = None


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
        self.connections: set[_Connection] = set()
        self.paused: dict[_Connection, None] = {}
        self.known: set[tuple[str, str]] = set()
        self.is_stopping = False
        self._safe: deque[tuple[_Reply, BaseException | None]] = deque()
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
                    partial(_Connection, self, one), self.listening.host, one.port, backlog=BACKLOG
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

    def keep(self, message: bytes, reply: _Reply) -> None:
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

    def _note(self, reply: _Reply, ticket: Future[Position]) -> None:
        """Runs in the thread of the spool: wake the loop, once for all that were synced together."""
        self._safe.append((reply, ticket.exception()))
        if not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._is_waking = False
        touched: dict[_Connection, None] = {}
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

    def _is_safe(self, reply: _Reply) -> None:
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

    def not_kept(self, reply: _Reply, reason: str) -> None:
        """Answer that a message is not safe; the sender keeps it, and its connection ends."""
        _count(self.counts.refused, reason)
        self._refusals.add(reason)
        self.reply(reply, Outcome.NOT_KEPT, reason)
        reply.connection.end()

    def refuse(self, reply: _Reply, reason: str) -> None:
        """Answer that sending a message again will not help."""
        _count(self.counts.refused, reason)
        if reason not in reply.connection.refused:  # said once of each connection
            reply.connection.refused.add(reason)
            log.warning("message of %s refused: %s", reply.connection, reason)
        self.reply(reply, Outcome.REFUSED, reason)

    def reply(self, reply: _Reply, outcome: Outcome, text: str = "") -> None:
        """Fill in the answer to a message."""
        always_aa = reply.connection.listener.always_aa
        code = reply_code(outcome, reply.header, always_aa=always_aa)
        _count(self.counts.acknowledged, code or "none")
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


class _Connection(asyncio.Protocol):
    """One connection: its frames, and its answers in the order of its messages."""

    def __init__(self, receiver: Hl7Receiver, listener: Listener) -> None:
        self.receiver, self.listener = receiver, listener
        self.frames = Frames(receiver.listening.largest_message)
        self.replies: deque[_Reply] = deque()
        self.address = "an unknown address"
        self.transport: Any = None
        self.raw: Any = None
        self.socket: Any = None
        self.shaking: asyncio.Task[None] | None = None
        self.heard = time.monotonic()
        self.frame_began: float | None = None
        self.ends_at: float | None = None
        self.is_draining = False
        self.is_lost = False
        self.can_write = True
        self.messages = 0
        self.skipped = 0
        self.refused: set[str] = set()

    def __str__(self) -> str:
        return f"{self.listener.feed_id} at {self.address}"

    # ------------------------------------------------------------ open and close

    def connection_made(self, transport: Any) -> None:
        """Look at the address, then shake hands or begin."""
        receiver, self.raw = self.receiver, transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else self.address
        reason = self._refusal()
        if reason is not None:
            _count(receiver.counts.connections_refused, reason)
            log.warning("connection for %s refused: %s", self, reason)
            transport.abort()
            return
        receiver.connections.add(self)
        self.socket = transport.get_extra_info("socket")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        notice_dead_peer(self.socket)
        if receiver.listening.tls is None:
            self._begin(transport)
            return
        transport.pause_reading()
        self.shaking = receiver.loop.create_task(self._shake_hands(receiver.listening.tls))

    def _refusal(self) -> str | None:
        receiver = self.receiver
        if not is_among(self.address.partition("%")[0], self.listener.addresses):
            return "not in the list of addresses"
        if len(receiver.connections) >= receiver.listening.most_connections:
            return "too many connections"
        return "the receiver is stopping" if receiver.is_stopping else None

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        try:
            opened = await self.receiver.loop.start_tls(
                self.raw,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:  # an SSLError is one, so is a time-out
            _count(self.receiver.counts.connections_refused, "TLS failed")
            log.warning("TLS with %s failed: %s", self, getattr(error, "reason", "no handshake"))
            self.abort()
            return
        self._begin(opened)

    def _begin(self, transport: Any) -> None:
        self.transport = transport
        self.receiver.counts.connections += 1
        self.heard = time.monotonic()
        found = (self.listener.feed_id, self.address)
        if found not in self.receiver.known:
            self.receiver.known.add(found)
            log.info("first connection for %s", self)
        self.take()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; messages that are not answered yet may still become safe."""
        receiver = self.receiver
        receiver.connections.discard(self)
        receiver.paused.pop(self, None)
        receiver.counts.frames_broken_off += self.frames.broken_off + self.frames.is_within
        self.frames = Frames(0)
        self.is_lost = True

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read its answers."""
        settled = self.frames.settle()
        if settled is not None and self.ends_at is None:
            self._handle(settled)
        self.end()
        return self.receiver.listening.tls is None

    def end(self, *, is_draining: bool = False) -> None:
        """Take nothing more; close when everything is answered."""
        if self.ends_at is None:
            self.ends_at = time.monotonic() + CLOSING_SECONDS
            self.is_draining = is_draining
            self.receiver.paused.pop(self, None)
            if self.transport is not None:
                # Who is refused within a large message reads the answer after having sent it all.
                (self.transport.resume_reading if is_draining else self.transport.pause_reading)()
        self.flush()

    def abort(self) -> None:
        """Close at once."""
        if self.shaking is not None:
            self.shaking.cancel()
        (self.transport or self.raw).abort()
        self.receiver.connections.discard(self)

    def _drop(self, reason: str) -> None:
        _count(self.receiver.counts.connections_dropped, reason)
        log.warning("connection of %s ended after %d messages: %s", self, self.messages, reason)
        self.end()

    # ------------------------------------------------------------ in

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.ends_at is not None:
            if self.is_draining and END in data:
                self.is_draining = False
                self.flush()
            return
        self.heard = time.monotonic()
        if not self.messages and self.transport is not None and data.startswith(b"\x16\x03"):
            self._drop("it speaks TLS, and this receiver does not")
            return
        self.frames.feed(data)
        if self.transport is not None:
            self.take()

    def take(self) -> None:
        """Hand over whole messages while there is room; else read no more until there is."""
        while self.ends_at is None:
            if not self._may_take():
                self.transport.pause_reading()
                self.receiver.paused[self] = None
                self.frame_began = None  # it is not the peer that is slow
                return
            found = self.frames.next()
            if found is None:
                break
            self._handle(found)
        if self.ends_at is not None:
            return
        if self in self.receiver.paused:
            del self.receiver.paused[self]
            self.transport.resume_reading()
        if self.frames.skipped:
            self._note_skipped()
        if not self.frames.is_within:
            self.frame_began = None
        else:
            self.frame_began = self.frame_began or time.monotonic()
            acknowledge_at_once(self.socket)

    def _note_skipped(self) -> None:
        """Count what came outside frames; a peer that sends nothing else is let go."""
        self.receiver.counts.skipped_bytes += self.frames.skipped
        if not self.skipped:
            log.warning("%s sends bytes outside MLLP frames, which are skipped", self)
        self.skipped += self.frames.skipped
        self.frames.skipped = 0
        if self.skipped > MOST_SKIPPED and not self.messages:
            self._drop("it does not speak MLLP")

    def _may_take(self) -> bool:
        in_flight = len(self.replies) < MOST_IN_FLIGHT
        return in_flight and self.can_write and self.receiver.has_room()

    def _handle(self, found: bytes | TooLarge) -> None:
        receiver = self.receiver
        self.frame_began = None
        if isinstance(found, TooLarge):
            reply = _Reply(self, header_of(found.head) or NO_HEADER, 0)
            self.replies.append(reply)
            most = receiver.listening.largest_message
            receiver.refuse(reply, f"it is larger than {most:,} bytes")
            self.end(is_draining=not found.has_ended)
            return
        self.messages += 1
        header = header_of(found)
        reply = _Reply(self, header or NO_HEADER, len(found))
        self.replies.append(reply)
        if header is None:
            receiver.refuse(reply, "it has no MSH segment")
            self.flush()
            return
        receiver.keep(found, reply)

    # ------------------------------------------------------------ out

    def flush(self) -> None:
        """Write the answers that are known, in order; close where nothing more is to come."""
        known = []
        while self.replies and self.replies[0].answer is not None:
            known.append(self.replies.popleft().answer or b"")
        if self.is_lost:
            return
        if self.transport is None:
            if self.ends_at is not None:
                self.abort()
            return
        if known:
            self.transport.write(b"".join(known))
        if self.ends_at is not None and not self.replies and not self.is_draining:
            self.transport.close()

    def pause_writing(self) -> None:
        """The peer does not read its answers."""
        self.can_write = False

    def resume_writing(self) -> None:
        """It does again."""
        self.can_write = True
        if self in self.receiver.paused:
            self.take()

    # ------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Let go of who is too slow, and tell senders that the disk is."""
        if self.replies and now - self.replies[0].began > PATIENCE_SECONDS:
            for reply in list(self.replies):
                if reply.answer is None and now - reply.began > PATIENCE_SECONDS:
                    # It may yet be synced: sent again it counts once.
                    self.receiver.not_kept(reply, "the disk is too slow")
        if self.ends_at is not None:
            if now > self.ends_at and self.is_draining:
                self.is_draining, self.ends_at = False, now + CLOSING_SECONDS
                self.flush()
            elif now > self.ends_at and not any(r.answer is None for r in self.replies):
                self.abort()
            return
        if self.transport is None or self in self.receiver.paused:
            return
        listening = self.receiver.listening
        if now - self.heard > SETTLE_SECONDS:
            settled = self.frames.settle()
            if settled is not None:
                self._handle(settled)
                return
        if self.frame_began is not None and now - self.frame_began > listening.message_seconds:
            self._drop("a message took too long")
        elif not self.replies and now - self.heard > listening.idle_seconds:
            self._drop("it was silent for too long")


def _named_only(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the name of an error only: a traceback could hold values."""
    error = context.get("exception")
    log.error("internal error %s: %s", type(error).__name__, context.get("message", ""))
