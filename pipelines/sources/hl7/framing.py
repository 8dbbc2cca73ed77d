"""Where messages begin and end in bytes: MLLP frames, batch files, marks and line ends."""

import codecs
import re
from collections.abc import Iterable, Iterator

BOM = codecs.BOM_UTF8
ENVELOPE = (b"FHS", b"BHS", b"BTS", b"FTS")
BATCH_TRAILER = re.compile(rb"(?:^|[\r\n])BTS[!-/:-@\[-`{-~](\d*)")
# What may follow the letters MSH: the field separator is no letter, digit or blank.
SIGNS = frozenset(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def split_messages(data: bytes) -> list[bytes]:
    """Cut a batch at every MLLP frame and every segment start `MSH` + separator.

    Bytes of a frame or file that no MSH precedes form a piece of their own, so that they are
    rejected and neither lost nor read as the end of another message. Envelope segments (FHS, BHS,
    BTS, FTS) and blank lines belong to no message; segments end with a carriage return.
    """
    return [piece if not starts else tidy(piece) for piece, starts in pieces(data)]


def framed(messages: Iterable[bytes]) -> bytes:
    """Messages as one batch in MLLP frames."""
    return b"".join(b"\x0b" + one + b"\x1c\r" for one in messages)


def pieces(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a batch in their order, and whether each begins with a header.

    One with a header is as it was sent, blank lines and envelope segments still in it.
    """
    for frame in _frames(_narrow(data)):
        if b"\x0b" in frame or b"\x1c" in frame:
            frame = frame.replace(b"\x0b", b"\r").replace(b"\x1c", b"\r")
        frame = frame.removeprefix(BOM)
        start = _next_header(frame, 0)
        if start:
            before = tidy(frame[: start if start >= 0 else len(frame)].removesuffix(BOM))
            if before:
                yield before, False
        while start >= 0:
            end = _next_header(frame, start + 3)
            yield frame[start : end if end >= 0 else len(frame)].removesuffix(BOM).strip(), True
            start = end


def stated_count(data: bytes) -> int | None:
    """How many messages the trailers of the batches (BTS-1) say there are; None if one does not."""
    if b"BTS" not in data:
        return None
    counts = BATCH_TRAILER.findall(_narrow(data))
    return sum(map(int, counts)) if counts and all(counts) else None


def frames_that_disagree(data: bytes) -> list[tuple[int, int]]:
    """Of every MLLP frame whose batch trailers state another number of messages than it holds: both.

    A frame with nothing but the end of a batch tells nothing of the frames before it.
    """
    if b"BTS" not in data:
        return []
    found = []
    for frame in _frames(_narrow(data)):
        stated = stated_count(frame)
        if stated is None:
            continue
        held = len(split_messages(frame))
        if stated != held and (held or b"BHS" in frame):
            found.append((stated, held))
    return found


def tidy(piece: bytes) -> bytes:
    """A piece without envelope segments and blank lines, its line ends carriage returns."""
    lines = re.split(rb"[\r\n]+", piece)
    kept = [line for line in lines if line.strip() and line.lstrip()[:3] not in ENVELOPE]
    return b"\r".join(kept).strip()


def _narrow(data: bytes) -> bytes:
    """A file of 16-bit characters as UTF-8: its separators are no single bytes."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if is_wide and b"M\x00S\x00H" in data[:64]:
        return data.decode("utf-16", errors="replace").encode()
    return data


def _frames(data: bytes) -> Iterator[bytes]:
    """What lies between frame ends: 1C, line ends, then 0B or the end of the data."""
    start = at = 0
    while (at := data.find(b"\x1c", at)) >= 0:
        at += 1
        after = at
        while data[after : after + 1] in (b"\r", b"\n"):
            after += 1
        if data[after : after + 1] in (b"\x0b", b""):
            yield data[start : at - 1]
            start = after + 1
        at = after
    yield data[start:]


def _next_header(frame: bytes, at: int) -> int:
    """Place of the next `MSH` + separator at the start of a line, -1 where there is none."""
    while (at := frame.find(b"MSH", at)) >= 0:
        if at + 3 < len(frame) and frame[at + 3] in SIGNS and _begins_line(frame, at):
            return at
        at += 3
    return -1


def _begins_line(frame: bytes, at: int) -> bool:
    if at and frame.startswith(BOM, at - 3):
        at -= 3
    while at and frame[at - 1] in b" \t":
        at -= 1
    return at == 0 or frame[at - 1] in b"\r\n"
