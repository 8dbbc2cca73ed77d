"""Headers read once more by pydicom, the reference, and compared attribute by attribute."""

import random
from pathlib import Path

import polars as pl

from pipelines.sources.archives import ArchiveRefused
from pipelines.sources.dicom_headers.read import (
    PYDICOM,
    HeaderTooLong,
    Named,
    Source,
    as_files,
    bounded_pydicom,
    read_chunk,
    source_of,
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
    chance = random.Random(seed)
    # Rounded by chance, so that of many small pieces the share is taken, too.
    count = int(len(candidates) * share + chance.random())
    count = min(len(candidates), max(count, least))
    picked = set(chance.sample(candidates, count))
    firsts = rows.unique(MAKER, keep="first", maintain_order=True).select("row", *MAKER)
    for row, *maker in firsts.iter_rows():
        if tuple(maker) not in makers:
            makers.add(tuple(maker))
            picked.add(row)
    return sorted(picked)


def differing(
    header: dict[str, object], tags: TagList, source: Named | None = None
) -> list[str] | None:
    """Keywords of the attributes in which pydicom reads something else; never a value.

    `header` is a row of the accepted headers, `source` its bytes where they are at hand. None
    where nothing can be compared: the file is gone, or its header too long for pydicom. A file
    that changed since is read anew by both.
    """
    path = str(header["path"])
    try:
        found = _differing(source or source_of(path), header, tags)
        if found and source is None:
            again = read_chunk([source_of(path)]).accepted
            found = (
                _differing(source_of(path), again.row(0, named=True), tags) if len(again) else None
            )
    except (OSError, ArchiveRefused):
        return None
    return found


def _differing(source: Source, ours: dict[str, object], tags: TagList) -> list[str] | None:
    with as_files([source]) as (name,):
        file = Path(name)
        with file.open("rb"):
            pass
        theirs, reason, _ = bounded_pydicom(file, tags, inflates=INFLATED)
    if theirs is None:
        # Of a head pydicom may miss what comes after the attributes that are wanted.
        is_part = isinstance(source, Named) and source.is_head
        is_long = str(reason).endswith(HeaderTooLong.__name__)
        return None if is_part or is_long else [WHOLE]
    return [name for name, column in _keywords(tags) if ours[column] != theirs[column]]


def _keywords(tags: TagList) -> list[tuple[str, str]]:
    """Keyword and column of every attribute; of an item with the keyword of its sequence."""
    flat = [(keyword, snake_case(keyword)) for keyword in tags.attributes]
    return flat + [
        (f"{sequence}.{keyword}", column)
        for sequence, item in tags.sequences.items()
        for keyword, column in item.items()
    ]


def makers_in(files: list[Path]) -> set[Maker]:
    """Makers, models and software versions of the headers in landing files."""
    if not files:
        return set()
    # One query over all files: the engine reads them in pieces, and keeps the few that differ.
    rows = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore").select(MAKER)
    return set(rows.unique().collect(engine="streaming").iter_rows())
