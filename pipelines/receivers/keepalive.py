"""Connections whose peer is gone without a word: the system asks, and closes them."""

import socket

# Noticed within two minutes.
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
UNSENT_MILLISECONDS = 60_000


def notice_dead_peer(opened: socket.socket) -> None:
    """Let the system end a TCP connection that nobody is at the other end of.

    Options that the system does not have are left out.
    """
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (*KEEPALIVE, ("TCP_USER_TIMEOUT", UNSENT_MILLISECONDS)):
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
