"""Values found in windows as text columns, without an object per value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from pipelines.sources.dicom_headers.first_window import Found
from pipelines.sources.dicom_headers.tags import Wanted
from pipelines.sources.dicom_headers.values import (
    NUMBERS,
    Undecodable,
    encodings_of,
    is_standard,
    text_of,
)
from pipelines.sources.dicom_headers.windows import STRIDE, Bytes, Places, Windows

ESCAPE, BACKSLASH = 0x1B, 0x5C
# A longer text is decoded by itself, as one that is not ASCII.
MOST_PLAIN = 256
# Bytes of a text that need no buffer beside the view.
IN_A_VIEW = 12
CHARACTER_SET = "specific_character_set"


def as_columns(windows: Windows, found: Found) -> pl.DataFrame:
    """One row per accepted file: `number` of the file, `content_sha` of its header bytes, and its
    wanted attributes.

    Text as `values.text_of` gives it; null where an attribute is absent. A file with text that
    cannot be decoded is left out.
    """
    rows = np.flatnonzero(found.accepted)
    chosen = slice(None) if len(rows) == len(found.accepted) else rows
    undecodable: set[int] = set()
    columns: dict[str, pl.Series] = {}
    is_big = found.is_big[rows]
    order = sorted(
        range(len(found.columns)), key=lambda n: found.columns[n].column != CHARACTER_SET
    )
    for number in order:
        wanted = found.columns[number]
        begin = found.begin[number][chosen].astype(np.int64)
        length = found.length[number][chosen].astype(np.int64)
        if not len(length) or length.max() < 0:
            text = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
        elif wanted.vr in NUMBERS:
            text = _numbers(_gathered(windows.flat, begin, length), wanted, is_big)
        else:
            text = _text(
                windows.flat, begin, length, wanted, columns.get(CHARACTER_SET), undecodable
            )
        columns[wanted.column] = text.alias(wanted.column)
    unusual = [one for one in columns[CHARACTER_SET].unique().drop_nulls() if not is_standard(one)]
    if unusual:
        found_in = columns[CHARACTER_SET].is_in(unusual).fill_null(False)
        undecodable |= set(found_in.arg_true().to_list())
    frame = pl.DataFrame({"number": rows, "content_sha": _digests(windows, found, rows), **columns})
    return frame.filter(~pl.int_range(pl.len()).is_in(list(undecodable))) if undecodable else frame


def _digests(windows: Windows, found: Found, rows: Places) -> pl.Series:
    """Digest of the header of each file: of those of its windows before the first unwanted tag."""
    view, sha256, before = windows.flat.data, hashlib.sha256, windows.before
    stops = found.stop[rows]
    starts = stops // STRIDE * STRIDE
    digests = []
    for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        if row not in before:
            digests.append(sha256(view[start:stop]).digest()[:16])
            continue
        digest = sha256()
        for begin, end in before[row]:
            if begin == start:
                break
            digest.update(view[begin:end])
        digest.update(view[start:stop])
        digests.append(digest.digest()[:16])
    return pl.Series(digests, dtype=pl.Binary)


def _numbers(raw: pl.Series, wanted: Wanted, is_big: NDArray[np.bool_]) -> pl.Series:
    """Binary numbers as decimal text, each distinct value turned once."""
    big = np.flatnonzero(is_big)
    known = raw.drop_nulls().unique()
    column = _replaced(raw, known, [_number(value, wanted, little=True) for value in known])
    if len(big):
        texts = [_number(value, wanted, little=False) for value in raw.gather(big)]
        column = column.scatter(big, pl.Series(texts, dtype=pl.String))
    return column


def _number(value: bytes | None, wanted: Wanted, *, little: bool) -> str | None:
    return None if value is None else text_of(value, wanted.vr, wanted.tag, (), little=little)


def _replaced(raw: pl.Series, known: pl.Series, texts: Sequence[str | None]) -> pl.Series:
    new = pl.Series(texts, dtype=pl.String)
    return raw.replace_strict(known, new, default=None, return_dtype=pl.String)


def _text(
    flat: Bytes,
    begin: Places,
    length: Places,
    wanted: Wanted,
    character_sets: pl.Series | None,
    undecodable: set[int],
) -> pl.Series:
    """Texts without their padding; plain ones stay bytes from the windows to the column."""
    begin, length, pieces = _stripped(flat, begin, length)
    others = _not_plain(pieces, length)
    pieces[others] = 0
    text = _plain(pieces, length, others)
    if _has_inner_padding(pieces):
        text = text.str.replace_all(r"[ \x00]*\\[ \x00]*", "\\")
    if not len(others):
        return text
    raw = _gathered(flat, begin[others], length[others])
    sets = None
    if character_sets is not None and wanted.vr in CUSTOMIZABLE_CHARSET_VR:
        sets = character_sets.gather(others)
    return text.scatter(others, _each_decoded(raw, wanted, sets, others, undecodable))


def _not_plain(pieces: Bytes, length: Places) -> Places:
    """The texts that are longer than others, not ASCII, or switch to another character set."""
    is_long = length > MOST_PLAIN
    # Nearly all texts are plain: one look at all of them is cheaper than one at each.
    if pieces.max() < 0x80 and not (pieces == ESCAPE).any() and not is_long.any():
        return np.zeros(0, dtype=np.int64)
    is_odd = pieces >= 0x80
    is_odd |= pieces == ESCAPE
    return np.flatnonzero(is_odd.any(axis=1) | is_long)


def _stripped(flat: Bytes, begin: Places, length: Places) -> tuple[Places, Places, Bytes]:
    """Begin and length of texts with the padding at both ends cut off; and the first bytes of
    each, zero behind its end, as many as the longest has, but at most MOST_PLAIN."""
    pieces, width = _pieces(flat, begin, length)
    first, last = pieces[:, 0], np.arange(-1, pieces.size - 1, width)
    last += np.minimum(length, width)
    # Most texts have one byte of padding or none.
    is_padded = _is_padding(pieces.reshape(-1)[last]) & (length > 0) & (length <= width)
    length = length - is_padded
    few = is_padded & _is_padding(pieces.reshape(-1)[last - is_padded])
    few |= _is_padding(first) | (length > MOST_PLAIN)
    few = np.flatnonzero(few & (length > 0))
    if len(few):
        begin = begin.copy()
        begin[few], length[few] = _without_padding(flat, begin[few], length[few])
        pieces, width = _pieces(flat, begin, length)
    words = pieces.view("<u8")
    words &= _kept(width).take(length, axis=0, mode="clip")
    return begin, length, pieces


def _is_padding(byte: Bytes) -> NDArray[np.bool_]:
    return byte & ~np.uint8(ord(" ")) == 0


def _pieces(flat: Bytes, begin: Places, length: Places) -> tuple[Bytes, int]:
    """So many bytes from each place on that the longest text is among them, up to MOST_PLAIN."""
    width = min(max((int(length.max()) + 15) // 16 * 16, 16), MOST_PLAIN)
    every = np.ndarray((len(flat) - width + 1,), dtype=f"V{width}", buffer=flat.data, strides=(1,))
    return every[begin].view(np.uint8).reshape(len(begin), width), width


@cache
def _kept(width: int) -> NDArray[np.uint64]:
    """By length of a text: the bits of its bytes in words of eight bytes."""
    is_kept = np.arange(width) < np.arange(width + 1)[:, None]
    return (is_kept * np.uint8(0xFF)).view("<u8")


def _plain(pieces: Bytes, length: Places, others: Places) -> pl.Series:
    """ASCII texts as a column: what polars calls views, into the pieces where they are longer
    than a view. Null where the length is negative; empty in the `others`."""
    count, width = pieces.shape
    views = np.empty((count, 4), dtype="<u4")
    np.maximum(length, 0, out=views[:, 0], casting="unsafe")
    views[others, 0] = 0
    views[:, 1:] = pieces.view("<u4")[:, :3]
    if width > IN_A_VIEW:
        far = np.flatnonzero(views[:, 0] > IN_A_VIEW)
        views[far, 2] = 0
        views[far, 3] = far * width
    given = np.packbits(length >= 0, bitorder="little")
    buffers = [pa.py_buffer(one) for one in (given, views, pieces)]
    return pl.Series(pa.Array.from_buffers(pa.string_view(), count, buffers))


def _without_padding(flat: Bytes, begin: Places, length: Places) -> tuple[Places, Places]:
    """Begin and length of texts with the padding at both ends cut off."""
    begin, length = begin.copy(), length.copy()
    for last in (True, False):
        left = np.flatnonzero(length > 0)
        while len(left):
            byte = flat[begin[left] + (length[left] - 1 if last else 0)]
            left = left[(byte == 0) | (byte == ord(" "))]
            length[left] -= 1
            begin[left] += 0 if last else 1
            left = left[length[left] > 0]
    return begin, length


def _gathered(flat: Bytes, begin: Places, length: Places) -> pl.Series:
    """The bytes of one attribute of each file; null where its length is negative."""
    size = np.maximum(length, 0)
    ends = np.zeros(len(size) + 1, dtype=np.int32)
    np.cumsum(size, out=ends[1:])
    places = np.repeat(begin - ends[:-1], size)
    places += np.arange(ends[-1])
    given = np.packbits(length >= 0, bitorder="little")
    buffers = [pa.py_buffer(one) for one in (given, ends, flat[places])]
    raw = pa.BinaryArray.from_buffers(pa.binary(), len(size), buffers)
    return pl.Series(raw, dtype=pl.Binary)


def _has_inner_padding(pieces: Bytes) -> bool:
    """Whether a backslash in some of these texts has a blank or NUL at its side, or seems to: an
    end counts as NUL."""
    data = pieces.reshape(-1)
    at = np.flatnonzero(data == BACKSLASH)
    sides = np.concatenate([data[np.maximum(at - 1, 0)], data[np.minimum(at + 1, len(data) - 1)]])
    return bool(((sides == 0) | (sides == ord(" "))).any())


def _each_decoded(
    raw: pl.Series,
    wanted: Wanted,
    character_sets: pl.Series | None,
    rows: Places,
    undecodable: set[int],
) -> pl.Series:
    """Decode what is not plain text, each distinct value once; note the rows that cannot be."""
    sets = [""] * len(raw) if character_sets is None else character_sets.fill_null("").to_list()
    known: dict[tuple[bytes, str], str | None] = {}
    texts: list[str | None] = []
    for row, value, character_set in zip(rows.tolist(), raw.to_list(), sets, strict=True):
        key = (value, character_set)
        if key not in known:
            try:
                known[key] = text_of(value, wanted.vr, wanted.tag, encodings_of(character_set))
            except Undecodable:
                known[key] = None
        if known[key] is None:
            undecodable.add(row)
        texts.append(known[key])
    return pl.Series(texts, dtype=pl.String)
