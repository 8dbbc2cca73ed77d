"""Audit messages over syslog: TCP with or without TLS, and UDP; each in the spool as it came.

Syslog has no acknowledgement. Over TCP a connection is read only as fast as its messages are safe
on disk, so that a sender waits and keeps what it could not send; what a broken disk did not take
is lost with its connection. Over UDP nothing tells a sender anything.
"""

import contextlib
import logging
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.receivers.addresses import is_among
from pipelines.receivers.keepalive import notice_dead_peer
from pipelines.receivers.listeners import AuditListener
from pipelines.receivers.spool import Position, SpoolRefused, SpoolWriter
from pipelines.receivers.syslog_frames import FrameTooLarge, SyslogFrames

log = logging.getLogger("imaging.receive.audit")
READ_BYTES = 1 << 16
LARGEST_DATAGRAM = 1 << 16
DATAGRAM_BUFFER = 4 << 20
# How often a thread looks whether it is to stop.
TICK_SECONDS = 0.2
HANDSHAKE_SECONDS = 10.0
# The disk may be behind for so long; over UDP the system's buffer is full by then.
PATIENCE_SECONDS = 30.0
DATAGRAM_PATIENCE_SECONDS = 1.0
# What was read when the time to stop is over has so long to reach the disk, its thread to end.
LAST_PATIENCE_SECONDS = 1.0
LAST_SECONDS = 5.0
# The log names a reason and an address once in so long, and so many of them.
REPEAT_SECONDS = 60.0
MOST_TOLD = 1024


@dataclass(frozen=True)
class AuditListening:
    """How to listen: address, TLS of the TCP ports, bounds.

    `largest_message` in bytes; `idle_seconds` is how long a connection may be silent: long, since
    a syslog sender learns that its connection has ended by losing a message.
    """

    host: str = "127.0.0.1"
    most_connections: int = 64
    largest_message: int = 4 << 20
    idle_seconds: float = 86_400.0
    tls: ssl.SSLContext | None = None


@dataclass
class AuditCounts:
    """What came and what became of it; `received` is safe on disk."""

    received: int = 0
    received_bytes: int = 0
    cut_off: int = 0
    connections: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    feeds: Counter[str] = field(default_factory=Counter)
    last_at: dict[str, datetime] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The counts, for JSON."""
        return {
            "received": self.received,
            "received_bytes": self.received_bytes,
            "cut_off": self.cut_off,
            "connections": self.connections,
            "refused": dict(self.refused),
            "feeds": {
                name: {"received": count, "last_at": self.last_at[name].isoformat()}
                for name, count in sorted(self.feeds.items())
            },
        }


class AuditReceiver:
    """Syslog listeners over a spool. Start it, and stop it before the spool is closed."""

    def __init__(
        self,
        spool: SpoolWriter,
        listeners: Sequence[AuditListener],
        listening: AuditListening,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare the receiver; `now` is the clock (UTC)."""
        self.spool, self.listeners, self.listening, self.now = spool, listeners, listening, now
        self.counts = AuditCounts()
        self.ports: list[int] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._open: set[threading.Thread] = set()
        self._stopping = threading.Event()
        # When reading ends though senders go on (monotonic seconds).
        self._ends = math.inf
        self._lock = threading.Lock()
        # When the log was last told a reason of an address (monotonic seconds), oldest first.
        self._told: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Listen; returns when every port is open. Raises OSError when one cannot be had."""
        try:
            for one in self.listeners:
                opened = _bound(one, self.listening.host)
                self._sockets.append(opened)
                self.ports.append(opened.getsockname()[1])
        except OSError:
            self.stop()
            raise
        for one, opened in zip(self.listeners, self._sockets, strict=True):
            target = self._take_datagrams if one.transport == "udp" else self._accept
            thread = threading.Thread(target=target, args=(one, opened), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, *, grace: float = 10.0) -> None:
        """Take nothing new, spool what has arrived within `grace` seconds, close connections.

        Returns when all is spooled and closed, at the latest some seconds after the grace: a
        thread that the disk still holds then counts nothing that is not in the spool.
        """
        self._ends = time.monotonic() + grace
        self._stopping.set()
        for opened in self._sockets:
            if opened.type == socket.SOCK_STREAM:
                with contextlib.suppress(OSError):  # not every system wakes who accepts
                    opened.shutdown(socket.SHUT_RDWR)
        self._join(self._threads)
        # Nobody accepts any more: what is open now is all there is.
        with self._lock:
            waiting = list(self._open)
        self._join(waiting)
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        for thread in threads:
            thread.join(max(self._ends + LAST_SECONDS - time.monotonic(), 0.0))

    def _is_over(self) -> bool:
        return time.monotonic() >= self._ends

    def document(self) -> dict[str, Any]:
        """State and counts, for JSON."""
        with self._lock:
            return {
                "listening": [
                    {"port": port, "transport": one.transport, "feed_id": one.feed_id}
                    for port, one in zip(self.ports, self.listeners, strict=False)
                ],
                "connections_open": len(self._open),
                **self.counts.document(),
            }

    # ------------------------------------------------------------ TCP

    def _accept(self, listener: AuditListener, opened: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                wire, address = opened.accept()
            except TimeoutError:
                continue
            except OSError as error:  # too many open files, or a peer that left at once
                if self._stopping.is_set():
                    return
                self._tell(f"no connection: {error.strerror}", f"port {listener.port}")
                self._stopping.wait(TICK_SECONDS)
                continue
            refusal = self._refusal(listener, address[0])
            if refusal is not None:
                self._refuse(refusal, address[0])
                wire.close()
                continue
            thread = threading.Thread(
                target=self._converse, args=(listener, wire, address[0]), daemon=True
            )
            with self._lock:
                self._open.add(thread)
                self.counts.connections += 1
            thread.start()

    def _refusal(self, listener: AuditListener, address: str) -> str | None:
        if not is_among(address, listener.addresses):
            return "address is not listed"
        with self._lock:
            is_full = len(self._open) >= self.listening.most_connections
        return "too many connections" if is_full else None

    def _converse(self, listener: AuditListener, wire: socket.socket, address: str) -> None:
        """Read one connection until it ends, is refused, or the receiver stops."""
        try:
            with contextlib.closing(self._secured(wire)) as secured:
                self._read(listener, secured, address)
        except (OSError, ssl.SSLError) as error:
            self._refuse("connection broke off", f"{address}: {type(error).__name__}")
        except SpoolRefused as error:
            self._refuse(str(error), address)
        except FrameTooLarge:
            self._refuse("message is too large", address)
        finally:
            wire.close()
            with self._lock:
                self._open.discard(threading.current_thread())

    def _secured(self, wire: socket.socket) -> socket.socket:
        notice_dead_peer(wire)
        if self.listening.tls is None:
            wire.settimeout(TICK_SECONDS)
            return wire
        wire.settimeout(HANDSHAKE_SECONDS)
        secured = self.listening.tls.wrap_socket(wire, server_side=True)
        secured.settimeout(TICK_SECONDS)
        return secured

    def _read(self, listener: AuditListener, wire: socket.socket, address: str) -> None:
        frames = SyslogFrames(self.listening.largest_message)
        broken: OSError | None = None
        heard = time.monotonic()
        while not self._is_over():
            try:
                data = wire.recv(READ_BYTES)
            except TimeoutError:
                # What has arrived is read to its end before the receiver stops.
                if self._stopping.is_set():
                    break
                if time.monotonic() - heard > self.listening.idle_seconds:
                    self._refuse("connection was silent for too long", address)
                    break
                continue
            except OSError as error:
                broken = error
                break
            if not data:
                break
            heard = time.monotonic()
            try:
                found = frames.feed(data)
            except FrameTooLarge as error:
                self._keep(listener, error.before, address, PATIENCE_SECONDS)
                raise
            self._keep(listener, found, address, PATIENCE_SECONDS)
        # The harvest rejects a piece of a message by its rule, where all can see it.
        left = frames.end()
        with self._lock:
            self.counts.cut_off += len(left)
        self._keep(listener, left, address, PATIENCE_SECONDS)
        if broken is not None:
            raise broken

    # ------------------------------------------------------------ UDP

    def _take_datagrams(self, listener: AuditListener, opened: socket.socket) -> None:
        while not self._is_over():
            try:
                data, address = opened.recvfrom(LARGEST_DATAGRAM)
            except TimeoutError:
                if self._stopping.is_set():
                    return
                continue
            except OSError as error:
                if self._stopping.is_set():
                    return
                self._tell(f"no datagram: {error.strerror}", f"port {listener.port}")
                self._stopping.wait(TICK_SECONDS)
                continue
            if not is_among(address[0], listener.addresses):
                self._refuse("address is not listed", address[0])
                continue
            try:
                message = data.strip(b" \t\r\n\x00")
                self._keep(
                    listener, [message] if message else [], address[0], DATAGRAM_PATIENCE_SECONDS
                )
            except SpoolRefused as error:
                self._refuse(str(error), address[0])

    # ------------------------------------------------------------ both

    def _keep(
        self, listener: AuditListener, messages: list[bytes], address: str, patience: float
    ) -> None:
        """Spool messages and wait until they are safe; raises SpoolRefused."""
        at = self.now()
        tickets: list[tuple[bytes, Future[Position]]] = []
        refused: SpoolRefused | None = None
        for message in messages:
            try:
                ticket = self.spool.append(
                    message,
                    feed_id=listener.feed_id,
                    sender=address,
                    received_at=at,
                    patience=self._within(patience),
                )
            except SpoolRefused as error:
                refused = error
                break
            tickets.append((message, ticket))
        # What the spool took beside what it refused is safe none the less, and counts.
        for message, ticket in tickets:
            try:
                ticket.result(self._within(PATIENCE_SECONDS))
            except TimeoutError:
                raise SpoolRefused("the disk is too slow") from None
            except SpoolRefused as error:
                refused = error
                continue
            with self._lock:
                self.counts.received += 1
                self.counts.received_bytes += len(message)
                self.counts.feeds[listener.feed_id] += 1
                self.counts.last_at[listener.feed_id] = at
        if refused is not None:
            raise refused

    def _within(self, patience: float) -> float:
        """So much patience with the disk as is left when the receiver stops."""
        return min(patience, max(self._ends - time.monotonic(), LAST_PATIENCE_SECONDS))

    def _refuse(self, reason: str, whom: str) -> None:
        with self._lock:
            self.counts.refused[reason] += 1
        self._tell(reason, whom)

    def _tell(self, reason: str, whom: str) -> None:
        """Log it, unless it was within the last minute: any stranger could fill the disk."""
        at = time.monotonic()
        with self._lock:
            while self._told and next(iter(self._told.values())) <= at - REPEAT_SECONDS:
                del self._told[next(iter(self._told))]
            if (reason, whom) in self._told or len(self._told) >= MOST_TOLD:
                return
            self._told[reason, whom] = at
            count = self.counts.refused[reason]
        log.warning("%s: %s (%d in all)", whom, reason, count)


def _bound(listener: AuditListener, host: str) -> socket.socket:
    is_udp = listener.transport == "udp"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM)
    try:
        if is_udp:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, listener.port))
        if not is_udp:
            opened.listen(128)
        opened.settimeout(TICK_SECONDS)
    except OSError:
        opened.close()
        raise
    return opened
