"""The reference reader: pydicom, for what the faster readers decline and to compare them with."""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipelines.sources.dicom_headers.tags import META, TagList, snake_case
from pipelines.sources.dicom_headers.values import DEFAULT_CHARACTER_SET, PADDING, text_of

Row = dict[str, str | None]
# What a digest covers of a file that cannot be parsed: enough to know it again, never pixels.
UNREADABLE_PREFIX = 65_536
# A value that claims more is left in the file.
LARGEST_VALUE = 1 << 20


def read_by_pydicom(path: Path, tags: TagList) -> tuple[Row | None, str | None, bytes]:
    """Header of one file, or the reason why there is none, and a digest of what was read."""
    # pydicom remarks on every odd header; what matters becomes a reason.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(
                    file, stop_before_pixels=True, force=True, defer_size=LARGEST_VALUE
                )
                return _row(dataset, tags), None, _digest(file, max(file.tell(), 132))
            except Exception as error:
                # pydicom raises many kinds on damaged files; each is a reason, none may stop a run
                reason = f"not readable: {type(error).__name__}"
                return None, reason, _digest(file, UNREADABLE_PREFIX)
    except OSError as error:
        return None, f"not readable: {error.strerror}", _digest_of_name(path)


def digest_of_prefix(path: Path) -> bytes:
    """Digest of a file that no reader takes: of its first bytes, or its name where it has none."""
    if not path.is_file():
        return _digest_of_name(path)
    with path.open("rb") as file:
        return _digest(file, UNREADABLE_PREFIX)


def _digest_of_name(path: Path) -> bytes:
    return hashlib.sha256(str(path).encode()).digest()[:16]


def _digest(file: BinaryIO, length: int) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    for start in range(0, length, LARGEST_VALUE):
        digest.update(file.read(min(LARGEST_VALUE, length - start)))
    return digest.digest()[:16]


def _row(dataset: Dataset, tags: TagList) -> Row:
    meta = getattr(dataset, "file_meta", None)
    encodings = _encodings(dataset)
    row: Row = {}
    for keyword in tags.attributes:
        source = meta if keyword in META else dataset
        row[snake_case(keyword)] = None if source is None else _text(source, keyword, encodings)
    for sequence, items in tags.sequences.items():
        first = _first_item(dataset, sequence)
        own = encodings if first is None else _encodings(first)
        for keyword, column in items.items():
            row[column] = None if first is None else _text(first, keyword, own)
    return row


def _encodings(dataset: Dataset) -> tuple[str, ...]:
    """Codecs of a data set, or of an item: its own, else those of the data set around it."""
    found = getattr(dataset, "_character_set", DEFAULT_CHARACTER_SET)
    return (found,) if isinstance(found, str) else tuple(found)


def _is_left_in_file(element: RawDataElement | DataElement) -> bool:
    return isinstance(element, RawDataElement) and element.value is None and element.length > 0


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    if keyword not in dataset:
        return None
    if _is_left_in_file(dataset.get_item(keyword)):
        raise ValueError(f"{keyword} is longer than any of its kind")
    items = dataset[keyword].value
    return items[0] if isinstance(items, pydicom.Sequence) and len(items) else None


def _text(dataset: Dataset, keyword: str, encodings: tuple[str, ...]) -> str | None:
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None
    element = dataset.get_item(tag)
    if _is_left_in_file(element):
        raise ValueError(f"{keyword} is longer than any of its kind")
    if isinstance(element, RawDataElement):
        return text_of(
            element.value or b"",
            element.VR,
            int(tag),
            encodings,
            little=element.is_little_endian,
        )
    value = element.value
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        return "\\".join(str(part).strip(PADDING) for part in value)
    return str(value).strip(PADDING)
