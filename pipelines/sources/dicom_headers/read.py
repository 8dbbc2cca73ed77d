"""Read DICOM headers in tiers; refuse what is not complete.

The first bytes of many files are parsed side by side; what that declines goes to the patient
scanner, and what that declines to pydicom, the reference. Every tier gives the same text for the
same file, and every tier is held to the same completeness.
"""

import multiprocessing
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from pipelines.sources.dicom_headers.columns import as_columns
from pipelines.sources.dicom_headers.first_window import scan
from pipelines.sources.dicom_headers.reference import digest_of_prefix, read_by_pydicom
from pipelines.sources.dicom_headers.scanner import Declined, Refused, read_by_scanner
from pipelines.sources.dicom_headers.tags import TagList, snake_case
from pipelines.sources.dicom_headers.windows import read_windows
from pipelines.sources.inbox import is_in_transfer

# Files parsed side by side. More cost memory (8 KiB each), fewer cost time.
CHUNK = 8192
# A process is worth starting for so many chunks: its imports take as long as reading them here.
CHUNKS_PER_PROCESS = 4
FIRST_WINDOW, SCANNER, PYDICOM = "first_window", "scanner", "pydicom"
REQUIRED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
REJECTED = {"path": pl.String, "reason": pl.String, "content_sha": pl.Binary}


@dataclass(frozen=True)
class HeaderBatch:
    """What a set of DICOM files held.

    `accepted`: one row per SOP instance: `path`, `reader` (first_window, scanner or pydicom),
    `content_sha` (16 bytes over the header bytes) and one text column per harvested attribute,
    named as the snake_case keyword; padding stripped, backslash between values, null = absent,
    "" = present and empty. Identities are raw, in memory only. `rejected`: one row per file:
    `path`, `reason`, `content_sha`. Both in the order of the files.
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
    processes = min(workers, len(chunks) // CHUNKS_PER_PROCESS)
    if processes > 1:
        # spawn: a forked process can hang on locks held by polars' threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            return _collected(pool.map(read_chunk, chunks), progress)
    return _collected(map(read_chunk, chunks), progress)


def _collected(
    batches: Iterable[HeaderBatch], progress: Callable[[int], None] | None
) -> HeaderBatch:
    accepted, rejected = [_no_headers()], [pl.DataFrame(schema=REJECTED)]
    for batch in batches:
        accepted.append(batch.accepted)
        rejected.append(batch.rejected)
        if progress is not None:
            progress(len(batch.accepted) + len(batch.rejected))
    return HeaderBatch(pl.concat(accepted), pl.concat(rejected))


def _no_headers() -> pl.DataFrame:
    names = ["path", "reader", *TagList.load().columns()]
    schema = {name: pl.String for name in names}
    return pl.DataFrame(schema=schema | {"content_sha": pl.Binary}).select(_order())


def _order() -> list[str]:
    return ["path", "reader", "content_sha", *TagList.load().columns()]


def _files(paths: Iterable[Path | str]) -> Iterator[Path]:
    for given in paths:
        path = given if isinstance(given, Path) else Path(given)
        if os.path.isdir(path):  # noqa: PTH112  three times as fast as Path.is_dir
            yield from sorted(p for p in path.rglob("*") if p.is_file() and not is_in_transfer(p))
        else:
            yield path


def _chunks(files: Iterator[Path]) -> Iterator[list[Path]]:
    while chunk := list(islice(files, CHUNK)):
        yield chunk


def read_chunk(files: list[Path]) -> HeaderBatch:
    """Read some files in this process."""
    tags = TagList.load()
    windows = read_windows(files)
    with warnings.catch_warnings():
        # pydicom's decoders remark on every odd value; what matters becomes a reason.
        warnings.simplefilter("ignore")
        quick = as_columns(windows, scan(windows, tags)).with_columns(
            reader=pl.lit(FIRST_WINDOW), reason=pl.lit(None, pl.String), is_empty=pl.lit(False)
        )
        done = set(quick["number"].to_list())
        others = [
            _read_one(path, tags) | {"number": number, "is_empty": bool(windows.got[number] == 0)}
            for number, path in enumerate(files)
            if number not in done
        ]
    frames = [quick, pl.DataFrame(others, schema=quick.schema)]
    windows.release()
    read = pl.concat(frames).sort("number")
    read = read.with_columns(
        path=pl.Series([windows.paths[number] for number in read["number"]], dtype=pl.String),
        reason=pl.coalesce("reason", refusal()),
    )
    return HeaderBatch(
        read.filter(pl.col("reason").is_null()).select(_order()),
        read.filter(pl.col("reason").is_not_null()).select(*REJECTED),
    )


def _read_one(path: Path, tags: TagList) -> dict[str, object]:
    """Header of one file by the scanner, else by pydicom; `reason` where neither can."""
    try:
        # A pipe under the name of an image would hold up pydicom for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Refused("not a regular file")
        row, digest = read_by_scanner(path, tags)
        return {**row, "reader": SCANNER, "reason": None, "content_sha": digest}
    except Refused as error:
        return {"reader": SCANNER, "reason": str(error), "content_sha": digest_of_prefix(path)}
    except (Declined, OSError):
        found, reason, digest = read_by_pydicom(path, tags)
        return {**(found or {}), "reader": PYDICOM, "reason": reason, "content_sha": digest}


def refusal() -> pl.Expr:
    """Why a header is not complete, or null; equality with pydicom is not completeness."""
    lacks = {keyword: pl.col(snake_case(keyword)).fill_null("") == "" for keyword in REQUIRED}
    stated, own = pl.col("media_storage_sop_instance_uid"), pl.col("sop_instance_uid")
    names = pl.concat_str(
        [pl.when(is_missing).then(pl.lit(keyword)) for keyword, is_missing in lacks.items()],
        separator=", ",
        ignore_nulls=True,
    )
    return (
        pl.when("is_empty")
        .then(pl.lit("empty file"))
        .when(pl.all_horizontal(lacks.values()))
        .then(pl.lit("not a DICOM header"))
        .when(pl.any_horizontal(lacks.values()))
        .then(pl.format("header incomplete: {} missing", names))
        .when((stated != "") & (stated != own))
        .then(pl.lit("file meta and header name different SOP instances"))
    )
