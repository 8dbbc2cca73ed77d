"""Series lists: what an archive's database would tell of the planned series, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipelines.synthetic import migrated_priors
from pipelines.synthetic.clocks import london
from pipelines.synthetic.dicom_files import (
    EXPOSED,
    EXPOSURE_STEPS,
    KIND_OF_SCAN,
    RESENT,
    SHORTEST_EXPOSURE_MS,
    SOFTWARE,
    habit_of,
    scanners_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.network import Network
    from pipelines.synthetic.dirt import DirtLedger

FEED = "dicom_series"
_CLOCK = "%Y-%m-%d %H:%M:%S%.3f"


def list_series(scans: pl.DataFrame, series: pl.DataFrame, network: Network) -> pl.DataFrame:
    """One row per series of an `archive.ImageArchive`, in the columns of the contract.

    With it: day (the local day it arrives) and party_code; a series sent again stands in the
    list of either day. Times are what the images would say, frames and exposures included, by the
    clock of the device; the end is empty where the maker writes no time of the acquisition. In the
    October hour that occurs twice a list cannot say which one is meant; headers with a time zone
    can.
    """
    scanners = pl.DataFrame(
        [
            (
                name,
                row["device_serial_number"],
                row["ae_title"],
                row["manufacturer"],
                row["manufacturer_model_name"],
                SOFTWARE.get(row["manufacturer_model_name"], "1.0"),
                row["site_name"],
                habit_of(row).has_acquisition_time,
            )
            for name, row in scanners_of(network).items()
        ],
        schema=[
            "station_name",
            "device_serial_number",
            "station_ae_title",
            "manufacturer",
            "manufacturer_model_name",
            "software_versions",
            "institution_name",
            "tells_end",
        ],
        orient="row",
    )
    about = scans.select(
        "exam_no",
        "scan_kind",
        "party_code",
        "station_name",
        "accession_number",
        "study_instance_uid",
        "patient_id",
        "delivered",
        day=london(pl.col("delivered")).dt.date(),
    )
    exposure = pl.col("exam_no") % EXPOSURE_STEPS + SHORTEST_EXPOSURE_MS
    is_exposed = pl.col("series_modality").is_in(EXPOSED)
    frames = pl.max_horizontal("end", "frames_end") - pl.col("end")
    end_ms = (pl.col("end_local") + frames) * 1000
    end_ms = end_ms + pl.when(is_exposed).then(exposure).otherwise(0)
    is_prior = pl.col("scan_kind") == "prior"
    listed = (
        series.join(about, on="exam_no", how="left", maintain_order="left")
        .join(scanners, on="station_name", how="left", maintain_order="left")
        .select(
            "day",
            "party_code",
            "study_instance_uid",
            "series_instance_uid",
            "accession_number",
            "patient_id",
            pl.col("series_modality").alias("modality"),
            "station_name",
            "device_serial_number",
            pl.when(is_prior)
            .then(pl.lit(migrated_priors.AE_TITLE))
            .otherwise("station_ae_title")
            .alias("station_ae_title"),
            pl.col("files").cast(pl.String).alias("number_of_series_related_instances"),
            pl.from_epoch(pl.col("start_local") * 1000, time_unit="ms")
            .dt.strftime(_CLOCK)
            .alias("first_acquired_at"),
            pl.when(is_prior | pl.col("tells_end"))
            .then(pl.from_epoch(end_ms, time_unit="ms").dt.strftime(_CLOCK))
            .alias("last_acquired_at"),
            london(pl.col("delivered")).dt.strftime(_CLOCK).alias("archive_received_at"),
            "manufacturer",
            "manufacturer_model_name",
            "software_versions",
            "institution_name",
            pl.lit("extract").alias("route"),
            again=london(pl.col("resent")).dt.date(),
            again_at=london(pl.col("resent")).dt.strftime(_CLOCK),
        )
    )
    resent = listed.filter(pl.col("again").is_not_null()).with_columns(
        day="again", archive_received_at="again_at"
    )
    return pl.concat([listed, resent]).drop("again", "again_at")


def note_faults(scans: pl.DataFrame, series: pl.DataFrame, ledger: DirtLedger) -> None:
    """What the lists hold beside exams: phantoms, old studies, and series sent again."""
    about = ("party_code", "scan_kind", "accession_number")
    for party, kind, accession in (
        scans.filter(pl.col("scan_kind") != "exam").select(about).iter_rows()
    ):
        ledger.add(FEED, KIND_OF_SCAN[kind], f"{FEED}/*/series_{party}.csv", accession)
    resent = series.filter(pl.col("resent").is_not_null()).join(scans, on="exam_no")
    for party, _, accession in resent.select(about).iter_rows():
        ledger.add(FEED, RESENT, f"{FEED}/*/series_{party}.csv", accession)


def files_of(listed: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Name (relative to the inbox) and rows of one file per local day and party, in that order."""
    for (day, party), rows in (
        listed.sort("day", "party_code", maintain_order=True)
        .partition_by(["day", "party_code"], as_dict=True, maintain_order=True)
        .items()
    ):
        yield f"{FEED}/{day}/series_{party}.csv", rows.drop("day", "party_code")
