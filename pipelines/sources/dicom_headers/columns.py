"""Values found in windows as text columns, without an object per value."""

from __future__ import annotations

import hashlib

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
from pipelines.sources.dicom_headers.windows import STRIDE, Windows

ESCAPE, BACKSLASH = 0x1B, 0x5C
# Values gathered at once: so few that their places stay in the processor's cache.
BLOCK = 2048
CHARACTER_SET = "specific_character_set"


def as_columns(windows: Windows, found: Found) -> pl.DataFrame:
    """One row per accepted file: `number` of the file, `content_sha` of its header bytes, and its
    wanted attributes.

    Text as `values.text_of` gives it; null where an attribute is absent. A file with text that
    cannot be decoded is left out.
    """
    rows = np.flatnonzero(found.accepted)
    undecodable: set[int] = set()
    columns: dict[str, pl.Series] = {}
    is_big = found.is_big[rows]
    order = sorted(
        range(len(found.columns)), key=lambda n: found.columns[n].column != CHARACTER_SET
    )
    for number in order:
        wanted = found.columns[number]
        begin = found.begin[number][rows].astype(np.int64)
        length = found.length[number][rows].astype(np.int64)
        if wanted.vr in NUMBERS:
            raw = _gathered(windows.flat, begin, length)
            text = _numbers(pl.Series(raw, dtype=pl.Binary), wanted, is_big)
        else:
            raw = _gathered(windows.flat, *_without_padding(windows.flat, begin, length))
            text = _text(raw, wanted, columns.get(CHARACTER_SET), undecodable)
        columns[wanted.column] = text.alias(wanted.column)
    unusual = [one for one in columns[CHARACTER_SET].unique().drop_nulls() if not is_standard(one)]
    if unusual:
        found_in = columns[CHARACTER_SET].is_in(unusual).fill_null(False)
        undecodable |= set(found_in.arg_true().to_list())
    frame = pl.DataFrame({"number": rows, "content_sha": _digests(windows, found, rows), **columns})
    return frame.filter(~pl.int_range(pl.len()).is_in(list(undecodable))) if undecodable else frame


def _digests(windows: Windows, found: Found, rows: NDArray[np.int64]) -> pl.Series:
    """Digest of the header of each file: of those of its windows before the first unwanted tag."""
    view, sha256 = windows.flat.data, hashlib.sha256
    digests = []
    for row, stop in zip(rows.tolist(), found.stop[rows].tolist(), strict=True):
        start = stop // STRIDE * STRIDE
        if row not in windows.before:
            digests.append(sha256(view[start:stop]).digest()[:16])
            continue
        digest = sha256()
        for begin, end in windows.before[row]:
            if begin == start:
                break
            digest.update(view[begin:end])
        digest.update(view[start:stop])
        digests.append(digest.digest()[:16])
    return pl.Series(digests, dtype=pl.Binary)


def _without_padding(
    flat: NDArray[np.uint8], begin: NDArray[np.int64], length: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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


def _gathered(
    flat: NDArray[np.uint8], begin: NDArray[np.int64], length: NDArray[np.int64]
) -> pa.BinaryArray:
    """The bytes of one attribute of each file; null where its length is negative."""
    size = np.maximum(length, 0)
    ends = np.zeros(len(size) + 1, dtype=np.int32)
    np.cumsum(size, out=ends[1:])
    data = np.empty(ends[-1], dtype=np.uint8)
    for first in range(0, len(size), BLOCK):
        rows = slice(first, first + BLOCK)
        start, stop = ends[first], ends[min(first + BLOCK, len(size))]
        places = np.repeat(begin[rows] - ends[:-1][rows], size[rows])
        places += np.arange(start, stop)
        data[start:stop] = flat[places]
    given = np.packbits(length >= 0, bitorder="little")
    buffers = [pa.py_buffer(given), pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(size), buffers)


def _numbers(raw: pl.Series, wanted: Wanted, is_big: NDArray[np.bool_]) -> pl.Series:
    """Binary numbers as decimal text, each distinct value turned once."""
    values = raw.to_list()
    texts = {value: _number(value, wanted, little=True) for value in set(values)}
    column = [texts[value] for value in values]
    for row in np.flatnonzero(is_big).tolist():
        column[row] = _number(values[row], wanted, little=False)
    return pl.Series(column, dtype=pl.String)


def _number(value: bytes | None, wanted: Wanted, *, little: bool) -> str | None:
    return None if value is None else text_of(value, wanted.vr, wanted.tag, (), little=little)


def _text(
    raw: pa.BinaryArray,
    wanted: Wanted,
    character_sets: pl.Series | None,
    undecodable: set[int],
) -> pl.Series:
    data = np.frombuffer(raw.buffers()[2], dtype=np.uint8)
    if len(data) and (data.max() >= 0x80 or (data == ESCAPE).any()):
        sets = character_sets if wanted.vr in CUSTOMIZABLE_CHARSET_VR else None
        return _each_decoded(pl.Series(raw, dtype=pl.Binary), wanted, sets, undecodable)
    text = pl.Series(raw.cast(pa.string()))
    if _has_inner_padding(data):
        return text.str.replace_all(r"[ \x00]*\\[ \x00]*", "\\")
    return text


def _has_inner_padding(data: NDArray[np.uint8]) -> bool:
    """Whether a backslash in some of these texts has a blank or NUL at its side."""
    at = np.flatnonzero(data == BACKSLASH)
    sides = np.concatenate([data[np.maximum(at - 1, 0)], data[np.minimum(at + 1, len(data) - 1)]])
    return bool(((sides == 0) | (sides == ord(" "))).any())


def _each_decoded(
    raw: pl.Series,
    wanted: Wanted,
    character_sets: pl.Series | None,
    undecodable: set[int],
) -> pl.Series:
    """Decode what is not plain text, each distinct value once; note the rows that cannot be."""
    if character_sets is None:
        distinct = raw.drop_nulls().unique()
        if len(distinct) < len(raw) // 4:
            texts = _each_decoded(distinct, wanted, None, failed := set())
            if not failed:
                return raw.replace_strict(distinct, texts, default=None, return_dtype=pl.String)
    sets = [""] * len(raw) if character_sets is None else character_sets.fill_null("").to_list()
    known: dict[tuple[bytes | None, str], str | None] = {(None, one): None for one in set(sets)}
    texts: list[str | None] = []
    for row, (value, character_set) in enumerate(zip(raw.to_list(), sets, strict=True)):
        key = (value, character_set)
        if key not in known:
            try:
                known[key] = text_of(value, wanted.vr, wanted.tag, encodings_of(character_set))
            except Undecodable:
                undecodable.add(row)
                texts.append(None)
                continue
        texts.append(known[key])
    return pl.Series(texts, dtype=pl.String)
