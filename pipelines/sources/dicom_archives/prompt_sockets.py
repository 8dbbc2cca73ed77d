"""DICOM associations without the wait of Nagle's algorithm and delayed acknowledgement.

The small writes of an exchange otherwise wait for each other, some 40 ms at a time (measured:
`imaging bench archives`).
"""

import socket
from functools import wraps
from typing import Any

from pynetdicom import transport

# Linux only, and not lasting: the system falls back, so it is set after every receive.
QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)
_MARK = "_acknowledges_at_once"


def hurry(event: Any) -> None:
    """Handler of EVT_CONN_OPEN, requestor or acceptor: no delay for this association."""
    wrapped = event.assoc.dul.socket
    wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _teach_quick_ack()
    setattr(wrapped, _MARK, True)


def _teach_quick_ack() -> None:
    """Let receives of marked associations be acknowledged at once; others stay as they were."""
    plain = transport.AssociationSocket.recv
    if QUICK_ACK is None or hasattr(plain, "__wrapped__"):
        return
    option = QUICK_ACK

    @wraps(plain)
    def recv(self: transport.AssociationSocket, nr_bytes: int) -> bytearray:
        received = plain(self, nr_bytes)
        if getattr(self, _MARK, False) and self.socket is not None:
            try:
                self.socket.setsockopt(socket.IPPROTO_TCP, option, 1)
            except OSError:
                # The peer has closed; the next receive says so.
                setattr(self, _MARK, False)
        return received

    setattr(transport.AssociationSocket, "recv", recv)  # noqa: B010
