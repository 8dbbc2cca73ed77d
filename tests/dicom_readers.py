"""The fast readers of DICOM headers one by one, and pydicom as what they are held against."""

from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement, RawDataElement

from pipelines.sources.dicom_headers.columns import as_columns
from pipelines.sources.dicom_headers.first_window import scan
from pipelines.sources.dicom_headers.read import REQUIRED
from pipelines.sources.dicom_headers.reference import read_by_pydicom
from pipelines.sources.dicom_headers.scanner import Declined, Refused, read_by_scanner
from pipelines.sources.dicom_headers.tags import TagList, snake_case
from pipelines.sources.dicom_headers.windows import read_windows

TAGS = TagList.load()
Row = dict[str, str | None]
Difference = tuple[str, str, str | None, str | None]


def by_window(paths: list[Path]) -> dict[Path, Row]:
    windows = read_windows(paths)
    frame = as_columns(windows, scan(windows, TAGS)).drop("content_sha")
    return {paths[int(row.pop("number"))]: row for row in frame.iter_rows(named=True)}


def by_scanner(paths: list[Path]) -> dict[Path, Row]:
    found = {}
    for path in paths:
        try:
            found[path] = read_by_scanner(path, TAGS)[0]
        except (Declined, Refused):
            continue
    return found


READERS = {"first_window": by_window, "scanner": by_scanner}


def complete(path: Path) -> Row | None:
    """What pydicom reads, where it reads a whole header."""
    row, _, _ = read_by_pydicom(path, TAGS)
    is_whole = row is not None and all(row[snake_case(keyword)] for keyword in REQUIRED)
    return row if is_whole else None


def differences(found: dict[Path, Row]) -> list[Difference]:
    """Values that a reader gives and pydicom, where it can read the file, does not: absent is
    another thing than empty."""
    return compared(found)[0]


def compared(found: dict[Path, Row]) -> tuple[list[Difference], list[Difference]]:
    """Differences; and apart from them those of elements that stand out of order behind the first
    one beyond the wanted tags, where no fast reader looks."""
    different, behind = [], []
    for path, ours in found.items():
        theirs, _, _ = read_by_pydicom(path, TAGS)
        if theirs is None or not any(theirs[snake_case(keyword)] for keyword in REQUIRED):
            continue  # it reads nothing where a delimiter stands at the top, say
        for name, value in theirs.items():
            if ours[name] != value:
                where = behind if _is_behind_the_end(path, name) else different
                where.append((path.name, name, ours[name], value))
    return different, behind


def _is_behind_the_end(path: Path, column: str) -> bool:
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    flat = {wanted.column: wanted.tag for wanted in TAGS.flat}
    nested = {one.column: tag for tag, item in TAGS.items.items() for one in item}
    tag = (flat | nested).get(column)
    tags = dataset.keys()  # to go over the data set itself would decode every element
    places = {int(key): _place(dataset.get_item(key)) for key in tags}
    end = min((place for key, place in places.items() if key > TAGS.last_tag), default=None)
    return tag in places and end is not None and places[tag] > end


def _place(element: RawDataElement | DataElement) -> int:
    return element.value_tell if isinstance(element, RawDataElement) else element.file_tell or 0
