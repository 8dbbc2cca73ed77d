"""Raw bytes of an attribute as text: what every reader of headers gives for the same bytes."""

import re
import struct
import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, TEXT_VR_DELIMS

NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
DEFAULT_CHARACTER_SET = ("iso8859",)
PADDING = " \0"


class Undecodable(ValueError):
    """The bytes of a value, or the character set that a header names, cannot be turned into text."""


def text_of(
    raw: bytes, vr: str | None, tag: int, encodings: tuple[str, ...], *, little: bool = True
) -> str:
    """Decoded text of one attribute: padding stripped, backslash between values.

    `vr` is that of the file; None or UN takes that of the dictionary. Binary numbers become
    decimal text. Raises Undecodable.
    """
    known = vr if vr and vr != "UN" else dictionary_VR(tag)
    if known in NUMBERS:
        return _numbers(raw, NUMBERS[known], little=little)
    if known in CUSTOMIZABLE_CHARSET_VR:
        try:
            text = decode_bytes(raw, list(encodings), TEXT_VR_DELIMS)
        except (ValueError, LookupError) as error:
            raise Undecodable(f"text in no known character set ({type(error).__name__})") from None
    else:
        text = raw.decode("latin-1")
    return "\\".join(part.strip(PADDING) for part in text.split("\\"))


def is_standard(character_set: str) -> bool:
    """Whether bytes below 128 are ASCII text in it: true of the defined terms of DICOM only.

    pydicom takes the names of Python's codecs too, and in some of those they are not.
    """
    return all(term in python_encoding for term in character_set.split("\\"))


@lru_cache(maxsize=1024)
def encodings_of(character_set: str) -> tuple[str, ...]:
    """Python codecs for a SpecificCharacterSet (values with backslash between them).

    Raises Undecodable.
    """
    if not character_set:
        return DEFAULT_CHARACTER_SET
    if not re.fullmatch(r"[A-Za-z0-9_ \\-]+", character_set):
        raise Undecodable("no known character set")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(convert_encodings(character_set.split("\\")))
        except (ValueError, LookupError) as error:
            raise Undecodable(f"no known character set ({type(error).__name__})") from None


def _numbers(raw: bytes, code: str, *, little: bool) -> str:
    size = struct.calcsize(code)
    values = struct.unpack(
        f"{'<' if little else '>'}{len(raw) // size}{code}", raw[: len(raw) // size * size]
    )
    return "\\".join(map(str, values))
