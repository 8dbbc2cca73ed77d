"""One MLLP connection of the HL7 receiver: its frames, and its answers in their order."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pipelines.receivers.addresses import is_among
from pipelines.receivers.hl7_acknowledge import NO_HEADER, Header, header_of
from pipelines.receivers.keepalive import notice_dead_peer
from pipelines.receivers.listeners import Listener
from pipelines.receivers.mllp_frames import END, Frames, TooLarge
from pipelines.sources.dicom_sockets import acknowledge_at_once

if TYPE_CHECKING:
    from pipelines.receivers.hl7_receiver import Hl7Receiver

log = logging.getLogger("imaging.receive.hl7")

# A message waits so long for the disk before its sender is told to come back later.
PATIENCE_SECONDS = 30.0
HANDSHAKE_SECONDS = 10.0
# A connection that is to be closed has so long to take its last answer.
CLOSING_SECONDS = 10.0
# A frame that ends with 0x1C alone is whole when nothing follows for so long.
SETTLE_SECONDS = 1.0
# Messages of one connection that may wait for the disk; MLLP itself has one.
MOST_IN_FLIGHT = 64
# Who sends more than this outside frames does not speak MLLP.
MOST_SKIPPED = 1 << 16


def count_in(counts: dict[str, int], what: str) -> None:
    """One more of what was counted."""
    counts[what] = counts.get(what, 0) + 1


class Reply:
    """The answer to one message, in its place among those of the connection.

    `answer` is None until it is known, and empty where the sender wants none.
    """

    __slots__ = ("answer", "began", "connection", "header", "size")

    def __init__(self, connection: Connection, header: Header, size: int) -> None:
        self.connection, self.header, self.size = connection, header, size
        self.began = time.monotonic()
        self.answer: bytes | None = None


class Connection(asyncio.Protocol):
    """One connection: its frames, and its answers in the order of its messages."""

    def __init__(self, receiver: Hl7Receiver, listener: Listener) -> None:
        self.receiver, self.listener = receiver, listener
        self.frames = Frames(receiver.listening.largest_message)
        self.replies: deque[Reply] = deque()
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
            count_in(receiver.counts.connections_refused, reason)
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
            count_in(self.receiver.counts.connections_refused, "TLS failed")
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
        count_in(self.receiver.counts.connections_dropped, reason)
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
            reply = Reply(self, header_of(found.head) or NO_HEADER, 0)
            self.replies.append(reply)
            most = receiver.listening.largest_message
            receiver.refuse(reply, f"it is larger than {most:,} bytes")
            self.end(is_draining=not found.has_ended)
            return
        self.messages += 1
        header = header_of(found)
        reply = Reply(self, header or NO_HEADER, len(found))
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
