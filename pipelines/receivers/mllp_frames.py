"""MLLP: messages cut out of a stream of bytes, in bounded memory.

A frame is 0x0B, the message, 0x1C 0x0D. Read as senders write it: 0x1C may be followed by a line
feed or the next frame, or by nothing (`settle`); bytes between frames are skipped and counted.
"""

from dataclasses import dataclass

START, END = b"\x0b", b"\x1c"
AFTER_END = b"\r\n\x0b"
BETWEEN = b"\r\n"
# A frame that begins within another: its sender broke off and began again.
BEGUN_AGAIN = b"\x0bMSH"
HEAD_BYTES = 4096


@dataclass(frozen=True)
class TooLarge:
    """A frame over the limit: its beginning, enough for the header; no more of it was kept.

    `has_ended`: none of it is still to come.
    """

    head: bytes
    has_ended: bool = False


class Frames:
    """The frames of one connection: `feed` it bytes, ask `next` for messages."""

    def __init__(self, largest: int) -> None:
        """Start between frames; `largest` is the limit of a message in bytes."""
        self.largest = largest
        self.skipped = 0
        self.broken_off = 0
        self._buffer = bytearray()
        self._is_within = False
        self._scanned = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    @property
    def is_within(self) -> bool:
        """A frame has begun and not ended."""
        return self._is_within

    def next(self) -> bytes | TooLarge | None:
        """The next whole message, a frame that grew over the limit, or None: more is needed.

        End the connection after TooLarge: what comes next may be the rest of that frame.
        """
        if not self._is_within and not self._begin():
            return None
        end = self._end()
        if end is None:
            is_over = len(self._buffer) > self.largest + 1
            return self._too_large(len(self._buffer), has_ended=False) if is_over else None
        return self._cut(end)

    def settle(self) -> bytes | TooLarge | None:
        """The message whose 0x1C is the last byte so far: its sender leaves out the 0x0D."""
        if self._is_within and self._buffer.endswith(END):
            return self._cut(len(self._buffer) - 1)
        return None

    def _begin(self) -> bool:
        """Go to the beginning of a frame; False when there is none yet."""
        start = self._buffer.find(START)
        between = self._buffer if start < 0 else self._buffer[:start]
        self.skipped += len(between) - sum(between.count(sign) for sign in BETWEEN)
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self._is_within, self._scanned = True, 0
        return True

    def _end(self) -> int | None:
        """Where the frame's 0x1C is; None while it is not known."""
        buffer = self._buffer
        while True:
            end = buffer.find(END, self._scanned)
            if end < 0:
                self._scanned = len(buffer)
                return None
            if end + 1 == len(buffer):
                self._scanned = end
                return None
            if buffer[end + 1] in AFTER_END:
                return end
            self._scanned = end + 1  # a sign of the text, though MLLP does not allow it

    def _cut(self, end: int) -> bytes | TooLarge:
        if end > self.largest:
            return self._too_large(end, has_ended=True)
        message = bytes(memoryview(self._buffer)[:end])
        after = self._buffer[end + 1 : end + 2]
        del self._buffer[: end + (1 if after == START else 2)]
        self._is_within = False
        again = message.rfind(BEGUN_AGAIN)
        if again < 0:
            return message
        self.broken_off += 1
        return message[again + 1 :]

    def _too_large(self, end: int, *, has_ended: bool) -> TooLarge:
        head = bytes(self._buffer[: min(end, HEAD_BYTES)])
        self._buffer.clear()
        self._is_within = False
        return TooLarge(head, has_ended)
