"""Texts of many headers as columns: the same as each text by itself."""

import random
from types import SimpleNamespace
from typing import cast

import numpy as np
import polars as pl
import pytest

from pipelines.sources.dicom_headers.columns import MOST_PLAIN, as_columns
from pipelines.sources.dicom_headers.first_window import Found
from pipelines.sources.dicom_headers.tags import Wanted
from pipelines.sources.dicom_headers.values import Undecodable, encodings_of, is_standard, text_of
from pipelines.sources.dicom_headers.windows import STRIDE, Windows

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom remarks on every odd text

CHARACTER_SET = Wanted(0x00080005, "CS", "specific_character_set")
WANTED = (
    CHARACTER_SET,
    Wanted(0x00080020, "DA", "study_date"),
    Wanted(0x00080080, "LO", "institution_name"),
    Wanted(0x00200011, "IS", "series_number"),
    Wanted(0x00280010, "US", "rows"),
)
SETS = (None, b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"ISO_IR 9999")
ALPHABETS = (b"a", b"aB9 ", b" \0", b"ab \0\\", b"ab\xe9\xc3\xa9\xff", b"ab\x1b$B(J\\ ")


def _value(wanted: Wanted, rng: random.Random) -> bytes | None:
    """A value of a header, or None where the attribute is absent."""
    if rng.random() < 0.2:
        return None
    if wanted.vr == "US":
        return rng.randbytes(rng.choice([0, 2, 2, 2, 4]))
    if wanted is CHARACTER_SET:
        return rng.choice(SETS)
    length = rng.choice([0, 1, 2, 10, 11, 12, 13, 16, 32, 64, rng.randrange(80)])
    if rng.random() < 0.02:
        length = MOST_PLAIN + rng.randrange(-2, 40)
    return bytes(rng.choices(rng.choice(ALPHABETS), k=length))


def _expected(values: list[bytes | None], *, is_big: bool) -> dict[str, str | None] | None:
    """What the patient readers make of one header; None where a text cannot be decoded."""
    row: dict[str, str | None] = {}
    named = (values[0] or b"").strip(b" \0").decode("latin-1")
    if not is_standard(named):
        return None
    try:
        encodings = encodings_of(named)
        for wanted, value in zip(WANTED, values, strict=True):
            if value is None:
                row[wanted.column] = None
                continue
            raw = value if wanted.vr == "US" else value.strip(b" \0")
            little = not is_big
            row[wanted.column] = text_of(raw, wanted.vr, wanted.tag, encodings, little=little)
    except Undecodable:
        return None
    return row


def _columns(headers: list[list[bytes | None]], is_big: list[bool]) -> pl.DataFrame:
    """The headers through `as_columns`, each value at a place of its own in its window."""
    rng = random.Random(len(headers))
    flat = np.frombuffer(rng.randbytes((len(headers) + 1) * STRIDE), np.uint8).copy()
    begin = [np.zeros(len(headers), np.int32) for _ in WANTED]
    length = [np.full(len(headers), -1, np.int32) for _ in WANTED]
    stop = np.zeros(len(headers), np.int64)
    for number, values in enumerate(headers):
        at = number * STRIDE + 8
        for column, value in enumerate(values):
            if value is not None:
                begin[column][number], length[column][number] = at, len(value)
                flat[at : at + len(value)] = np.frombuffer(value, np.uint8)
                at += len(value) + 8
        stop[number] = at
    accepted = np.ones(len(headers), dtype=bool)
    windows = cast(Windows, SimpleNamespace(flat=flat, before={}))
    frame = as_columns(windows, Found(WANTED, begin, length, stop, np.array(is_big), accepted))
    flat[:] = 0  # the buffer goes to other files while the columns are in use
    return frame


@pytest.mark.parametrize("seed", range(30))
def test_a_column_of_many_headers_holds_what_each_value_says_by_itself(seed: int):
    """Failing means that padding, length or character set of one file changes another's text."""
    rng = random.Random(seed)
    headers = [[_value(wanted, rng) for wanted in WANTED] for _ in range(rng.choice([1, 7, 400]))]
    is_big = [rng.random() < 0.1 for _ in headers]
    expected = [_expected(one, is_big=big) for one, big in zip(headers, is_big, strict=True)]
    found = _columns(headers, is_big)
    sound = [number for number, row in enumerate(expected) if row is not None]
    assert found["number"].to_list() == sound
    for row in found.drop("content_sha").iter_rows(named=True):
        assert {name: row[name] for name in row if name != "number"} == expected[row["number"]]


def test_plain_texts_beside_others_stay_what_they_are():
    """Failing means that one text in another script spoils a column."""
    texts = [b"General ", b"Nord-H\xf4pital ", b"x" * 300, b"", None, b" a \\ b ", b"y" * 13]
    headers: list[list[bytes | None]] = [
        [b"ISO_IR 100", None, text, None, b"\0\2"] for text in texts
    ]
    found = _columns(headers, [False] * len(texts))
    assert found["institution_name"].to_list() == [
        "General", "Nord-Hôpital", "x" * 300, "", None, "a\\b", "y" * 13,
    ]  # fmt: skip
    assert found["rows"].to_list() == ["512"] * len(texts)
    assert found["study_date"].null_count() == len(texts)
