"""Values found in windows as text columns, without an object per value."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from pipelines.sources.dicom_headers.first_window import WINDOW, Found, Windows
from pipelines.sources.dicom_headers.tags import Wanted
from pipelines.sources.dicom_headers.values import (
    NUMBERS,
    Undecodable,
    encodings_of,
    is_standard,
    text_of,
)

ESCAPE, BACKSLASH = 0x1B, 0x5C
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
    flat = windows.bytes.reshape(-1)
    is_text = np.array([wanted.vr not in NUMBERS for wanted in found.columns])
    begin, length = _without_padding(
        flat, rows[:, None] * WINDOW + found.offset[rows], found.length[rows], is_text
    )
    order = sorted(
        range(len(found.columns)), key=lambda n: found.columns[n].column != CHARACTER_SET
    )
    for number in order:
        wanted = found.columns[number]
        raw = _gathered(flat, begin[:, number], length[:, number])
        columns[wanted.column] = _text(raw, wanted, columns.get(CHARACTER_SET), undecodable).alias(
            wanted.column
        )
    unusual = [one for one in columns[CHARACTER_SET].unique().drop_nulls() if not is_standard(one)]
    undecodable |= set(columns[CHARACTER_SET].is_in(unusual).fill_null(False).arg_true().to_list())
    view = flat.data
    digests = [
        hashlib.sha256(view[row * WINDOW : row * WINDOW + stop]).digest()[:16]
        for row, stop in zip(rows.tolist(), found.stop[rows].tolist(), strict=True)
    ]
    frame = pl.DataFrame(
        {"number": rows, "content_sha": pl.Series(digests, dtype=pl.Binary), **columns}
    )
    return frame.filter(~pl.int_range(pl.len()).is_in(list(undecodable))) if undecodable else frame


def _without_padding(
    flat: NDArray[np.uint8],
    begin: NDArray[np.int64],
    length: NDArray[np.int64],
    is_text: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and length of each value with the padding at both ends of text cut off."""
    shape = begin.shape
    begin, length = begin.reshape(-1).copy(), length.reshape(-1).copy()
    for last in (True, False):
        left = np.flatnonzero((length > 0) & np.broadcast_to(is_text, shape).reshape(-1))
        while len(left):
            byte = flat[begin[left] + (length[left] - 1 if last else 0)]
            left = left[(byte == 0) | (byte == ord(" "))]
            length[left] -= 1
            begin[left] += 0 if last else 1
            left = left[length[left] > 0]
    return begin.reshape(shape), length.reshape(shape)


def _gathered(
    flat: NDArray[np.uint8], begin: NDArray[np.int64], length: NDArray[np.int64]
) -> pa.BinaryArray:
    """The bytes of one attribute of each file; null where its length is negative."""
    size = np.maximum(length, 0)
    ends = np.zeros(len(size) + 1, dtype=np.int32)
    np.cumsum(size, out=ends[1:])
    data = flat[np.repeat(begin - ends[:-1], size) + np.arange(ends[-1])]
    given = np.packbits(length >= 0, bitorder="little")
    buffers = [pa.py_buffer(given), pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(size), buffers)


def _text(
    raw: pa.BinaryArray,
    wanted: Wanted,
    character_sets: pl.Series | None,
    undecodable: set[int],
) -> pl.Series:
    if wanted.vr in NUMBERS:
        return _each_decoded(pl.Series(raw, dtype=pl.Binary), wanted, None, undecodable)
    data = np.frombuffer(raw.buffers()[2], dtype=np.uint8)
    if ((data >= 0x80) | (data == ESCAPE)).any():
        sets = character_sets if wanted.vr in CUSTOMIZABLE_CHARSET_VR else None
        return _each_decoded(pl.Series(raw, dtype=pl.Binary), wanted, sets, undecodable)
    text = pl.Series(raw.cast(pa.string()))
    if (data == BACKSLASH).any():
        return text.str.replace_all(r"[ \x00]*\\[ \x00]*", "\\")
    return text


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
