"""The truth folder: what a perfect warehouse would report from the delivered files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.clocks import instant, wall
from pipelines.synthetic.device_clocks import clock_truth
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.identity import Identities
from pipelines.synthetic.writer import write_json, write_parquet

_EVENTS = {
    "requested": "requested",
    "received": "received",
    "vetted": "vetted",
    "first_booked": "first_booked",
    "first_appointment": "first_appointment",
    "dna": "dna",
    "moved_booked": "moved_booked",
    "moved_appointment": "moved_appointment",
    "moved": "moved",
    "booked": "booked",
    "appointment": "appointment",
    "cancelled": "cancelled",
    "started": "started",
    "completed": "completed",
    "preliminary": "preliminary",
    "verified_delivered": "verified",
    "verified": "signed",
    "addendum": "addendum",
    "corrected": "corrected",
}
_PLAIN = (
    "exam_no", "party_code", "site_code", "trust_as_was", "station_name", "accession_number",
    "study_instance_uid", "patient_no", "patient_id", "modality_group", "dicom_modality",
    "exam_code", "exam_code_delivered", "snomed_code", "body_region", "dm01_test",
    "performed_with", "report_sharing", "clock_fault", "source_setting",
    "source_setting_delivered", "priority", "priority_delivered", "site_code_delivered",
    "cancel_reason", "is_refused_at_vetting", "moved_by", "move_reason", "reporter_org",
    "is_cross_site", "due_on",
    "is_in_extract", "has_images", "nhs_number_state", "is_date_order_violation", "is_refused",
    "extract_dirt", "live_dirt",
)  # fmt: skip


def exam_truth(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per request made within the period, in order of request.

    For every event a pair of columns: `<event>_at` (UTC) and `<event>_at_local` (London wall
    clock), null when it has not happened by the end of the period. Times are as delivered:
    to the minute before the history extract, and a report dated before its exam
    (is_date_order_violation) stands as it was sent; signed_at is when it was really verified. Rows
    with is_refused cannot be landed, so a warehouse does not know these requests. booked and
    appointment are the last booking, first_* the one that was missed, moved_* the one cancelled at
    moved_at by the patient or the hospital (moved_by, with a code of pathway_reasons.csv), of whom
    only the live weeks tell. due_on: the day on which planned surveillance falls due. A request
    refused at vetting is cancelled then. has_images: the
    archive feed holds at least one series. performed_with: the exam_no in whose scan this exam was
    done; it has the times and the study of that one and no series of its own. report_sharing: how
    its report came; `one_accession` means that the report of the other exam covers it, which no
    feed says, so it has none here. is_repeated_hour: an event falls in the October hour that occurs
    twice, where the wall clock alone does not tell the instant.
    """
    columns: list[pl.Expr | pl.Series] = [pl.col(name) for name in _PLAIN]
    repeated = np.zeros(exams.height, dtype=bool)
    for source, name in _EVENTS.items():
        known = exams[source].is_not_null()
        seconds = exams[source].fill_null(0).to_numpy()
        repeated |= calendar.is_repeated_hour(seconds) & known.to_numpy()
        local = pl.Series(calendar.utc_to_local(seconds))
        columns.append(instant(pl.col(source)).alias(f"{name}_at"))
        at_local = pl.select(pl.when(known).then(wall(pl.lit(local)))).to_series()
        columns.append(at_local.alias(f"{name}_at_local"))
    return exams.select(*columns, pl.Series("is_repeated_hour", repeated))


def patient_truth(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per patient with a request: what is true of them, whatever a feed says.

    Columns: patient_no, home_party, nhs_number, sex, birth_on, ethnic_category, postcode. The
    numbers of a patient at each party are patient_id of the exams.
    """
    told = exams.select(
        "patient_no",
        pl.col("patient_home_party").alias("home_party"),
        "nhs_number",
        "sex",
        "birth_on",
        "ethnic_category",
        "postcode",
    )
    return told.unique("patient_no", keep="first").sort("patient_no")


def write_truth(
    folder: Path,
    *,
    exams: pl.DataFrame,
    series: pl.DataFrame,
    dose_events: pl.DataFrame,
    rota: pl.DataFrame,
    ledger: DirtLedger,
    parameters: dict[str, Any],
) -> None:
    """Write exams, dicom_series, dose_events, rota, dirt (Parquet); parameters, counts (JSON)."""
    write_parquet(folder / "exams.parquet", exam_truth(exams))
    write_parquet(folder / "dicom_series.parquet", series)
    write_parquet(folder / "dose_events.parquet", dose_events)
    _write_rest(folder, rota, ledger, parameters)


@dataclass(frozen=True)
class MonthlyTruth:
    """The same truth for a network too large for memory: exams and series in a file a month."""

    folder: Path

    def add(self, month_on: date, exams: pl.DataFrame, series: pl.DataFrame) -> None:
        """Write one month: `exams/<YYYY-MM>.parquet`, and `dicom_series/` where there is any."""
        name = f"{month_on:%Y-%m}.parquet"
        write_parquet(self.folder / "exams" / name, exam_truth(exams))
        if len(series):
            write_parquet(self.folder / "dicom_series" / name, series)

    def add_other_scans(self, series: pl.DataFrame, clocks: pl.DataFrame) -> None:
        """Write the series that are no exam, and the clocks of the devices."""
        if len(series):
            write_parquet(self.folder / "dicom_series" / "other_scans.parquet", series)
        write_parquet(self.folder / "device_clocks.parquet", clock_truth(clocks))

    def close(self, *, rota: pl.DataFrame, ledger: DirtLedger, parameters: dict[str, Any]) -> None:
        """Write what is not told by the month."""
        _write_rest(self.folder, rota, ledger, parameters)


def write_identity_truth(folder: Path, identities: Identities) -> None:
    """Write patient_merges and accession_changes (Parquet)."""
    write_parquet(folder / "patient_merges.parquet", identities.merges)
    write_parquet(folder / "accession_changes.parquet", identities.accession_changes)


def _write_rest(
    folder: Path, rota: pl.DataFrame, ledger: DirtLedger, parameters: dict[str, Any]
) -> None:
    write_parquet(folder / "rota.parquet", rota)
    write_parquet(folder / "dirt.parquet", ledger.as_frame())
    write_json(folder / "dirt.json", ledger.counts())
    write_json(folder / "parameters.json", parameters)
