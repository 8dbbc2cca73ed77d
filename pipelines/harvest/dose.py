"""Dose reports among the DICOM files: their trees become rows of irradiation events.

The header of a report lands as any header does and is what the receipt counts. Its events land
beside it under the same source, so that a harvest or a replay of the same files replaces both.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl

from pipelines.harvest.model import Setup
from pipelines.landing.pseudonymise import pseudonymise_doses
from pipelines.sources.archives import Archive, ArchiveRefused, split_inside
from pipelines.sources.dicom_headers.read import LARGEST_MEMBER, name_inside, path_of_text
from pipelines.sources.dose_reports import DOSE_CLASSES, GENERAL_CLASSES, read_dose_reports

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
    batch = read_dose_reports(_opened(documents["path"]), zone=setup.network.time_zone)
    about = documents.select(pl.int_range(pl.len()).alias("source_no"), *OF_HEADER)
    events = batch.events.drop(set(OF_HEADER) & set(batch.events.columns), "path")
    events = events.join(about, on="source_no", maintain_order="left")
    unread = batch.rejected.join(about, on="source_no", maintain_order="left").filter(
        pl.col("is_dose_report") | pl.col("sop_class_uid").is_in(DOSE_CLASSES)
    )
    unread = unread.drop("path", "is_dose_report").rename({"reason": "unread_reason"})
    unread = unread.with_columns(event_no=pl.lit(0, pl.Int32), report_row_count=pl.lit(1, pl.Int32))
    return pseudonymise_doses(pl.concat([events, unread], how="diagonal"), setup.keys)


def _opened(texts: Iterable[str]) -> Iterator[Path | bytes]:
    """Each file as its path, each member of an archive as its bytes (none where it is gone)."""
    for text in texts:
        inside = split_inside(text)
        yield path_of_text(text) if inside is None else _member(text, inside[0])


def _member(text: str, archive_text: str) -> bytes:
    try:
        with Archive(path_of_text(archive_text)) as archive:
            for member in archive.members:
                if name_inside(archive_text, member) == text:
                    return archive.head(member, LARGEST_MEMBER)
    except (ArchiveRefused, OSError):
        pass  # the report keeps a row that says that it could not be read
    return b""
