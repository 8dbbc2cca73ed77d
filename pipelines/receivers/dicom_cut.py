"""What of a received data set is spooled: the attributes the header readers want, never pixels.

A data set is cut behind the last wanted attribute and closed with Data Set Trailing Padding
(FFFC,FFFC), so that every reader meets an element beyond the wanted ones and a proper end. The
walk is as strict as the readers: where a data set breaks a rule of the format, nothing is known
about what is where, and its first bytes are kept as they came for the readers to judge.
"""

import struct
import sys
import zlib
from dataclasses import dataclass

from pipelines.sources.dicom_headers import syntax

# Bytes kept of a data set that cannot be walked; readers look no further than a header.
UNWALKED = 1 << 16
# Content of a dose report, and all else of group 0040; other objects end where the tag list does.
LAST_OF_REPORT = 0x0040FFFF
TRAILING_PADDING = 0xFFFCFFFC
DEEPEST = 64
_SHORT = {vr.encode() for vr in syntax.SHORT_VRS}
_LONG = {vr.encode() for vr in syntax.LONG_VRS}
IMPLEMENTATION_UID = "2.25.312467198403719840316021948410362410937"
IMPLEMENTATION_NAME = "IMAGING_SPOOL"


class HeaderTooLarge(Exception):
    """The wanted attributes do not end within the bytes that a receiver keeps of an object."""


@dataclass(frozen=True)
class Cut:
    """The encoded data set as it is spooled, and whether it could be walked (and so was cut)."""

    data_set: bytes
    is_walked: bool


class _Broken(Exception):
    """The data set breaks a rule of the format."""


class _Short(Exception):
    """The data set goes on beyond the bytes at hand."""


def cut(data: bytes, total: int, transfer_syntax: str, last_tag: int, *, largest: int) -> Cut:
    """Cut an encoded data set of `total` bytes, of which `data` are the first, behind `last_tag`.

    Deflated data sets are inflated up to `largest` bytes and deflated again. Raises
    HeaderTooLarge when the wanted attributes do not end within `data`.
    """
    uid = transfer_syntax.encode("ascii", "replace")
    if uid in (*syntax.JPIP_DEFLATED, syntax.PRIVATE_BIG):
        return Cut(data[:UNWALKED], is_walked=False)
    implicit, little = uid == syntax.IMPLICIT_LITTLE, uid != syntax.EXPLICIT_BIG
    plain = data
    try:
        if uid == syntax.DEFLATED:
            plain, total = _inflated(data, largest, is_whole=total == len(data))
        end = _end_of_wanted(plain, total, last_tag, implicit=implicit, little=little)
    except _Short:
        if total > len(plain):
            raise HeaderTooLarge from None
        return Cut(data[:UNWALKED], is_walked=False)
    except _Broken:
        return Cut(data[:UNWALKED], is_walked=False)
    kept = plain[:end] + _padding(implicit=implicit, little=little)
    if uid == syntax.DEFLATED:
        squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        kept = squeeze.compress(kept) + squeeze.flush()
        kept += b"\0" * (len(kept) % 2)
    return Cut(kept, is_walked=True)


def file_meta(transfer_syntax: str, sop_class: str, sop_instance: str) -> bytes:
    """Preamble and file meta information (group 0002) that make a data set a DICOM file.

    Depends on nothing but its arguments: an instance that is sent again gives the same bytes.
    """
    elements = b"".join(
        (
            b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01",
            _text(0x0002, b"UI", sop_class, b"\0"),
            _text(0x0003, b"UI", sop_instance, b"\0"),
            _text(0x0010, b"UI", transfer_syntax, b"\0"),
            _text(0x0012, b"UI", IMPLEMENTATION_UID, b"\0"),
            _text(0x0013, b"SH", IMPLEMENTATION_NAME, b" "),
        )
    )
    length = b"\x02\0\0\0UL\x04\0" + struct.pack("<I", len(elements))
    return b"\0" * syntax.PREAMBLE + b"DICM" + length + elements


def _text(element: int, vr: bytes, text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")[:64]
    value += pad * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _padding(*, implicit: bool, little: bool) -> bytes:
    order = "<" if little else ">"
    head = struct.pack(f"{order}HH", TRAILING_PADDING >> 16, TRAILING_PADDING & 0xFFFF)
    vr = b"" if implicit else b"OB\0\0"
    return head + vr + struct.pack(f"{order}I", 4) + b"\0" * 4


def _inflated(data: bytes, largest: int, *, is_whole: bool) -> tuple[bytes, int]:
    """The first `largest` bytes of a deflated data set, and how many there are in all.

    That is not known before all is inflated; then it is more than any data set has.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, largest)
    except zlib.error:
        raise _Broken from None
    is_all = inflater.eof or (is_whole and not inflater.unconsumed_tail)
    return plain, len(plain) if is_all else sys.maxsize


def _end_of_wanted(data: bytes, total: int, last_tag: int, *, implicit: bool, little: bool) -> int:
    """Where the first top-level element beyond `last_tag` begins, or where the data end.

    A damaged tag can look like that element, so the one behind it must be in order, too.
    """
    order = "<" if little else ">"
    short, wide = struct.Struct(f"{order}HH"), struct.Struct(f"{order}I")
    narrow = struct.Struct(f"{order}H")
    opened: list[bool] = []  # whether VRs are implicit in each open sequence or item
    position, last, size = 0, -1, len(data)
    end: int | None = None
    while position < total or opened:
        if size - position < 12 and total > size and end is not None:
            return end  # what comes next was not kept
        if size - position < 8:
            raise _Short
        group, number = short.unpack_from(data, position)
        tag = group << 16 | number
        is_plain = opened[-1] if opened else implicit
        vr, head = None, 8
        if is_plain or group == syntax.ITEM_GROUP:
            length = wide.unpack_from(data, position + 4)[0]
        else:
            vr = data[position + 4 : position + 6]
            if vr in _SHORT:
                length = narrow.unpack_from(data, position + 6)[0]
            elif vr not in _LONG:
                raise _Broken
            elif size - position < 12:
                raise _Short
            else:
                length, head = wide.unpack_from(data, position + 8)[0], 12
        is_open = length == syntax.UNDEFINED
        if not opened:
            if group == syntax.ITEM_GROUP or tag <= last:
                raise _Broken
            last = tag
            if tag > last_tag:
                text = None if vr is None else vr.decode()
                if not syntax.is_plausible(tag, text, is_open):
                    raise _Broken
                is_sure = (is_open and not group % 2) or tag in syntax.PIXELS
                if is_sure or end is not None:
                    return position if end is None else end
                end = position
        elif (tag in (syntax.ITEM, syntax.SEQUENCE_END)) != bool(len(opened) % 2):
            raise _Broken
        if tag in (syntax.ITEM_END, syntax.SEQUENCE_END):
            if length or not opened:
                raise _Broken
            opened.pop()
            position += head
            continue
        if is_open:
            opened.append(is_plain or vr == b"UN")
            if len(opened) > DEEPEST:
                raise _Broken
            position += head
            continue
        if length % 2:
            raise _Broken
        position += head + length
        if position > total:
            raise _Broken
    return size if end is None else end
