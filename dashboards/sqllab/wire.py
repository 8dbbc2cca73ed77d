"""How broker and child talk over their socket: a head in JSON, then bytes. Never a pickle.

The child has run foreign SQL, so the broker believes no length it did not bound itself.
"""

import json
import socket
import struct
from typing import Any

LENGTHS = struct.Struct("!II")
LONGEST_HEAD = 1_000_000
# A child's end: wait status as of wait4(), and its largest resident set in kilobytes.
ENDED = struct.Struct("!iQ")
# How a child exits that had no memory left to say so, or failed otherwise.
OUT_OF_MEMORY, FAILED = 71, 70


class Malformed(Exception):
    """What came is no message of this protocol."""


def pack(head: dict[str, Any], body: bytes | memoryview = b"") -> bytes:
    """One message as bytes."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(body)) + text + bytes(body)


def unpack(data: bytes | bytearray, most: int) -> tuple[dict[str, Any], memoryview] | None:
    """Head and body once the message is complete, None before; raises Malformed.

    `most`: bytes a body may have.
    """
    if len(data) < LENGTHS.size:
        return None
    head_size, body_size = LENGTHS.unpack_from(data)
    if head_size > LONGEST_HEAD or body_size > most:
        raise Malformed(f"a message of {head_size} and {body_size} bytes")
    if len(data) < LENGTHS.size + head_size + body_size:
        return None
    try:
        head = json.loads(data[LENGTHS.size : LENGTHS.size + head_size])
    except (ValueError, RecursionError) as error:
        raise Malformed("a head that is no JSON") from error
    if not isinstance(head, dict):
        raise Malformed("a head that is no object")
    start = LENGTHS.size + head_size
    return head, memoryview(data)[start : start + body_size]


def receive(connection: socket.socket, most: int) -> tuple[dict[str, Any], memoryview]:
    """Wait for one message. Raises Malformed, also where the other side ends before."""
    data = bytearray()
    while (message := unpack(data, most)) is None:
        part = connection.recv(1 << 16)
        if not part:
            raise Malformed("the other side ended within a message")
        data += part
    return message
