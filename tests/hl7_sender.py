"""Invented HL7 messages, and an integration engine that sends them: one in flight per connection."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

# Of a patient who must not be found anywhere in the clear.
NHS_NUMBER, SURNAME = "9998887776", "HEPPENSTALL"
SECONDS = 30


def message(number: int, *, processing: str = "P", header_end: str = "", facility="RMC") -> bytes:
    """A verified report of an exam of its own; `header_end` is MSH-13 and what follows."""
    header = f"MSH|^~\\&|RIS|{facility}|NET|GM|20260611101500||ORU^R01|C{number:06d}"
    segments = [
        f"{header}|{processing}|2.4{header_end}",
        f"PID|1||A{number}^^^RMC^MR~{NHS_NUMBER}^^^NHS^NH||{SURNAME}^AURELIA||19610203|F",
        f"ORC|RE|OC{number}^EPR|F{number}^RIS||CM||||20260611101000",
        f"OBR|1|OC{number}^EPR|F{number}^RIS|XCHES^XR Chest^NICIP|||20260611094500|20260611094700"
        f"||||||||||A{number}||RMC01||20260611101000||DX|F|||||||R1&READER^20260611100900",
        "OBX|1|TX|XCHES&GDT^XR Chest^NICIP||Lungs clear.||||||F|||20260611100900",
    ]
    return "\r".join(segments).encode() + b"\r"


def framed(content: bytes) -> bytes:
    return b"\x0b" + content + b"\x1c\r"


@dataclass
class Engine:
    """A connection that reads acknowledgements one by one."""

    port: int
    context: ssl.SSLContext | None = None
    received: bytes = b""
    wire: socket.socket = field(init=False)

    def __enter__(self) -> "Engine":
        self.wire = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        if self.context is not None:
            self.wire = self.context.wrap_socket(self.wire, server_hostname="127.0.0.1")
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    def write(self, data: bytes) -> None:
        self.wire.sendall(data)

    def answer(self) -> list[list[str]]:
        """Fields of the segments of the next answer; nothing when the connection has ended."""
        while b"\x1c\r" not in self.received:
            piece = self.wire.recv(1 << 16)
            if not piece:
                return []
            self.received += piece
        content, _, self.received = self.received.partition(b"\x1c\r")
        assert content.startswith(b"\x0b")
        return [line.split("|") for line in content[1:].decode().strip("\r").split("\r")]

    def send(self, content: bytes) -> str:
        """Send a message, wait for its answer; MSA-1, or nothing when the connection ended."""
        self.write(framed(content))
        found = self.answer()
        return found[1][1] if found else ""

    def has_ended(self) -> bool:
        """Wait for the other side to close; bytes that come before belong to no answer."""
        try:
            return self.wire.recv(1) == b""
        except ConnectionResetError:
            return True


def send_until_it_breaks(
    port: int,
    waiting: dict[int, bytes],
    acknowledged: set[int],
    many: int,
    at_many: Callable[[], object],
) -> None:
    """Send what waits over one connection; calls `at_many` from `many` acknowledgements on.

    It is called by the sender itself, which cannot send the rest in the meantime.
    """
    try:
        with Engine(port) as engine:
            for number, content in waiting.items():
                if engine.send(content) != "AA":
                    return
                acknowledged.add(number)
                if len(acknowledged) >= many:
                    at_many()
    except OSError:
        return  # the receiver is gone
