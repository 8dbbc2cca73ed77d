"""What archives tell of a series, as rows of the contract dicom_series."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipelines.sources.clock import localise
from pipelines.sources.dicom_headers.times import DATE, TIME, acquisition_starts

# Attributes of one series by keyword; a value is text, several values are joined as DICOM does.
Answer = dict[str, str]

# Without these a series is no row of the contract.
NEEDED = {
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "PatientID": "00100020",
    "Modality": "00080060",
    "NumberOfSeriesRelatedInstances": "00201209",
}
OF_STUDY = {
    "StudyDate": "00080020",
    "StudyTime": "00080030",
    "AccessionNumber": "00080050",
    "PatientID": NEEDED["PatientID"],
    "StudyInstanceUID": NEEDED["StudyInstanceUID"],
}
# Which of these a route returns is found out by asking.
OPTIONAL = {
    "SeriesDate": "00080021",
    "SeriesTime": "00080031",
    "AcquisitionDateTime": "0008002A",
    "AcquisitionDate": "00080022",
    "AcquisitionTime": "00080032",
    "PerformedProcedureStepStartDate": "00400244",
    "PerformedProcedureStepStartTime": "00400245",
    "TimezoneOffsetFromUTC": "00080201",
    "StationName": "00081010",
    "DeviceSerialNumber": "00181000",
    "PerformedStationAETitle": "00400241",
    "Manufacturer": "00080070",
    "ManufacturerModelName": "00081090",
    "SoftwareVersions": "00181020",
    "InstitutionName": "00080080",
}
ASKED = NEEDED | OF_STUDY | OPTIONAL
# Set by a route from what its archive tells beside the attributes: a UTC instant, ISO.
RECEIVED = "ArchiveReceivedAt"
CLOCK = "%Y-%m-%d %H:%M:%S%.6f"

_TEXT = {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "accession_number": "AccessionNumber",
    "patient_id": "PatientID",
    "modality": "Modality",
    "station_name": "StationName",
    "device_serial_number": "DeviceSerialNumber",
    "station_ae_title": "PerformedStationAETitle",
    "number_of_series_related_instances": "NumberOfSeriesRelatedInstances",
    "manufacturer": "Manufacturer",
    "manufacturer_model_name": "ManufacturerModelName",
    "software_versions": "SoftwareVersions",
    "institution_name": "InstitutionName",
}
_TIMES = {
    "acquisition_date_time": "AcquisitionDateTime",
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionTime",
    "series_date": "SeriesDate",
    "series_time": "SeriesTime",
    "performed_procedure_step_start_date": "PerformedProcedureStepStartDate",
    "performed_procedure_step_start_time": "PerformedProcedureStepStartTime",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "timezone_offset_from_utc": "TimezoneOffsetFromUTC",
}


@dataclass(frozen=True)
class Told:
    """Answers of one window or batch: attributes per series, and keys the archive refused."""

    series: list[Answer]
    refused_keys: tuple[str, ...] = ()
    is_relational: bool | None = None

    def filled(self) -> Counter[str]:
        """How many series have a value of each keyword."""
        return Counter(keyword for one in self.series for keyword, value in one.items() if value)


def series_rows(series: Sequence[Answer], route: str, zone: str) -> pl.DataFrame:
    """One row per series in the columns of the contract, as text, in order of the series UID.

    Times are on the wall clock of `zone`. The start is the series' own date and time; an
    acquisition time comes after it, because at this level it is that of any one image; then the
    start of the step, then of the study. A date without a time is no start. No end is told: what
    ends is the step, not the series. The last answer of a series told twice stays.
    """
    unique = {one.get("SeriesInstanceUID") or f"?{n}": one for n, one in enumerate(series)}
    answers = list(unique.values())
    text = pl.DataFrame(
        {
            column: pl.Series([_clean(one.get(keyword)) for one in answers], dtype=pl.String)
            for column, keyword in _TEXT.items()
        }
    )
    received = pl.Series([one.get(RECEIVED) for one in answers], dtype=pl.String)
    arrived = received.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False
    ).dt.convert_time_zone(zone)
    return text.with_columns(
        _starts(answers, zone).dt.strftime(CLOCK).alias("first_acquired_at"),
        pl.lit(None, pl.String).alias("last_acquired_at"),
        arrived.dt.strftime(CLOCK).alias("archive_received_at"),
        pl.lit(route).alias("route"),
    ).sort("series_instance_uid", "study_instance_uid", nulls_last=True)


def _starts(answers: list[Answer], zone: str) -> pl.Series:
    """Local start of each series (Datetime, wall clock of `zone`)."""
    times = pl.DataFrame(
        {
            column: pl.Series([_clean(one.get(keyword)) for one in answers], dtype=pl.String)
            for column, keyword in _TIMES.items()
        }
    )
    has_own = pl.col("series_date").str.contains(DATE) & pl.col("series_time").str.contains(TIME)
    acquisition = ("acquisition_date_time", "acquisition_date", "acquisition_time")
    later = times.with_columns(
        pl.when(~has_own.fill_null(False)).then(pl.col(name)).alias(name) for name in acquisition
    )
    return acquisition_starts(later, zone)["start_local"]


def instant(text: str | None, zone: str) -> str | None:
    """UTC instant (ISO) of a compact wall clock such as 20260105T101500 in `zone`."""
    wall = pl.Series([text], dtype=pl.String).str.to_datetime(
        "%Y%m%dT%H%M%S", strict=False, time_unit="us"
    )
    found = localise(wall, zone)["utc"][0]
    return None if found is None else found.isoformat()


def _clean(value: str | None) -> str | None:
    """Text without the padding DICOM allows; None where nothing is left."""
    return (value or "").strip(" \0") or None
