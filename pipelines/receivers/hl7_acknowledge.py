"""What an HL7 sender is answered: acknowledgements from the header of its message, as bytes.

Nothing but MSH is read here, and of a value nothing is decoded.
"""

import re
from dataclasses import dataclass
from enum import Enum

from pipelines.sources.hl7 import split_messages
from pipelines.sources.hl7.framing import SIGNS

HEADER_BYTES = 4096
DEFAULT_ENCODING = b"^~\\&"
LINE_END = re.compile(rb"[\r\n]")
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Outcome(Enum):
    """What became of a message; the value is the second letter of its code (MSA-1)."""

    SAFE = "A"
    NOT_KEPT = "E"
    REFUSED = "R"


@dataclass(frozen=True)
class Header:
    """MSH of a message: its fields as they were sent; `fields[n]` is MSH-n, `fields[0]` unused."""

    fields: tuple[bytes, ...]

    def field(self, number: int) -> bytes:
        """MSH-<number>; empty where the message has none."""
        return self.fields[number] if number < len(self.fields) else b""

    def first(self, number: int, component: int = 1) -> bytes:
        """A component of MSH-<number>, without blanks around it."""
        parts = self.field(number).split(self.field(2)[:1] or b"^")
        return parts[component - 1].strip() if component <= len(parts) else b""


# For what has no header to answer to: MSH-11 and MSH-12 must not be empty.
NO_HEADER = Header((b"", b"|", DEFAULT_ENCODING, *[b""] * 8, b"P", b"2.5"))


def header_of(message: bytes) -> Header | None:
    """The header of a frame's first message; None when the readers find no message in it."""
    if not _is_header(message):
        # Byte order mark, blanks or a batch envelope before it: the readers decide.
        message = next((p for p in split_messages(message) if _is_header(p)), b"")
        if not message:
            return None
    line = LINE_END.split(message[:HEADER_BYTES], maxsplit=1)[0]
    separator = line[3:4]
    return Header((b"", separator, *line[4:].split(separator)))


def _is_header(message: bytes) -> bool:
    return message.startswith(b"MSH") and len(message) > 3 and message[3] in SIGNS


def reply_code(outcome: Outcome, header: Header, *, always_aa: bool = False) -> str | None:
    """MSA-1 of the answer to a message; None when its sender asked for none.

    MSH-15 filled in means enhanced mode, and CA, CE or CR at its condition (AL always, ER errors,
    SU success, NE never). Where that gives none, MSH-16 can still ask for AA, AE or AR. In the
    original mode, and with `always_aa`, every message is answered AA, AE or AR.
    """
    accept, application = (header.first(n).upper() for n in (15, 16))
    if always_aa or accept not in (b"AL", b"ER", b"SU", b"NE"):
        return "A" + outcome.value
    if _is_due(accept, outcome):
        return "C" + outcome.value
    return "A" + outcome.value if _is_due(application, outcome) else None


def _is_due(condition: bytes, outcome: Outcome) -> bool:
    is_safe = outcome is Outcome.SAFE
    return condition == b"AL" or condition == (b"SU" if is_safe else b"ER")


def acknowledgement(
    header: Header, code: str, *, control_id: bytes, at: bytes, text: str = ""
) -> bytes:
    """An ACK message, unframed: addressed back, in the separators and character set of the sender.

    `control_id` is its own MSH-10, `at` its MSH-7, `text` (ASCII) the reason of a refusal (MSA-3).
    """
    separator, encoding = header.field(1), header.field(2)
    event = header.first(9, 2)
    fields = [
        b"MSH",
        encoding,
        header.field(5),
        header.field(6),
        header.field(3),
        header.field(4),
        at,
        b"",
        b"ACK" + (encoding[:1] or b"^") + event if event else b"ACK",
        control_id,
        header.field(11),
        header.field(12),
    ]
    charset = header.field(18)
    if charset:
        fields += [b""] * 5 + [charset]
    answer = [b"MSA", code.encode(), header.field(10)]
    if text:
        answer.append(text.encode("ascii", "replace").replace(separator, b" "))
    segments = (CONTROL.sub(b"", separator.join(segment)) for segment in (fields, answer))
    return b"".join(segment + b"\r" for segment in segments)
