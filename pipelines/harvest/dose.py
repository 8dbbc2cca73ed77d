"""Dose reports among the DICOM files: their trees become rows of irradiation events.

The header of a report lands as any header does and is what the receipt counts. Its events land
beside it under the same source, so that a harvest or a replay of the same files replaces both.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import groupby
from pathlib import Path

import polars as pl

from pipelines.harvest.model import Setup
from pipelines.landing.pseudonymise import pseudonymise_doses
from pipelines.sources.archives import Archive, ArchiveRefused, Member, split_inside
from pipelines.sources.dicom_headers.read import name_inside, path_of_text
from pipelines.sources.dose_reports import (
    DOSE_CLASSES,
    GENERAL_CLASSES,
    LIMITS,
    DoseBatch,
    is_of_the_file,
    read_dose_reports,
)

TABLE = "dose_events"
OF_HEADER = [
    "sop_instance_uid",
    "series_instance_uid",
    "study_instance_uid",
    "accession_number",
    "patient_id",
    "sop_class_uid",
    "content_sha",
    "issuer_ods",
    "feed_id",
    "received_at",
    "source_sha",
]


def land_doses(headers: pl.DataFrame, setup: Setup, now: datetime) -> None:
    """Write the events of the dose reports among accepted headers, one file per source.

    `now` is the landing time (UTC). Called before the receipts are written: a killed harvest
    leaves no receipt, and the next one reads and writes the same again.
    """
    rows = dose_rows(headers, setup).with_columns(
        landed_at=pl.lit(now).cast(pl.Datetime("us", "UTC"))
    )
    for (sha,), part in rows.group_by("source_sha", maintain_order=True):
        setup.landing.write(TABLE, str(sha), part)


def dose_rows(headers: pl.DataFrame, setup: Setup) -> pl.DataFrame:
    """One row per dose report and irradiation event, in the shape of the contract dose_events.

    `headers` are accepted header rows as read, with `path`; reads the files of those that can be
    dose reports. A report whose tree is unusable keeps one row with the reason.
    """
    documents = headers.filter(can_be_dose_report())
    batch, order = _read(documents["path"].to_list(), setup)
    place = pl.Series("place", order, dtype=pl.Int64)
    about = documents.select(pl.col(OF_HEADER).gather(place)).hstack([place])
    about = about.select(pl.int_range(pl.len()).alias("source_no"), pl.all())
    events = batch.events.drop(set(OF_HEADER) & set(batch.events.columns), "path")
    events = events.join(about, on="source_no", maintain_order="left")
    unread = batch.rejected.join(about, on="source_no", maintain_order="left").filter(
        pl.col("is_dose_report") | pl.col("sop_class_uid").is_in(DOSE_CLASSES)
    )
    unread = unread.drop("path", "is_dose_report").rename({"reason": "unread_reason"})
    unread = unread.with_columns(event_no=pl.lit(0, pl.Int32), report_row_count=pl.lit(1, pl.Int32))
    # in the order of the headers, whatever order an archive was best read in
    rows = pl.concat([events, unread], how="diagonal").sort("place", maintain_order=True)
    return pseudonymise_doses(rows.drop("place"), setup.keys)


def unread_reports(setup: Setup, names: Iterable[str]) -> set[bytes]:
    """Header digests of the reports of which no copy could be read, of some landing files.

    `names` are those of the sources. Digests of a header end before the tree of its report.
    """
    wanted = set(names)
    found = (setup.landing.root / TABLE).glob("*.parquet") if wanted else ()
    files = [file for file in found if file.name.partition(".")[0] in wanted]
    if not files:
        return set()
    told = pl.scan_parquet(files).group_by("content_sha")
    unread = told.agg(pl.col("unread_reason").is_not_null().all()).filter("unread_reason")
    return set(unread.select("content_sha").collect()["content_sha"])


def readable(paths: Sequence[str], setup: Setup) -> set[str]:
    """Those of some files that hold a dose report that can be read."""
    batch, order = _read(paths, setup)
    return {paths[order[number]] for number in batch.events["source_no"].unique()}


def can_be_dose_report() -> pl.Expr:
    """Whether a header is of a class that can be a dose report."""
    return pl.col("sop_class_uid").is_in([*DOSE_CLASSES, *GENERAL_CLASSES])


def _read(paths: Sequence[str], setup: Setup) -> tuple[DoseBatch, list[int]]:
    """What some files hold, and which of them each source of the batch is."""
    order: list[int] = []
    sources = _sources(paths, order)
    return read_dose_reports(sources, zone=setup.network.time_zone), order


def _sources(paths: Sequence[str], order: list[int]) -> Iterator[Path | bytes]:
    """Files by their path, members of archives by their bytes; nothing for one that is gone.

    `order` is told which path each one is of. One archive is open at a time, and is read from its
    beginning to its end: to go back in a compressed one is to unpack it anew.
    """
    inside = [split_inside(path) for path in paths]
    for archive, numbers in groupby(
        range(len(paths)), lambda number: (found := inside[number]) and found[0]
    ):
        if archive is None:
            for number in numbers:
                order.append(number)
                yield path_of_text(paths[number])
            continue
        yield from _members(archive, {paths[number]: number for number in numbers}, order)


def _members(text: str, wanted: dict[str, int], order: list[int]) -> Iterator[bytes]:
    with ExitStack() as opened:
        members: dict[str, Member] = {}
        try:
            archive = opened.enter_context(Archive(path_of_text(text)))
            members = {name_inside(text, one): one for one in archive.members}
        except (ArchiveRefused, OSError) as error:
            _raise_unless_of_the_file(error)
        for path in sorted(wanted, key=lambda path: members[path].place if path in members else -1):
            order.append(wanted[path])
            try:
                yield archive.head(members[path], LIMITS.content_bytes + 1)
            except (ArchiveRefused, KeyError, OSError) as error:
                _raise_unless_of_the_file(error)
                yield b""


def _raise_unless_of_the_file(error: Exception) -> None:
    """A machine out of memory or of files says nothing about a report; the harvest is run again."""
    if isinstance(error, OSError) and not is_of_the_file(error):
        raise error
