"""Sockets of DICOM associations without the delays of small writes, and with bounds.

A DICOM exchange is made of small writes: Nagle's algorithm on one side waits for the delayed
acknowledgement of the other, up to 40 ms each time. TCP_NODELAY and, after every receive,
TCP_QUICKACK end that. pynetdicom sets neither, nor does it bound what a peer may announce.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

# A longer unit is none that was agreed on. The largest honest one asks for an association: 128
# contexts of 40 transfer syntaxes each come to 300 KB.
LARGEST_UNIT = 1 << 20
PIECE = 1 << 17
SECONDS_FOR_A_UNIT = 60


class PeerTooSlow(OSError):
    """A unit did not arrive whole within the time that a peer has for it."""


def quicken(association: Any, *, seconds: float, is_bounded: bool = True) -> None:
    """Set the socket options of an association, and read its units in large pieces.

    `seconds` is the time a peer has for one unit, and the time a write may take; a peer that
    needs more, or announces a unit longer than LARGEST_UNIT (`is_bounded`), loses its connection.
    Call it when the connection is open, on either side.
    """
    wrapped = association.dul.socket
    opened: socket.socket = wrapped.socket
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.settimeout(seconds)
    # On this one object, not on the class: other associations of the process stay as they are.
    vars(wrapped)["recv"] = _receiver(wrapped, seconds, LARGEST_UNIT if is_bounded else None)


def hurry(event: Any) -> None:
    """Handler of EVT_CONN_OPEN of a requestor: no delay for this association.

    Its answers can be long, and it chose its peer, so units are not bounded.
    """
    seconds = event.assoc.network_timeout or SECONDS_FOR_A_UNIT
    quicken(event.assoc, seconds=seconds, is_bounded=False)


def acknowledge_at_once(opened: Any) -> None:
    """Let the system acknowledge what a socket has received without delay.

    Not sticky: without it the acknowledgement of the next small write waits again.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _receiver(wrapped: Any, seconds: float, largest: int | None) -> Callable[[int], bytearray]:
    def receive(wanted: int) -> bytearray:
        if largest is not None and wanted > largest:
            raise OSError("a unit longer than any that was agreed on")
        opened = wrapped.socket
        received = bytearray()
        ends = time.monotonic() + seconds
        while len(received) < wanted:
            if time.monotonic() > ends:
                raise PeerTooSlow("a unit took too long")
            piece = opened.recv(min(wanted - len(received), PIECE))
            acknowledge_at_once(opened)
            if not piece:
                break
            received += piece
        return received

    return receive
