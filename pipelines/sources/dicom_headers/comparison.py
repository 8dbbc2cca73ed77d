"""Headers read once more by pydicom, the reference, and compared attribute by attribute."""

import random
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from pipelines.sources.archives import Archive, ArchiveRefused, split_inside
from pipelines.sources.dicom_headers.read import (
    LARGEST_MEMBER,
    PYDICOM,
    HeaderTooLong,
    Named,
    Source,
    as_files,
    bounded_pydicom,
    name_inside,
    path_of_text,
    read_chunk,
)
from pipelines.sources.dicom_headers.tags import TagList, snake_case

RULE = "pydicom_reads_the_same"
# A sample of fewer says nothing of a small delivery.
AT_LEAST = 20
WHOLE = "the header as a whole"
# A larger deflated file is not inflated for a comparison.
INFLATED = 64 << 10
MAKER = ("manufacturer", "manufacturer_model_name", "software_versions")
Maker = tuple[str | None, ...]


def chosen(
    headers: pl.DataFrame, share: float, least: int, makers: set[Maker], seed: str
) -> list[int]:
    """Rows to compare: a seeded random share, at least `least`, and the first of each new maker.

    `makers` are the makers, models and software versions met before; the new ones are added.
    What pydicom itself has read is not compared.
    """
    if share == 0:
        return []
    rows = headers.with_row_index("row").filter(pl.col("reader") != PYDICOM)
    candidates = rows["row"].to_list()
    count = min(len(candidates), max(round(len(candidates) * share), least))
    picked = set(random.Random(seed).sample(candidates, count))
    firsts = rows.unique(MAKER, keep="first", maintain_order=True).select("row", *MAKER)
    for row, *maker in firsts.iter_rows():
        if tuple(maker) not in makers:
            makers.add(tuple(maker))
            picked.add(row)
    return sorted(picked)


def differing(header: dict[str, object], tags: TagList) -> list[str] | None:
    """Keywords of the attributes in which pydicom reads something else; never a value.

    `header` is a row of the accepted headers. None where nothing can be compared: the file is
    gone, or its header too long for pydicom. A file that changed since is read anew by both.
    """
    path = str(header["path"])
    try:
        found = _differing(path, header, tags)
        if found:
            again = read_chunk([_source(path)]).accepted
            found = _differing(path, again.row(0, named=True), tags) if len(again) else None
    except (OSError, ArchiveRefused):
        return None
    return found


def _differing(path: str, ours: dict[str, object], tags: TagList) -> list[str] | None:
    with as_files([_source(path)]) as (file,):
        with file.open("rb"):
            pass
        theirs, reason, _ = bounded_pydicom(file, tags, inflates=INFLATED)
    if theirs is None:
        return None if str(reason).endswith(HeaderTooLong.__name__) else [WHOLE]
    return [name for name, column in _keywords(tags) if ours[column] != theirs[column]]


def _keywords(tags: TagList) -> list[tuple[str, str]]:
    """Keyword and column of every attribute; of an item with the keyword of its sequence."""
    flat = [(keyword, snake_case(keyword)) for keyword in tags.attributes]
    return flat + [
        (f"{sequence}.{keyword}", column)
        for sequence, item in tags.sequences.items()
        for keyword, column in item.items()
    ]


def _source(path: str) -> Source:
    """What a path of the accepted headers stands for: a file, or a member of an archive."""
    inside = split_inside(path)
    if inside is None:
        return path_of_text(path)
    with ExitStack() as stack:
        archive = stack.enter_context(Archive(path_of_text(inside[0])))
        for member in archive.members:
            if name_inside(inside[0], member) == path:
                return Named(path, archive.head(member, min(member.size, LARGEST_MEMBER)))
    raise ArchiveRefused("the member is gone")


def makers_in(files: list[Path]) -> set[Maker]:
    """Makers, models and software versions of the headers in landing files."""
    if not files:
        return set()
    rows = pl.concat([pl.scan_parquet(file).select(MAKER).unique() for file in files])
    return set(rows.unique().collect().iter_rows())
