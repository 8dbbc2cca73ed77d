"""Deliveries of DICOM files in units: each is read, landed and committed by itself.

A folder of any size is cut into runs of files. Where it is cut depends on the names near the cut
only, so that a file that is added later changes one unit, and a killed harvest goes on with the
units that have no receipt. A unit is known again by its manifest: names, sizes and times.
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.archives import Archive, is_archive, split_inside
from pipelines.sources.dicom_headers.read import files_below, path_of_text, text_of_path
from pipelines.sources.inbox import Delivery

# A cut comes after so many files at the earliest, from then on after one name of so many on
# average, and after four times so many in any case.
SMALLEST_UNIT = 4096
LARGEST_UNIT = 4 * SMALLEST_UNIT
# Units are read, validated and landed together up to so many files.
LARGEST_BATCH = LARGEST_UNIT
# An archive counts as one file per so many bytes; a larger one is cut into units of its own.
BYTES_PER_MEMBER = 4096
LARGEST_SHARED_ARCHIVE = 16 << 20


@dataclass(frozen=True)
class Unit:
    """Some files of a delivery.

    `files` are their paths as text, members of archives as `archive!/member`. `manifest` is None
    for files chosen for a replay. `first` names the file that the unit begins with, empty for the
    first unit of a delivery. `weight` is about how many headers it holds. Of an archive that has
    units to itself (`is_large_archive`) `parts` gives the units.
    """

    delivery: Delivery
    files: tuple[str, ...]
    manifest: str | None
    first: str
    weight: int
    is_large_archive: bool = False
    start: int = 0
    stop: int | None = None


def units(delivery: Delivery) -> Iterator[Unit]:
    """The units of a delivery in order of their files; reads the listing, no file."""
    if delivery.payload is not None:
        paths = tuple(json.loads(delivery.payload))
        yield from _chosen(delivery, paths)
        return
    files: list[str] = []
    lines: list[str] = []
    weight, is_first = 0, True
    # Names count from the delivery day's folder on, so that a home may be moved or restored.
    base = f"{str(delivery.path.parent.parent).rstrip('/')}/"
    for path in all_files(delivery.path):
        line, size = _line(path, base)
        text = text_of_path(path)
        is_large = size > LARGEST_SHARED_ARCHIVE and is_archive(path)
        if is_large and files:
            yield _unit(delivery, files, lines, weight, is_first=is_first)
            files, lines, weight, is_first = [], [], 0, False
        own = 1 + size // BYTES_PER_MEMBER if is_archive(path) else 1
        files.append(text)
        lines.append(line)
        weight += own
        if is_large or _is_cut(line, own, weight):
            yield _unit(delivery, files, lines, weight, is_first=is_first, is_large=is_large)
            files, lines, weight, is_first = [], [], 0, False
    if files:
        yield _unit(delivery, files, lines, weight, is_first=is_first)


def all_files(path: Path) -> Iterator[str]:
    """Everything of a delivery that is no folder, sorted; what is still in transfer left out."""
    return files_below(path) if path.is_dir() else iter([str(path)])


def parts(unit: Unit, archive: Archive) -> Iterator[Unit]:
    """The units of a large archive; the last one has the manifest of the whole.

    So the archive is known as soon as all of it is, and each part is known before.
    """
    count = max(len(archive.members), 1)
    for start in range(0, count, SMALLEST_UNIT):
        stop = min(start + SMALLEST_UNIT, count)
        manifest = unit.manifest
        if manifest is not None and stop < count:
            manifest = hashlib.sha256(f"{unit.manifest}|{start}".encode()).hexdigest()
        first = unit.first if start == 0 else f"{unit.files[0]}|{start}"
        yield Unit(unit.delivery, unit.files, manifest, first, stop - start, start=start, stop=stop)


def by_archive(files: Iterable[str]) -> tuple[list[Path], dict[str, list[str] | None]]:
    """Single files; and per archive the members that are meant, None for all of them."""
    single: list[Path] = []
    archives: dict[str, list[str] | None] = {}
    for text in files:
        inside = split_inside(text)
        if inside is not None:
            wanted = archives.setdefault(inside[0], [])
            if wanted is not None:
                wanted.append(text)
        elif is_archive(text):
            archives[text] = None
        else:
            single.append(path_of_text(text))
    return single, archives


def _is_cut(line: str, own: int, weight: int) -> bool:
    if weight >= LARGEST_UNIT:
        return True
    name = line.partition("|")[0].encode(errors="surrogateescape")
    return weight >= SMALLEST_UNIT and zlib.crc32(name) % SMALLEST_UNIT < own


def _is_large_archive(text: str) -> bool:
    path = path_of_text(text)
    return is_archive(text) and path.is_file() and path.stat().st_size > LARGEST_SHARED_ARCHIVE


def _line(path: str, base: str) -> tuple[str, int]:
    """A file in the manifest, and its size."""
    name = path.removeprefix(base)
    try:
        found = Path(path).stat()
    except OSError:
        # Gone, or a link to nowhere: it is read all the same, and rejected with the reason.
        return f"{name}|?|?", 0
    return f"{name}|{found.st_size}|{found.st_mtime_ns}", found.st_size


def _unit(
    delivery: Delivery,
    files: list[str],
    lines: list[str],
    weight: int,
    *,
    is_first: bool,
    is_large: bool = False,
) -> Unit:
    text = "\n".join(lines).encode(errors="surrogateescape")
    manifest = hashlib.sha256(text).hexdigest()
    first = (
        "" if is_first else lines[0].partition("|")[0].encode(errors="backslashreplace").decode()
    )
    return Unit(delivery, tuple(files), manifest, first, weight, is_large_archive=is_large)


def _chosen(delivery: Delivery, paths: tuple[str, ...]) -> Iterator[Unit]:
    """The files of a replay, in runs of bounded length; a large archive by itself."""
    large = tuple(text for text in paths if _is_large_archive(text))
    for text in large:
        yield Unit(delivery, (text,), None, text, SMALLEST_UNIT, is_large_archive=True)
    paths = tuple(text for text in paths if text not in large)
    for start in range(0, len(paths), LARGEST_UNIT):
        files = paths[start : start + LARGEST_UNIT]
        yield Unit(delivery, files, None, "" if start == 0 else files[0], len(files))
