"""How broker and child talk over their socket: a head in JSON, then bytes. Never a pickle.

The child has run foreign SQL, so the broker believes no length it did not bound itself.
"""

import json
import re
import socket
import struct
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

LENGTHS = struct.Struct("!II")
LONGEST_HEAD = 2_000_000
# Columns of an answer; each costs the broker the same, however few bytes it has.
MOST_COLUMNS = 10_000
LONGEST_REASON = 2_000
# A child's end: wait status as of wait4(), and its largest resident set in kilobytes.
ENDED = struct.Struct("!iQ")
# How a child exits that had no memory left to say so, or failed otherwise.
OUT_OF_MEMORY, FAILED = 71, 70
# A value for $name in a statement; DuckDB makes of it varchar, an integer, double, date or null.
Value = str | int | float | date | None
MOST_VALUES, LONGEST_VALUES = 50, 100_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Malformed(Exception):
    """What came is no message of this protocol."""


class NoValue(Exception):
    """A parameter that cannot be given on; the message names it and says what may be."""


def tag(values: Mapping[str, Value]) -> dict[str, list[str]]:
    """Each value as its type and its text, so that none changes its type in JSON. Raises NoValue."""
    if len(values) > MOST_VALUES:
        raise NoValue(f"{len(values)} parameters have a value; {MOST_VALUES} is the most")
    tagged: dict[str, list[str]] = {}
    for name, value in values.items():
        # Names are cut: a refusal shows them.
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise NoValue(f"parameter {str(name)[:60]!r}: a name is letters, digits and _")
        if name.lower() in (other.lower() for other in tagged):
            raise NoValue(f"parameter ${name} has two values; capital letters make no difference")
        tagged[name] = _tagged(name, value)
    if (long := sum(len(text) for _, text in tagged.values())) > LONGEST_VALUES:
        raise NoValue(f"the parameters have {long:,} characters; {LONGEST_VALUES:,} is the most")
    return tagged


def _tagged(name: str, value: Value) -> list[str]:
    if value is None:
        return ["null", ""]
    # Subclasses are other things: true is no number and an instant is no date.
    kind = {str: "text", int: "integer", float: "number", date: "date"}.get(type(value))
    if kind is None:
        told = "an instant" if isinstance(value, datetime) else type(value).__name__
        raise NoValue(f"parameter ${name} is {told}; give a text, a number, a date or nothing")
    if isinstance(value, int) and not -(2**127) <= value < 2**127:
        raise NoValue(f"parameter ${name} is a number of more than 128 bits")
    text = str(value)
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise NoValue(f"parameter ${name} holds what is no character (NUL, or half of one)")
    return [kind, text]


def untag(tagged: Mapping[str, list[str]]) -> dict[str, Value]:
    """The values of `tag`, each of the type it had."""
    read = {
        "null": lambda _: None,
        "text": str,
        "integer": int,
        "number": float,
        "date": date.fromisoformat,
    }
    return {name: read[kind](text) for name, (kind, text) in tagged.items()}


def pack(head: dict[str, Any], body: bytes | memoryview = b"") -> bytes:
    """One message as bytes."""
    # Escapes would make four bytes of a sign to twelve; half a sign is for the gate to refuse.
    text = json.dumps(head, ensure_ascii=False).encode("utf-8", "surrogatepass")
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


def words(head: Mapping[str, Any], key: str) -> str:
    """A text of a head that can be shown: no half signs, and not longer than a reader reads."""
    text = head.get(key)
    if not isinstance(text, str):
        return "no reason was given"
    shown = text[:LONGEST_REASON].encode("utf-8", "replace").decode().replace("\0", "?")
    return shown if len(text) <= LONGEST_REASON else f"{shown}..."


def receive(connection: socket.socket, most: int) -> tuple[dict[str, Any], memoryview]:
    """Wait for one message, and read no byte of the next. Raises Malformed, also at an early end."""
    data = bytearray()
    while (message := unpack(data, most)) is None:
        sizes = LENGTHS.unpack_from(data) if data else ()
        part = connection.recv(LENGTHS.size + sum(sizes) - len(data), socket.MSG_WAITALL)
        if not part:
            raise Malformed("the other side ended within a message")
        data += part
    return message
