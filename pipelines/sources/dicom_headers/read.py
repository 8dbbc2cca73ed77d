"""Read DICOM headers with pydicom, the reference reader; refuse what is not complete."""

import hashlib
import logging
import multiprocessing
import re
import struct
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pydicom
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, TEXT_VR_DELIMS

from pipelines.sources.inbox import is_in_transfer

TAGS_FILE = Path(__file__).parent / "tags.toml"
READER = "pydicom"
CHUNK = 512
NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
REQUIRED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
# What a digest covers of a file that cannot be parsed: enough to know it again, never pixels.
UNREADABLE_PREFIX = 65_536


def snake_case(keyword: str) -> str:
    """DICOM keyword to column name: SOPInstanceUID -> sop_instance_uid."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword)
    return spaced.replace("DIvol", "divol").lower().replace("ctd_ivol", "ctdivol")


@dataclass(frozen=True)
class TagList:
    """Which attributes are read and how each is treated (tags.toml)."""

    attributes: dict[str, str]
    sequences: dict[str, dict[str, str]]

    @classmethod
    def load(cls, path: Path = TAGS_FILE) -> "TagList":
        """Read a tag list."""
        document = tomllib.loads(path.read_text())
        return cls(document["attributes"], document["sequences"])

    def columns(self) -> list[str]:
        """Column names in reading order."""
        names = [snake_case(keyword) for keyword in self.attributes]
        return names + [column for item in self.sequences.values() for column in item.values()]

    def treated(self, treatment: str) -> list[str]:
        """Columns of one treatment."""
        return [snake_case(k) for k, how in self.attributes.items() if how == treatment]


@dataclass(frozen=True)
class HeaderBatch:
    """What a set of DICOM files held.

    `accepted`: one row per SOP instance: `path`, `reader`, `content_sha` (16 bytes over the
    header bytes) and one text column per harvested attribute, named as the snake_case keyword;
    padding stripped, backslash between values, null = absent, "" = present and empty. Identities
    are raw, in memory only. `rejected`: one row per file: `path`, `reason`, `content_sha`.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame


def read_headers(
    paths: Iterable[Path | str],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> HeaderBatch:
    """Read the headers of files, or of all files below folders; never raises on content."""
    chunks = list(_chunks(_files(paths)))
    results: Iterable[tuple[list[dict[str, object]], list[dict[str, object]]]]
    accepted: list[dict[str, object]] = []
    rejected: list[dict[str, object]] = []
    if workers > 1 and len(chunks) > 1:
        # spawn: a forked process can hang on locks held by polars' threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            results = pool.map(read_chunk, chunks)
            _collect(results, accepted, rejected, progress)
    else:
        _collect(map(read_chunk, chunks), accepted, rejected, progress)
    tags = TagList.load()
    schema = {"path": pl.String, "reader": pl.String, "content_sha": pl.Binary}
    return HeaderBatch(
        pl.DataFrame(accepted, schema=schema | dict.fromkeys(tags.columns(), pl.String)),
        pl.DataFrame(
            rejected, schema={"path": pl.String, "reason": pl.String, "content_sha": pl.Binary}
        ),
    )


def _collect(
    results: Iterable[tuple[list[dict[str, object]], list[dict[str, object]]]],
    accepted: list[dict[str, object]],
    rejected: list[dict[str, object]],
    progress: Callable[[int], None] | None,
) -> None:
    for good, bad in results:
        accepted += good
        rejected += bad
        if progress is not None:
            progress(len(good) + len(bad))


def _files(paths: Iterable[Path | str]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not is_in_transfer(p))
        else:
            yield path


def _chunks(files: Iterator[Path]) -> Iterator[list[Path]]:
    while chunk := list(islice(files, CHUNK)):
        yield chunk


def read_chunk(files: list[Path]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Read some files in this process: accepted rows and rejected rows."""
    # pydicom remarks on every odd header; what matters becomes a reason.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    tags = TagList.load()
    accepted, rejected = [], []
    for path in files:
        row, reason, digest = read_one(path, tags)
        if reason is None:
            accepted.append({"path": str(path), "reader": READER, "content_sha": digest, **row})
        else:
            rejected.append({"path": str(path), "reason": reason, "content_sha": digest})
    return accepted, rejected


def read_one(path: Path, tags: TagList) -> tuple[dict[str, str | None], str | None, bytes]:
    """Header row of one file, or the reason why it is refused; and the digest of its header."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
                digest = _digest(file, max(file.tell(), 132))
                row = _row(dataset, tags)
                reason = refusal(row, path)
            except Exception as error:
                # pydicom raises many kinds on damaged files; each is a reason, none may stop a run
                return {}, f"not readable: {type(error).__name__}", _digest(file, UNREADABLE_PREFIX)
    except OSError as error:
        return (
            {},
            f"not readable: {error.strerror}",
            hashlib.sha256(str(path).encode()).digest()[:16],
        )
    return row, reason, digest


def _digest(file: BinaryIO, length: int) -> bytes:
    file.seek(0)
    return hashlib.sha256(file.read(length)).digest()[:16]


def refusal(row: dict[str, str | None], path: Path) -> str | None:
    """Why a header is not complete, or None; equality with pydicom is not completeness."""
    if path.stat().st_size == 0:
        return "empty file"
    missing = [keyword for keyword in REQUIRED if not row[snake_case(keyword)]]
    if len(missing) == len(REQUIRED):
        return "not a DICOM header"
    if missing:
        return f"header incomplete: {', '.join(missing)} missing"
    stated = row["media_storage_sop_instance_uid"]
    if stated and stated != row["sop_instance_uid"]:
        return "file meta and header name different SOP instances"
    return None


def _row(dataset: Dataset, tags: TagList) -> dict[str, str | None]:
    meta = getattr(dataset, "file_meta", None)
    encodings = getattr(dataset, "_character_set", "iso8859")
    encodings = [encodings] if isinstance(encodings, str) else encodings
    row: dict[str, str | None] = {}
    for keyword in tags.attributes:
        source = meta if keyword in META else dataset
        row[snake_case(keyword)] = None if source is None else _text(source, keyword, encodings)
    for sequence, items in tags.sequences.items():
        first = _first_item(dataset, sequence)
        for keyword, column in items.items():
            row[column] = None if first is None else _text(first, keyword, encodings)
    return row


META = {"TransferSyntaxUID", "MediaStorageSOPInstanceUID"}


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    if keyword not in dataset:
        return None
    items = dataset[keyword].value
    return items[0] if isinstance(items, pydicom.Sequence) and len(items) else None


def _text(dataset: Dataset, keyword: str, encodings: list[str]) -> str | None:
    """Decoded text of one attribute: padding stripped, backslash between values."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None
    element = dataset.get_item(tag)
    if not isinstance(element, RawDataElement):
        value = element.value
        if value is None:
            return ""
        if isinstance(value, MultiValue):
            return "\\".join(str(part).strip(" \0") for part in value)
        return str(value).strip(" \0")
    raw = element.value or b""
    vr = element.VR if element.VR and element.VR != "UN" else dictionary_VR(tag)
    if vr in NUMBERS:
        return _numbers(raw, NUMBERS[vr], little=element.is_little_endian)
    if vr in CUSTOMIZABLE_CHARSET_VR:
        text = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    else:
        text = raw.decode("latin-1")
    return "\\".join(part.strip(" \0") for part in text.split("\\"))


def _numbers(raw: bytes, code: str, *, little: bool) -> str:
    size = struct.calcsize(code)
    values = struct.unpack(
        f"{'<' if little else '>'}{len(raw) // size}{code}", raw[: len(raw) // size * size]
    )
    return "\\".join(map(str, values))
