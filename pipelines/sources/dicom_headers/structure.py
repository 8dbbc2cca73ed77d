"""Whether a small DICOM file is whole: every length fits what is around it, to the last byte.

A file cut short, or with a damaged length, reads as a shorter tree without a word from pydicom.
Where a missing part would pass for a smaller sum, the file is asked this first. For documents:
compressed pixel data are not walked and count as not whole.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from pydicom.datadict import DicomDictionary, dictionary_VR

from pipelines.sources.dicom_headers import syntax

LONG = frozenset(vr.encode() for vr in syntax.LONG_VRS)
SHORT = frozenset(vr.encode() for vr in syntax.SHORT_VRS)
META_GROUP, TRANSFER_SYNTAX = 0x0002, 0x00020010
SEQUENCES = frozenset(tag for tag in DicomDictionary if dictionary_VR(tag) == "SQ")


class NotWhole(ValueError):
    """The rule that the file breaks."""


class TooDeep(ValueError):
    """Sequences within sequences beyond the limit."""


class TooLarge(ValueError):
    """More bytes unpacked, or more elements, than the limit."""


def check_whole(data: bytes, *, largest: int, deepest: int, elements: int) -> None:
    """Walk a Part 10 file element by element; raises NotWhole, TooDeep or TooLarge.

    `largest` are bytes once unpacked, `deepest` levels of sequences, `elements` their number.
    """
    if data[syntax.PREAMBLE : syntax.META_START] != b"DICM":
        raise NotWhole("no preamble")
    name, start = _file_meta(data)
    if name == syntax.PRIVATE_BIG:
        raise NotWhole("transfer syntax")
    if name == syntax.DEFLATED or name in syntax.JPIP_DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        data, start = unpacker.decompress(data[start:], largest + 1), 0
        if len(data) > largest:
            raise TooLarge
        if not unpacker.eof:
            raise NotWhole("deflated data end early")
    order = ">" if name == syntax.EXPLICIT_BIG else "<"
    walk = _Walk(data, order, deepest, elements)
    walk.elements(start, len(data), explicit=name != syntax.IMPLICIT_LITTLE)


def _file_meta(data: bytes) -> tuple[bytes, int]:
    """Transfer syntax, and where the data set begins."""
    at, name = syntax.META_START, b""
    while len(data) - at >= 8:
        group, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        if group != META_GROUP:
            break
        head = 8
        if vr in LONG and len(data) - at >= 12:
            head, length = 12, struct.unpack_from("<I", data, at + 8)[0]
        elif vr not in SHORT:
            raise NotWhole("file meta information")
        if group << 16 | element == TRANSFER_SYNTAX:
            name = data[at + head : at + head + length].strip(b" \0")
        at += head + length
    if not name or at > len(data):
        raise NotWhole("file meta information")
    return name, at


@dataclass
class _Walk:
    data: bytes
    order: str
    deepest: int
    left: int

    def elements(
        self, at: int, end: int, *, explicit: bool, depth: int = 0, is_open: bool = False
    ) -> int:
        """Place behind a data set or an item that ends at `end`, or where it is closed."""
        previous = -1
        while at != end or is_open:
            if depth == 0 and not any(self.data[at : min(end, at + 8)]) and not self._rest(at):
                return end
            tag, vr, length, at = self._head(at, end, explicit)
            if is_open and tag == syntax.ITEM_END:
                return at
            if tag <= previous or tag >> 16 == syntax.ITEM_GROUP:
                raise NotWhole("order of elements")
            previous = tag
            if length == syntax.UNDEFINED or vr == b"SQ" or (vr == b"UN" and tag in SEQUENCES):
                inner = explicit and vr != b"UN"
                at = self.items(at, end, length, explicit=inner, depth=depth + 1)
            else:
                at += length
        return at

    def items(self, at: int, end: int, length: int, *, explicit: bool, depth: int) -> int:
        """Place behind a sequence of this length, or of undefined length."""
        if depth > self.deepest:
            raise TooDeep
        is_open = length == syntax.UNDEFINED
        end = end if is_open else at + length
        while at != end or is_open:
            tag, _, length, at = self._head(at, end, explicit)
            if is_open and tag == syntax.SEQUENCE_END:
                return at
            if tag != syntax.ITEM:
                raise NotWhole("items of a sequence")
            is_open_item = length == syntax.UNDEFINED
            stop = end if is_open_item else at + length
            at = self.elements(at, stop, explicit=explicit, depth=depth, is_open=is_open_item)
        return at

    def _head(self, at: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR (UN where it is not told), length, and where the value begins."""
        self.left -= 1
        if self.left < 0:
            raise TooLarge
        if end - at < 8:
            raise NotWhole("ends within an element")
        group, element, vr, length = struct.unpack_from(f"{self.order}HH2sH", self.data, at)
        begin = at + 8
        if group == syntax.ITEM_GROUP or not explicit:
            vr, length = b"UN", struct.unpack_from(f"{self.order}I", self.data, at + 4)[0]
        elif vr in LONG:
            if end - at < 12:
                raise NotWhole("ends within an element")
            begin, length = at + 12, struct.unpack_from(f"{self.order}I", self.data, at + 8)[0]
        elif vr not in SHORT:
            raise NotWhole("value representation")
        if length != syntax.UNDEFINED and length > end - begin:
            raise NotWhole("a value ends behind what holds it")
        return group << 16 | element, vr, length, begin

    def _rest(self, at: int) -> bool:
        """Whether anything but padding follows."""
        return bool(self.data[at:].strip(b"\0"))
