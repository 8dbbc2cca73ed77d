"""Messages out of a stream of syslog bytes: with their length before them, or a line each (RFC 6587)."""

import re

# Before anything but a priority a number is text, as a date at the beginning of a line.
_LENGTH = re.compile(rb"([1-9]\d{0,9}) (?=<)")
_HEADER = re.compile(rb"(?:[1-9]\d{0,9} )?<\d{1,3}>\d")
# So many bytes tell whether a line begins with a length or a priority.
_HEADER_BYTES = 18
_OPENED = re.compile(rb"<\?xml\s|<(?:[\w.\-]+:)?AuditMessage[\s>]")
_CLOSED = re.compile(rb"</(?:[\w.\-]+:)?AuditMessage\s*>")
_BLANK = b" \t\r\n\x00"


class FrameTooLarge(Exception):
    """A message does not end within the limit; what follows cannot be told apart any more.

    `before` are the messages that came whole before it, for the caller to keep.
    """

    def __init__(self) -> None:
        """Nothing came before it, as far as is known here."""
        super().__init__("message is too large")
        self.before: list[bytes] = []


class SyslogFrames:
    """Cuts the bytes of one connection into messages.

    A length counts where one stands; else a message ends with its line, unless its XML has begun
    and goes on in the next line, which begins with no header of its own.
    """

    def __init__(self, largest: int) -> None:
        """Messages of at most `largest` bytes."""
        self.largest = largest
        self._bytes = bytearray()
        # Where the search for the end of a line goes on.
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Whole messages, without length and line end; raises FrameTooLarge."""
        self._bytes += data
        found = []
        try:
            while (frame := self._next(is_end=False)) is not None:
                if frame:
                    found.append(frame)
            if len(self._bytes) > self.largest + _HEADER_BYTES:
                raise FrameTooLarge
        except FrameTooLarge as error:
            error.before = found
            raise
        return found

    def end(self) -> list[bytes]:
        """What the connection left behind when it ended: whole lines, and the piece of a message."""
        found = []
        while self._bytes:
            frame = self._next(is_end=True)
            if frame is None:
                frame, self._bytes = bytes(self._bytes).strip(_BLANK), bytearray()
            if frame:
                found.append(frame)
        return found

    def _next(self, *, is_end: bool) -> bytes | None:
        """The next message (empty for a blank line); None when it has not arrived whole."""
        if not self._searched:
            blank = len(self._bytes) - len(self._bytes.lstrip(_BLANK))
            del self._bytes[:blank]
        counted = _LENGTH.match(self._bytes)
        if counted is not None:
            length = int(counted[1])
            if length > self.largest:
                if is_end:
                    return None
                raise FrameTooLarge
            return self._taken(counted.end(), counted.end() + length)
        while True:
            end = self._bytes.find(b"\n", self._searched)
            if end < 0:
                return None
            if not self._goes_on(end):
                return self._taken(0, end)
            if len(self._bytes) < end + 1 + _HEADER_BYTES and not is_end:
                return None
            if _HEADER.match(self._bytes, end + 1):
                return self._taken(0, end)
            self._searched = end + 1

    def _goes_on(self, end: int) -> bool:
        """XML that has begun before `end` and not ended."""
        opened = _OPENED.search(self._bytes, 0, end + 1)
        if opened is None:
            return False
        # Earlier lines were searched before; a closing tag is not longer than this.
        begin = max(opened.end(), self._searched - 64)
        return _CLOSED.search(self._bytes, begin, end) is None

    def _taken(self, start: int, end: int) -> bytes | None:
        if len(self._bytes) < end:
            return None
        frame = bytes(self._bytes[start:end]).strip(_BLANK)
        del self._bytes[:end]
        self._searched = 0
        return frame
