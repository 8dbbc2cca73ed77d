"""Dose reports among the DICOM files: their trees become rows of irradiation events.

The header of a report lands as any header does and is what the receipt counts. Its events land
beside it under the same source, so that a harvest or a replay of the same files replaces both.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
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
    documents = headers.filter(pl.col("sop_class_uid").is_in([*DOSE_CLASSES, *GENERAL_CLASSES]))
    batch = read_dose_reports(_sources(documents["path"]), zone=setup.network.time_zone)
    about = documents.select(pl.int_range(pl.len()).alias("source_no"), *OF_HEADER)
    events = batch.events.drop(set(OF_HEADER) & set(batch.events.columns), "path")
    events = events.join(about, on="source_no", maintain_order="left")
    unread = batch.rejected.join(about, on="source_no", maintain_order="left").filter(
        pl.col("is_dose_report") | pl.col("sop_class_uid").is_in(DOSE_CLASSES)
    )
    unread = unread.drop("path", "is_dose_report").rename({"reason": "unread_reason"})
    unread = unread.with_columns(event_no=pl.lit(0, pl.Int32), report_row_count=pl.lit(1, pl.Int32))
    return pseudonymise_doses(pl.concat([events, unread], how="diagonal"), setup.keys)


def _sources(paths: Iterable[str]) -> Iterator[Path | bytes]:
    """Files by their path, members of archives by their bytes; nothing for one that is gone."""
    with ExitStack() as opened:
        archives: dict[str, tuple[Archive, dict[str, Member]]] = {}
        for path in paths:
            inside = split_inside(path)
            if inside is None:
                yield path_of_text(path)
                continue
            try:
                if inside[0] not in archives:
                    archive = opened.enter_context(Archive(path_of_text(inside[0])))
                    members = {name_inside(inside[0], one): one for one in archive.members}
                    archives[inside[0]] = archive, members
                archive, members = archives[inside[0]]
                yield archive.head(members[path], LIMITS.content_bytes + 1)
            except (ArchiveRefused, KeyError, OSError):
                yield b""
