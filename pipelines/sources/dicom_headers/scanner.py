"""The patient reader: one file at a time, element by element, jumping over what is not wanted.

It reads what a first window cannot hold or the side-by-side parse declines: values behind large
private ones, deflated and big endian data sets, items of unknown VR. As strict as that parse: a
header that breaks a rule of the format is declined with the rule, never used in part.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.dicom_headers import syntax
from pipelines.sources.dicom_headers.tags import TagList, Wanted
from pipelines.sources.dicom_headers.values import (
    DEFAULT_CHARACTER_SET,
    Undecodable,
    encodings_of,
    text_of,
)

FIRST_READ = 8192
NEXT_READ = 65_536
# A wanted value is text of a few hundred bytes; one that claims more is damaged.
LARGEST_VALUE = 1 << 20
# Inflated no further than this: a header is small, and a few bytes can inflate to gigabytes.
LARGEST_INFLATED = 1 << 26
DEEPEST = 64
CHARACTER_SET = 0x00080005
TRANSFER_SYNTAX = 0x00020010

Row = dict[str, str | None]


class Declined(Exception):
    """The file breaks a rule of the format, which the message names, or is none of this reader's."""


class Refused(Exception):
    """No reader may have the file; the message is the reason."""


@dataclass(frozen=True)
class _Value:
    raw: bytes
    vr: str | None


class _File:
    """Bytes of an open file at any place, with the last piece kept."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        self.start, self.piece = 0, os.pread(descriptor, FIRST_READ, 0)

    def take(self, position: int, count: int) -> bytes:
        """Bytes at a place; fewer at the end of the file."""
        begin = position - self.start
        if begin < 0 or begin + count > len(self.piece):
            self.start = position
            self.piece = os.pread(self.descriptor, max(count, NEXT_READ), position)
            begin = 0
        return self.piece[begin : begin + count]


class _Inflated:
    """A deflated data set, inflated as far as it is asked for."""

    def __init__(self, file: _File, position: int) -> None:
        self.file, self.position = file, position
        self.inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.data = bytearray()
        self.waiting = b""
        self.is_whole = False

    @property
    def size(self) -> int:
        """Bytes inflated so far, or more than any header where there are more to come."""
        return len(self.data) if self.is_whole else LARGEST_INFLATED

    def take(self, position: int, count: int) -> bytes:
        """Bytes of the inflated data set; fewer at its end."""
        while len(self.data) < position + count and not self.is_whole:
            if len(self.data) >= LARGEST_INFLATED:
                raise Declined("the deflated data set is larger than any header")
            if not self.waiting:
                self.waiting = self.file.take(self.position, NEXT_READ)
                self.position += len(self.waiting)
                if not self.waiting:
                    raise Declined("the deflated data set is cut off")
            try:
                self.data += self.inflater.decompress(self.waiting, NEXT_READ)
            except zlib.error:
                raise Declined("the deflated data set is damaged") from None
            self.waiting = self.inflater.unconsumed_tail
            self.is_whole = self.inflater.eof
        return bytes(self.data[position : position + count])


@dataclass(frozen=True)
class _Element:
    tag: int
    vr: str | None
    start: int
    position: int
    length: int


@dataclass(frozen=True)
class _Syntax:
    implicit: bool
    little: bool


def read_by_scanner(path: Path, tags: TagList) -> tuple[Row, bytes]:
    """Header of one file as text by column, and the digest of its header bytes.

    Raises Declined, Refused, and OSError where the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = os.fstat(descriptor)
        file = _File(descriptor, before.st_size)
        try:
            found, stop = _scan(file, tags)
        except Undecodable as error:
            raise Declined(str(error)) from None
        digest = hashlib.sha256()
        for start in range(0, stop, LARGEST_VALUE):
            digest.update(os.pread(descriptor, min(LARGEST_VALUE, stop - start), start))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Refused("the file changed while it was read")
    return found, digest.digest()[:16]


def _scan(file: _File, tags: TagList) -> tuple[Row, int]:
    """Text by column, and where in the file the header ends."""
    meta, start = _file_meta(file)
    uid = meta[TRANSFER_SYNTAX].raw.rstrip(b"\0 ") if TRANSFER_SYNTAX in meta else b""
    if not re.fullmatch(rb"[0-9.]+", uid) or uid in (*syntax.JPIP_DEFLATED, syntax.PRIVATE_BIG):
        raise Declined("no transfer syntax that this reader knows")
    how = _Syntax(uid == syntax.IMPLICIT_LITTLE, uid != syntax.EXPLICIT_BIG)
    if uid == syntax.DEFLATED:
        try:
            values, items, _ = _data_set(_Inflated(file, start), 0, how, tags)
        except Declined as error:
            # pydicom would inflate it whole, however large that is.
            raise Refused(f"not readable: {error}") from None
        stop = file.size
    else:
        values, items, stop = _data_set(file, start, how, tags)
    encodings = DEFAULT_CHARACTER_SET
    if CHARACTER_SET in values:
        encodings = encodings_of(text_of(values[CHARACTER_SET].raw, "CS", CHARACTER_SET, ()))
    row = _texts(tags.meta, meta, encodings, little=True)
    row |= _texts(tags.flat, values, encodings, little=how.little)
    for sequence, wanted in tags.items.items():
        row |= _texts(wanted, items.get(sequence, {}), encodings, little=how.little)
    return row, stop


def _texts(
    wanted: list[Wanted], values: dict[int, _Value], encodings: tuple[str, ...], *, little: bool
) -> Row:
    found: Row = {}
    for one in wanted:
        value = values.get(one.tag)
        found[one.column] = (
            None
            if value is None
            else text_of(value.raw, value.vr, one.tag, encodings, little=little)
        )
    return found


def _file_meta(file: _File) -> tuple[dict[int, _Value], int]:
    """Values of group 0002, and where the data set starts."""
    if file.take(syntax.PREAMBLE, 4) != b"DICM":
        raise Declined("no DICM after the preamble")
    head = file.take(syntax.META_START, 12)
    if len(head) < 12 or head[:8] != b"\x02\0\0\0UL\x04\0":
        raise Declined("the file meta does not begin with its length")
    end = syntax.META_START + 12 + struct.unpack_from("<I", head, 8)[0]
    if end > file.size:
        raise Declined("the file meta runs past the end of the file")
    values = {}
    walk = _elements(file, syntax.META_START + 12, end, _Syntax(implicit=False, little=True))
    for element in walk:
        if element.tag >> 16 != 2:
            raise Declined("another group within the file meta")
        if element.tag in (TRANSFER_SYNTAX, 0x00020003):
            values[element.tag] = _Value(
                _wanted_bytes(file, element.position, element.length), element.vr
            )
    return values, end


def _data_set(
    source: _File | _Inflated, start: int, how: _Syntax, tags: TagList
) -> tuple[dict[int, _Value], dict[int, dict[int, _Value]], int]:
    """Wanted values, those of the first items of wanted sequences, and where the header ends."""
    flat = {wanted.tag for wanted in tags.flat}
    sequences, last = tags.items, tags.last_tag
    values: dict[int, _Value] = {}
    items: dict[int, dict[int, _Value]] = {}
    stop: int | None = None
    for element in _elements(source, start, None, how):
        is_open = element.length == syntax.UNDEFINED
        if element.tag > last:
            if not syntax.is_plausible(element.tag, element.vr, is_open):
                raise Declined("an unknown tag ends the header")
            # A damaged tag can look like an end; what follows it would then be out of order.
            is_sure = is_open and not element.tag >> 16 & 1
            if stop is not None or is_sure or element.tag in syntax.PIXELS:
                return values, items, element.start if stop is None else stop
            stop = element.start
            continue
        if element.tag in flat:
            if is_open:
                raise Declined("a value of undefined length")
            values[element.tag] = _Value(
                _wanted_bytes(source, element.position, element.length), element.vr
            )
        elif element.tag in sequences:
            if element.vr not in (None, "SQ", "UN"):
                raise Declined("a sequence with another VR")
            inner = _Syntax(how.implicit or element.vr == "UN", how.little)
            wanted = {one.tag for one in sequences[element.tag]}
            items[element.tag] = _first_item(source, element, inner, wanted)
    return values, items, source.size if stop is None else stop


def _first_item(
    source: _File | _Inflated, sequence: _Element, how: _Syntax, wanted: set[int]
) -> dict[int, _Value]:
    if sequence.length == 0:
        return {}
    order = "<" if how.little else ">"
    head = source.take(sequence.position, 8)
    if len(head) < 8:
        raise Declined("a sequence runs past the end of the file")
    group, number, length = struct.unpack(f"{order}HHI", head)
    tag = group << 16 | number
    if tag == syntax.SEQUENCE_END:
        return {}
    if tag != syntax.ITEM:
        raise Declined("a sequence does not begin with an item")
    start = sequence.position + 8
    is_open = length == syntax.UNDEFINED
    end = None if is_open else start + length
    if sequence.length != syntax.UNDEFINED:
        last = sequence.position + sequence.length
        if end is not None and end > last:
            raise Declined("an item runs past the end of its sequence")
        end = last if end is None else end
    if end is not None and end > source.size:
        raise Declined("an item runs past the end of the file")
    values = {}
    for element in _elements(source, start, end, how, in_item=is_open):
        if element.tag == CHARACTER_SET:
            raise Declined("an item with a character set of its own")
        if element.tag in wanted:
            if element.length == syntax.UNDEFINED:
                raise Declined("a value of undefined length")
            values[element.tag] = _Value(
                _wanted_bytes(source, element.position, element.length), element.vr
            )
    return values


def _wanted_bytes(source: _File | _Inflated, position: int, length: int) -> bytes:
    if length > LARGEST_VALUE:
        raise Declined("a value is longer than any of its kind")
    raw = source.take(position, length)
    if len(raw) < length:
        raise Declined("a value runs past the end of the file")
    return raw


def _elements(
    source: _File | _Inflated,
    position: int,
    end: int | None,
    how: _Syntax,
    *,
    in_item: bool = False,
) -> Iterator[_Element]:
    """Elements of one level in their order, each checked against the rules of the format.

    Ends at `end`, at the end of the data, or (`in_item`) at the delimiter of an item of undefined
    length, which must come before `end`. Raises Declined at the first broken rule.
    """
    order = "<" if how.little else ">"
    short, wide = struct.Struct(f"{order}HH"), struct.Struct(f"{order}I")
    narrow = struct.Struct(f"{order}H")
    opened: list[bool] = []  # whether VRs are implicit in each open sequence or item
    last = -1
    while end is None or position < end:
        head = source.take(position, 12)
        if not head and end is None and not opened and not in_item:
            return
        if len(head) < 8:
            raise Declined("the file ends within an element")
        group, number = short.unpack_from(head)
        tag = group << 16 | number
        implicit = opened[-1] if opened else how.implicit
        vr, size = None, 8
        if implicit or group == syntax.ITEM_GROUP:
            length = wide.unpack_from(head, 4)[0]
        else:
            vr = head[4:6].decode("latin-1")
            if vr in _SHORT:
                length = narrow.unpack_from(head, 6)[0]
            elif vr in _LONG and len(head) == 12:
                length, size = wide.unpack_from(head, 8)[0], 12
            else:
                raise Declined("an unknown VR")
        is_end = tag in (syntax.ITEM_END, syntax.SEQUENCE_END)
        if is_end and length:
            raise Declined("a delimiter with a length")
        # Sequences hold items and items hold elements: an odd number is open within a sequence.
        if opened and (
            tag not in (syntax.ITEM, syntax.SEQUENCE_END)
            if len(opened) % 2
            else tag in (syntax.ITEM, syntax.SEQUENCE_END)
        ):
            raise Declined("items and elements in the wrong places")
        if in_item and not opened and tag == syntax.ITEM_END:
            return
        value = position + size
        following = value if length == syntax.UNDEFINED else value + length
        if following % 2:
            raise Declined("an odd length")
        if not opened:
            if group == syntax.ITEM_GROUP:
                raise Declined("an item outside a sequence")
            if tag <= last:
                raise Declined("tags out of order")
            last = tag
            if following > (source.size if end is None else end) and tag not in syntax.PIXELS:
                raise Declined("a value runs past the end of the file")
            yield _Element(tag, vr, position, value, length)
        if is_end:
            opened.pop()
        elif length == syntax.UNDEFINED:
            opened.append(implicit or vr == "UN")
            if len(opened) > DEEPEST:
                raise Declined("nested too deeply")
        position = following
    if opened or in_item or (end is not None and position != end):
        raise Declined("a sequence is not closed")


_SHORT, _LONG = set(syntax.SHORT_VRS), set(syntax.LONG_VRS)
