"""DICOM files of the live weeks: first and last instance of each series, tiny pixels.

Scanners of different makers write their times differently: with or without fractions, with or
without AcquisitionDateTime, almost never with a time zone. The habits are those in HABITS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.synthetic import (
    calendar,
    device_clocks,
    dicom_dose,
    dicom_enhanced,
    migrated_priors,
    phantoms,
)
from pipelines.synthetic.calendar import DAY
from pipelines.synthetic.clocks import instant, london, wall
from pipelines.synthetic.dicom_encoding import EXPLICIT, IMPLICIT, new_uids, part10_file
from pipelines.synthetic.dicom_mammography import view_attributes, views
from pipelines.synthetic.dicom_modules import (
    IN_SPACE,
    MODULES,
    anatomic_region,
    frame_of_reference,
    laterality,
    private_elements,
    secondary_capture,
)
from pipelines.synthetic.dicom_nuclear import NM_FRAMES, PT_FRAME_SECONDS, nm_frame, pt_frame
from pipelines.synthetic.dirt import DICOM_COUNTS, DirtLedger, scaled
from pipelines.synthetic.period import Period
from pipelines.synthetic.writer import write_bytes

if TYPE_CHECKING:
    from pipelines.network import Network

FEED = "dicom"
IMAGED = ("CT", "MR", "DX", "US", "NM", "PT", "MG")

# Modalities whose images tell an exposure time: so many ms, and up to so many steps more.
EXPOSED = ("CT", "DX", "MG")
SHORTEST_EXPOSURE_MS, EXPOSURE_STEPS = 10, 900

# Chance of a second series (CT: a one-image planning view; DX: a second image), and for
# ultrasound the chance that the series has more than one image.
SECOND_SERIES = {"CT": 0.12, "MR": 0.42, "DX": 0.04, "US": 0.0}
SEVERAL_IMAGES = {"CT": 1.0, "MR": 1.0, "DX": 0.0, "US": 0.86}
NOT_ARCHIVED = 0.03  # exams whose images never reach the archive feed

_SOP_CLASS = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
}
_IMAGE_TYPE = {
    "CT": "ORIGINAL\\PRIMARY\\AXIAL",
    "MR": "ORIGINAL\\PRIMARY\\M\\ND",
    "DX": "DERIVED\\PRIMARY",
    "US": "ORIGINAL\\PRIMARY",
    "NM": "ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION",
    "PT": "ORIGINAL\\PRIMARY",
    "MG": "DERIVED\\PRIMARY",
}
_SIDE = 16
_PIXELS = bytes(2 * _SIDE * _SIDE)


@dataclass(frozen=True)
class Habit:
    """How one maker writes times and files."""

    time_format: str = "{:02d}{:02d}{:02d}"
    has_acquisition_time: bool = True
    has_acquisition_datetime: bool = False
    has_step_start: bool = True
    duration: bool = False  # MR: every image carries the series start, and the series duration
    transfer_syntax: str = EXPLICIT
    charset: str = "ISO_IR 192"
    is_enhanced: bool = False  # MR: a whole series in one multi-frame file


HABITS = {
    "GE MEDICAL SYSTEMS": Habit(charset="ISO_IR 100"),
    "SIEMENS": Habit(
        time_format="{:02d}{:02d}{:02d}.000000",
        has_acquisition_datetime=True,
        duration=True,
    ),
    "Philips": Habit(time_format="{:02d}{:02d}{:02d}.00"),
    "FUJIFILM": Habit(
        has_acquisition_time=False,
        has_step_start=False,
        transfer_syntax=IMPLICIT,
        charset="ISO_IR 100",
    ),
    "Carestream": Habit(time_format="{:02d}{:02d}{:02d}.000", has_acquisition_datetime=True),
    "SAMSUNG": Habit(has_step_start=False),
    "HOLOGIC, Inc.": Habit(charset="ISO_IR 100"),
}
# Scanners of newer software than their maker's usual.
HABITS_OF_MODEL = {
    "MAGNETOM Sola": replace(HABITS["SIEMENS"], is_enhanced=True),
}
# Software versions by model, made up in the manner of their makers.
SOFTWARE = {
    "Revolution CT": "revo_ct_22bc.50",
    "SIGNA Artist": "29\\LX\\MR Software release:MR29.1_EA_2",
    "LOGIQ E10": "LOGIQE10:R3.2.6",
    "Discovery NM/CT 670": "1.003.010.7",
    "Discovery MI": "pet_mict_plus_p8.42",
    "MAGNETOM Aera": "syngo MR E11",
    "MAGNETOM Sola": "syngo MR XA31",
    "Symbia Intevo": "VB21A",
    "Biograph mCT": "VG80A",
    "Ingenia": "5.7.1\\5.7.1.2",
    "DigitalDiagnost": "4.3.2",
    "EPIQ 7G": "EPIQ 7G_9.0.5",
    "FDR": "V10.2",
    "DRX-Evolution": "5.7.R",
    "RS85": "2.01",
    "Selenia Dimensions": "AWS:MAMMODROC_3_4_1",
}
# One maker's CT files carry private elements in one exam of so many.
PRIVATE_MAKER, PRIVATE_EVERY = "GE MEDICAL SYSTEMS", 4
# Every seventeenth scanner of the register sends a time zone with its times.
TIME_ZONE_EVERY = 17


def plan_series(
    exams: pl.DataFrame, network: Network, period: Period, rng: np.random.Generator
) -> pl.DataFrame:
    """Series of the exams started and ended in the live weeks that reached the archive.

    One row per series: exam_no, series (from 1), series_modality, is_planning_view, instances (in
    the scanner), files (1 or 2), start, end (UTC seconds of the first and last acquisition that
    a header tells), frames_end (when the last frame ends, of files that tell it, else null),
    series_instance_uid.
    """
    live = exams.filter(
        pl.col("dicom_modality").is_in(IMAGED)
        & pl.col("station_name").is_not_null()
        & (pl.col("started") >= period.cutoff)
        & pl.col("completed").is_not_null()
        & pl.col("performed_with").is_null()
    )
    live = live.filter(pl.Series(rng.random(live.height) >= NOT_ARCHIVED))
    enhanced = enhanced_stations(scanners_of(network))
    rows = []
    for number, modality, code, station, started, completed in live.select(
        "exam_no", "dicom_modality", "exam_code", "station_name", "started", "completed"
    ).iter_rows():
        room = completed - started
        first = started + min(int(rng.integers(70, 140)), room // 4)
        last = completed - min(int(rng.integers(90, 180)), room // 3)
        if modality in _PLANS:
            planned = _PLANS[modality](first, last, code, int(rng.integers(120, 320)))
        else:
            planned = _plain_series(modality, first, last, rng)
        if station in enhanced:
            planned = [(*row[:3], 1, *row[4:6], row[5]) for row in planned]
        rows += [(number, place, *row) for place, row in enumerate(planned, start=1)]
    series = pl.DataFrame(rows, schema=_SERIES, orient="row")
    return series.with_columns(
        pl.col("exam_no").cast(exams.schema["exam_no"]),
        pl.Series("series_instance_uid", new_uids(series.height, rng), dtype=pl.String),
    )


_SERIES = {
    "exam_no": pl.Int64,
    "series": pl.Int64,
    "series_modality": pl.String,
    "is_planning_view": pl.Boolean,
    "instances": pl.Int64,
    "files": pl.Int64,
    "start": pl.Int64,
    "end": pl.Int64,
    "frames_end": pl.Int64,
}
_Planned = tuple[str, bool, int, int, int, int, int | None]


def _plain_series(modality: str, first: int, last: int, rng: np.random.Generator) -> list[_Planned]:
    """Series of a CT, MR, DX or US exam, as the columns of `plan_series` after `series`."""
    second = rng.random() < SECOND_SERIES[modality]
    several = rng.random() < SEVERAL_IMAGES[modality]
    images = int(rng.integers(18, 320)) if several else 1
    if modality == "DX":
        taken = (first, last) if second else (first,)
        return [(modality, False, 1, 1, at, at, None) for at in taken]
    if modality == "CT" and second:
        begun = first + (last - first) // 3
        return [
            (modality, True, 1, 1, first, first, None),
            (modality, False, images, 2, begun, last, None),
        ]
    if second:
        middle = first + (last - first) // 2
        return [
            (modality, False, images, 2, first, middle - 20, None),
            (modality, False, images, 2, middle + 20, last, None),
        ]
    if several:
        return [(modality, False, images, 2, first, last, None)]
    return [(modality, False, 1, 1, first, first, None)]


def _nuclear_series(first: int, last: int, code: str, images: int) -> list[_Planned]:
    """One image of several frames. Its header tells the start; the end is start and duration."""
    return [("NM", False, NM_FRAMES, 1, first, first, last)]


def _pet_series(first: int, last: int, code: str, images: int) -> list[_Planned]:
    """A CT of about a minute for attenuation, then the emission images, bed by bed."""
    begun = first + 150
    last_bed = max(begun, last - PT_FRAME_SECONDS)
    return [
        ("CT", False, images, 2, first, first + 60, None),
        ("PT", False, images, 2, begun, last_bed, last_bed + PT_FRAME_SECONDS),
    ]


def _mammograms(first: int, last: int, code: str, images: int) -> list[_Planned]:
    """One series a view, spread over the time in the room."""
    count = len(views(code))
    taken = [first + (last - first) * place // max(count - 1, 1) for place in range(count)]
    return [("MG", False, 1, 1, at, at, None) for at in taken]


_PLANS = {"NM": _nuclear_series, "PT": _pet_series, "MG": _mammograms}


def _clock(local: int, habit: Habit) -> tuple[str, str]:
    day, second = divmod(local, DAY)
    date = calendar.day_of_number(day)
    return f"{date:%Y%m%d}", habit.time_format.format(
        second // 3600, second // 60 % 60, second % 60
    )


def _study_attributes(
    exam: dict[str, Any], scanner: dict[str, Any], habit: Habit
) -> dict[str, Any]:
    """Attributes that are the same in every file of a study of a patient or a phantom."""
    if exam["scan_kind"] == "phantom":
        blank = {"accession_number": "", "exam_name": "", "birth_on": _NOT_BORN}
        study = _attributes_of_patient(exam | blank, scanner, habit)
        return phantoms.study_attributes(study, exam["every_days"])
    return _attributes_of_patient(exam, scanner, habit)


_NOT_BORN = date(1900, 1, 1)


def _attributes_of_patient(
    exam: dict[str, Any], scanner: dict[str, Any], habit: Habit
) -> dict[str, Any]:
    age = (exam["completed"] // DAY - calendar.day_number(exam["birth_on"])) // 365
    date, time = _clock(exam["started_local"], habit)
    number = exam["accession_number"] or ""
    request = {
        "ScheduledProcedureStepID": f"S{number[1:]}",
        "RequestedProcedureID": f"R{number[1:]}",
    }
    attributes: dict[str, Any] = {
        "SpecificCharacterSet": habit.charset,
        "StudyDate": date,
        "StudyTime": time,
        "AccessionNumber": number,
        "Modality": exam["dicom_modality"],
        "Manufacturer": scanner["manufacturer"],
        "InstitutionName": scanner["site_name"],
        "ReferringPhysicianName": "REFERRER^EXAMPLE",
        "StationName": scanner["station_name"],
        "StudyDescription": exam["exam_name"],
        "ProcedureCodeSequence": [
            {
                # A scanner has protocols of its own, so its images name a code all the same.
                "CodeValue": exam["exam_code_delivered"] or exam["exam_code"],
                "CodingSchemeDesignator": "NICIP",
                "CodeMeaning": exam["exam_name"],
            }
        ],
        "InstitutionalDepartmentName": "Radiology",
        "BodyPartExamined": (exam["body_region"] or "").upper()[:16],
        "ManufacturerModelName": scanner["manufacturer_model_name"],
        "PatientName": f"{exam['surname'].upper()}^{exam['given_name']}",
        "PatientID": exam["patient_id"],
        "IssuerOfPatientID": exam["party_code"],
        "PatientBirthDate": f"{exam['birth_on']:%Y%m%d}",
        "PatientSex": {"1": "M", "2": "F"}.get(exam["sex"], "O"),
        "PatientAge": f"{max(age, 0):03d}Y",
        "DeviceSerialNumber": scanner["device_serial_number"],
        "SoftwareVersions": SOFTWARE.get(scanner["manufacturer_model_name"], "1.0"),
        "StudyInstanceUID": exam["study_instance_uid"],
        "StudyID": number,
        "RequestedProcedureDescription": exam["exam_name"],
        "PerformedStationAETitle": scanner["ae_title"],
        "PerformedProcedureStepID": f"P{number[1:]}" if number else None,
        "RequestAttributesSequence": [request] if number else None,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": _SIDE,
        "Columns": _SIDE,
        "PixelRepresentation": 0,
        "PixelData": _PIXELS,
    }
    if habit.has_step_start:
        attributes["PerformedProcedureStepStartDate"] = date
        attributes["PerformedProcedureStepStartTime"] = time
    if tells_zone(scanner):
        attributes["TimezoneOffsetFromUTC"] = "+0100" if exam["is_summer"] else "+0000"
    return attributes


def _series_files(
    study: dict[str, Any],
    series: dict[str, Any],
    habit: Habit,
    exam: dict[str, Any],
    uids: list[str],
) -> list[dict[str, Any]]:
    """Data sets of the harvested instances of one series; uids: series, then instances."""
    modality = series["series_modality"]
    date, time = _clock(series["start_local"], habit)
    common: dict[Any, Any] = study | _image_attributes(study, series, habit, exam)
    common |= {
        "Modality": modality,
        "SOPClassUID": _SOP_CLASS[modality],
        "ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"
        if series["is_planning_view"]
        else _IMAGE_TYPE[modality],
        "SeriesDate": date,
        "SeriesTime": time,
        "SeriesDescription": "Planning view"
        if series["is_planning_view"]
        else f"{study['StudyDescription']} {series['series']}",
        "ProtocolName": study["StudyDescription"],
        "SeriesInstanceUID": uids[0],
        "SeriesNumber": series["series"],
        "AcquisitionNumber": 1,
    }
    if modality in EXPOSED:
        common["ExposureTime"] = exam["exam_no"] % EXPOSURE_STEPS + SHORTEST_EXPOSURE_MS
    is_private = modality == "CT" and study["Manufacturer"] == PRIVATE_MAKER
    if is_private and exam["exam_no"] % PRIVATE_EVERY == 0:
        common |= private_elements()
    if habit.is_enhanced:
        return [_enhanced_file(common, series, habit, uids)]
    whole = habit.duration and modality == "MR"
    if whole:
        common["AcquisitionDuration"] = float(series["end"] - series["start"])
    files = []
    for position in range(series["files"]):
        is_last = position > 0
        local = series["end_local"] if is_last and not whole else series["start_local"]
        acquired = _clock(local, habit)
        content = _clock(local + 4, habit)
        instance = {
            "SOPInstanceUID": uids[1 + position],
            "InstanceNumber": series["instances"] if is_last else 1,
            "ContentDate": content[0],
            "ContentTime": content[1],
        }
        if habit.has_acquisition_time:
            instance["AcquisitionDate"], instance["AcquisitionTime"] = acquired
        if habit.has_acquisition_datetime:
            instance["AcquisitionDateTime"] = "".join(acquired)
        if modality in IN_SPACE:
            instance["ImagePositionPatient"] = ("0", "0", str(5 * instance["InstanceNumber"]))
        if modality == "PT":
            instance |= pt_frame(series, is_last=is_last)
        files.append(common | instance)
    return files


def _image_attributes(
    study: dict[str, Any], series: dict[str, Any], habit: Habit, exam: dict[str, Any]
) -> dict[str, Any]:
    """What the image modules of a series' modality ask for beside its times."""
    modality, body_part = series["series_modality"], study["BodyPartExamined"]
    attributes = dict(MODULES["Enhanced MR" if habit.is_enhanced else modality])
    if modality in IN_SPACE:
        attributes["FrameOfReferenceUID"] = frame_of_reference(study["StudyInstanceUID"])
    if modality == "DX":
        attributes["AnatomicRegionSequence"] = anatomic_region(exam["body_region"])
    elif modality == "MG":
        attributes |= view_attributes(exam["exam_code"], series["series"])
    elif not habit.is_enhanced:
        attributes["Laterality"] = laterality(body_part)
    if modality == "US":
        attributes["PixelData"] = _PIXELS[: len(_PIXELS) // 2]
    if modality == "NM":
        attributes |= nm_frame(series) | {"PixelData": _PIXELS * NM_FRAMES}
    return attributes


def _enhanced_file(
    common: dict[str, Any], series: dict[str, Any], habit: Habit, uids: list[str]
) -> dict[str, Any]:
    """A whole MR series as one file. Date and time of the acquisition stand in one attribute."""
    frames = dicom_enhanced.frames_of(series)
    seconds = (series["end"] - series["start"]) / frames
    acquired = [
        "".join(_clock(int(series["start_local"] + n * seconds), habit)) for n in range(frames)
    ]
    content = _clock(series["end_local"] + 4, habit)
    return (
        common
        | dicom_enhanced.functional_groups(series, acquired, seconds, f"{uids[0]}.1")
        | {
            "SOPClassUID": dicom_enhanced.SOP_CLASS,
            "ImageType": dicom_enhanced.IMAGE_TYPE,
            "SOPInstanceUID": uids[1],
            "InstanceNumber": 1,
            "ContentDate": content[0],
            "ContentTime": content[1],
            "PixelData": _PIXELS * frames,
        }
    )


def habit_of(scanner: dict[str, Any]) -> Habit:
    """How a scanner of the register writes its files."""
    usual = HABITS.get(scanner["manufacturer"], Habit())
    return HABITS_OF_MODEL.get(scanner["manufacturer_model_name"], usual)


def tells_zone(scanner: dict[str, Any]) -> bool:
    """Whether a scanner of the register sends a time zone with its times."""
    return scanner["number"] % TIME_ZONE_EVERY == 0


def enhanced_stations(scanners: dict[str, dict[str, Any]]) -> set[str]:
    """Stations that write a whole MR series into one multi-frame file."""
    return {name for name, row in scanners.items() if habit_of(row).is_enhanced}


def scanners_of(network: Network) -> dict[str, dict[str, Any]]:
    """Rows of the scanner register by station name, with the site's name and a running number."""
    names = network.sites.select("site_code", "site_name")
    register = network.scanner_register.join(names, on="site_code", maintain_order="left")
    return {
        row["station_name"]: row | {"number": number}
        for number, row in enumerate(register.iter_rows(named=True), start=1)
    }


def write_dicom(
    scans: pl.DataFrame,
    series: pl.DataFrame,
    network: Network,
    clocks: pl.DataFrame,
    scale: float,
    inbox: Path,
    rng: np.random.Generator,
    ledger: DirtLedger,
) -> tuple[dict[str, int], pl.DataFrame, pl.DataFrame]:
    """Write the files of the planned series of an `archive.ImageArchive`.

    Returns files by folder `dicom/<day>/<party>`, the truth of the series, and the irradiation
    events that dose reports tell.
    """
    wanted = scaled(DICOM_COUNTS, scale)
    needed = _as_written(scans, clocks)
    of_exam = series.partition_by("exam_no", as_dict=True, maintain_order=True)
    exams_only = needed.filter(pl.col("scan_kind") == "exam")
    unnamed = set(
        rng.choice(
            series.filter(pl.col("resent").is_null()).join(exams_only, on="exam_no", how="semi")[
                "series_instance_uid"
            ],
            wanted["missing_station_name"],
            replace=False,
        ).tolist()
    )
    scanners = scanners_of(network)
    places = _Places()
    good: list[tuple[str, bytes, str]] = []
    instance_uids = iter(new_uids(2 * series.height, rng))
    sources: list[tuple[str, dict[str, Any], Habit, int]] = []
    dose = _DoseReports(scanners, exams_only, wanted, inbox, ledger, rng.spawn(1)[0])
    for scan in needed.iter_rows(named=True):
        kind, accession = scan["scan_kind"], scan["accession_number"]
        scanner = migrated_priors.SCANNER if kind == "prior" else scanners[scan["station_name"]]
        habit = habit_of(scanner)
        study = _study_attributes(scan, scanner, habit)
        place = places.new(scan["delivered_local"], scan["party_code"])
        if kind != "exam":
            ledger.add(FEED, KIND_OF_SCAN[kind], place, accession)
        rows = of_exam[(scan["exam_no"],)].rows(named=True)
        event_uids = dose.event_uids(scan, rows) if kind == "exam" else {}
        for row in rows:
            uids = [row["series_instance_uid"], next(instance_uids), next(instance_uids)]
            again = _Resent.of(row, study, places, scan["party_code"])
            is_unnamed = row["series_instance_uid"] in unnamed
            for dataset in _series_files(study, row, habit, scan, uids):
                name = f"IM{row['series']:02d}{dataset['InstanceNumber']:04d}.dcm"
                dataset["IrradiationEventUID"] = event_uids.get(row["series"])
                if is_unnamed:
                    dataset.pop("StationName")
                    ledger.add(FEED, "missing_station_name", f"{place}/{name}", accession)
                content = _encode(dataset, habit)
                write_bytes(inbox / place / name, content)
                places.count(place)
                if kind == "exam":
                    good.append((f"{place}/{name}", content, accession))
                if again is not None:
                    corrected = _encode(dataset | again.corrected, habit)
                    write_bytes(inbox / again.place / name, corrected)
                    places.count(again.place)
            if again is not None:
                ledger.add(FEED, RESENT, again.place, accession)
            if kind == "exam":
                sources.append((place, study, habit, row["end_local"]))
        if kind == "exam":
            places.count(place, dose.write(scan, rows, study, habit, place))
    for file in _spoil(good, sources, wanted, inbox, rng, ledger):
        places.count(file.rsplit("/", 1)[0])
    told = series_truth(scans, series, unnamed)
    return places.folders, told, dicom_dose.event_frame(dose.told)


KIND_OF_SCAN = {"phantom": "qa_phantom", "prior": "migrated_prior"}
RESENT = "resent_series"


def _as_written(scans: pl.DataFrame, clocks: pl.DataFrame) -> pl.DataFrame:
    """The scans in order of delivery, with what the device's clock shows at the start."""
    ahead = device_clocks.seconds_ahead(scans, "started", clocks)
    return scans.with_columns(
        started_local=device_clocks.wall_seconds(pl.col("started")) + ahead,
        delivered_local=device_clocks.wall_seconds(pl.col("delivered")),
        is_summer=pl.Series(calendar.is_summer_time(scans["started"].to_numpy())),
    ).sort("delivered", "exam_no")


class _Places:
    """Folders of studies, numbered by day and party, and the files of each day and party."""

    def __init__(self) -> None:
        self.folders: dict[str, int] = {}
        self._studies: dict[str, int] = {}

    def new(self, local: int, party: str) -> str:
        """A folder for one study that arrives at `local` (seconds of the wall clock)."""
        folder = f"{FEED}/{calendar.day_of_number(local // DAY)}/{party}"
        self._studies[folder] = self._studies.get(folder, 0) + 1
        return f"{folder}/{self._studies[folder]}"

    def count(self, place: str, files: int = 1) -> None:
        folder = place.rsplit("/", 1)[0]
        self.folders[folder] = self.folders.get(folder, 0) + files


@dataclass(frozen=True)
class _Resent:
    """A series that comes a second time: where to, and what the archive corrected."""

    place: str
    corrected: dict[str, Any]

    @classmethod
    def of(
        cls, row: dict[str, Any], study: dict[str, Any], places: _Places, party: str
    ) -> _Resent | None:
        if row["resent"] is None:
            return None
        local = int(calendar.utc_to_local(np.array([row["resent"]]))[0])
        corrected = {
            "PatientName": f"{study['PatientName']}^A",
            "StudyDescription": f"{study['StudyDescription']} corrected",
        }
        return cls(places.new(local, party), corrected)


# Attributes of a study's images that no document has.
_OF_IMAGES = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "PixelRepresentation",
    "PixelData", "BodyPartExamined", "RequestAttributesSequence",
)  # fmt: skip


class _DoseReports:
    """Writes the dose reports of exam after exam and keeps what they told."""

    def __init__(
        self,
        scanners: dict[str, dict[str, Any]],
        needed: pl.DataFrame,
        wanted: dict[str, int],
        inbox: Path,
        ledger: DirtLedger,
        rng: np.random.Generator,
    ) -> None:
        self.scanners, self.inbox, self.ledger, self.rng = scanners, inbox, ledger, rng
        # a child of its own, so that no other draw depends on it
        self.factors = dicom_dose.ProjectionFactors(rng.spawn(1)[0])
        self.told: list[dict[str, Any]] = []
        self.pending: list[dict[str, Any]] = []
        sending = [name for name, row in scanners.items() if dicom_dose.sends_reports(row)]
        several = needed.filter(
            (pl.col("dicom_modality") == "CT") & pl.col("station_name").is_in(sending)
        )["exam_no"].to_list()
        kinds = [
            kind
            for kind in ("cumulative_dose_report", "split_dose_report")
            for _ in range(wanted[kind])
        ]
        chosen = rng.choice(several, min(len(kinds), len(several)), replace=False).tolist()
        self.kind_of = dict(zip(chosen, kinds, strict=False))

    def event_uids(self, exam: dict[str, Any], rows: list[dict[str, Any]]) -> dict[int, str]:
        """Plan the events of an exam: event UID by series, empty where none is reported."""
        seen = [row for row in rows if row["series_modality"] in ("CT", "DX", "MG")]
        self.pending = []
        if seen and dicom_dose.sends_reports(self.scanners[exam["station_name"]]):
            new = new_uids(len(seen) + 1, self.rng)
            factor = self.factors.of(exam["patient_id"])
            self.pending = dicom_dose.plan_events(exam, seen, new, self.rng, factor)
        return {event["series"]: event["irradiation_event_uid"] for event in self.pending}

    def write(
        self,
        exam: dict[str, Any],
        rows: list[dict[str, Any]],
        study: dict[str, Any],
        habit: Habit,
        place: str,
    ) -> int:
        """Write the reports of the exam planned last; returns their number."""
        if not self.pending:
            return 0
        scanner, kind = self.scanners[exam["station_name"]], self.kind_of.get(exam["exam_no"])
        reports = dicom_dose.split_events(self.pending, kind)
        for number, events in enumerate(reports, start=1):
            file = f"{place}/SR{number:02d}0001.dcm"
            dataset = self._report(events, study, habit, scanner, number)
            write_bytes(self.inbox / file, _encode(dataset, habit))
            if kind is not None and number == len(reports):
                self.ledger.add(FEED, kind, file, exam["accession_number"])
        is_told = dicom_dose.tells_event_times(scanner)
        for event in self.pending:
            count = sum(event in events for events in reports)
            self.told.append(event | {"is_time_told": is_told, "report_count": count})
        return len(reports)

    def _report(
        self,
        events: list[dict[str, Any]],
        study: dict[str, Any],
        habit: Habit,
        scanner: dict[str, Any],
        number: int,
    ) -> dict[str, Any]:
        ended = events[-1]["started_local"] + int(events[-1]["exposure_seconds"]) + 1
        starts = [event["started_local"] for event in events]
        clock = [_clock(local, habit) for local in (*starts, ended)]
        date, time = _clock(ended + 40, habit)
        series_uid, instance_uid = new_uids(2, self.rng)
        about = {name: value for name, value in study.items() if name not in _OF_IMAGES}
        tree = dicom_dose.report_content(events, clock, scanner, study["StudyInstanceUID"])
        return (
            about
            | tree
            | {
                "Modality": "SR",
                "SOPClassUID": dicom_dose.SOP_CLASS,
                "SOPInstanceUID": instance_uid,
                "SeriesInstanceUID": series_uid,
                "SeriesNumber": 990 + number,
                "SeriesDescription": "Dose report",
                "SeriesDate": date,
                "SeriesTime": time,
                "InstanceNumber": 1,
                "ContentDate": date,
                "ContentTime": time,
                "CompletionFlag": "COMPLETE",
                "VerificationFlag": "UNVERIFIED",
                "ReferencedPerformedProcedureStepSequence": [],
                "PerformedProcedureCodeSequence": [],
            }
        )


def _encode(dataset: dict[str, Any], habit: Habit) -> bytes:
    charset = "latin-1" if habit.charset == "ISO_IR 100" else "utf-8"
    return part10_file(dataset, transfer_syntax=habit.transfer_syntax, charset=charset)


def _spoil(
    good: list[tuple[str, bytes, str]],
    sources: list[tuple[str, dict[str, Any], Habit, int]],
    wanted: dict[str, int],
    inbox: Path,
    rng: np.random.Generator,
    ledger: DirtLedger,
) -> list[str]:
    """Add damaged files, copies sent again and secondary captures beside the good files."""
    written: list[str] = []

    def add(kind: str, beside: str, name: str, content: bytes, accession: str | None) -> None:
        file = f"{beside.rsplit('/', 1)[0]}/{name}"
        write_bytes(inbox / file, content)
        ledger.add(FEED, kind, file, accession)
        written.append(file)

    def some(number: int, of: int) -> list[int]:
        return sorted(rng.choice(of, min(number, of), replace=False).tolist())

    damage = {
        "damaged_text": lambda content: b"This is not an image. The transfer was interrupted.\n",
        "damaged_empty": lambda content: b"",
        "damaged_truncated": lambda content: content[:301],
        "damaged_no_preamble": lambda content: content[404:700],
    }
    for kind, spoil in damage.items():
        for index in some(wanted[kind], len(good)):
            file, content, _ = good[index]
            add(kind, file, f"XX{kind[8:10].upper()}{index:06d}.dcm", spoil(content), None)
    for index in some(wanted["resent_copy"], len(good)):
        file, content, accession = good[index]
        add("resent_copy", file, f"RS{index:06d}.dcm", content, accession)
    for index in some(wanted["secondary_capture"], len(sources)):
        place, study, habit, ended = sources[index]
        capture = _secondary_capture(study, habit, ended + int(rng.integers(1200, 9000)), rng)
        name = f"SC{index:06d}.dcm"
        accession = study["AccessionNumber"]
        add("secondary_capture", f"{place}/", name, _encode(capture, habit), accession)
    return written


def _secondary_capture(
    study: dict[str, Any], habit: Habit, local: int, rng: np.random.Generator
) -> dict[str, Any]:
    """A screen saved later on a workstation: never a time of the scanner."""
    date, time = _clock(local, habit)
    series_uid, instance_uid = new_uids(2, rng)
    return secondary_capture(study) | {
        "SOPClassUID": _SOP_CLASS["SC"],
        "SOPInstanceUID": instance_uid,
        "SeriesInstanceUID": series_uid,
        "ImageType": "DERIVED\\SECONDARY",
        "ConversionType": "WSD",
        "SeriesDate": date,
        "SeriesTime": time,
        "ContentDate": date,
        "ContentTime": time,
        "SeriesDescription": "Screen save",
        "SeriesNumber": 999,
        "InstanceNumber": 1,
    }


def series_truth(scans: pl.DataFrame, series: pl.DataFrame, unnamed: set[str]) -> pl.DataFrame:
    """One row per series in the archive, secondary captures left out.

    Columns: exam_no (null where the scan is no exam), scan_kind (exam, phantom, prior),
    party_code, site_code, station_name, dicom_modality (of the exam), accession_number,
    study_instance_uid, series_instance_uid, series, series_modality, is_planning_view, files,
    start_at, end_at (UTC; when the first and last acquisition that the headers tell really were),
    start_at_local, end_at_local, start_at_device, end_at_device (the same by the clock of the
    device, which is what the headers say), frames_end_at (UTC; where a file tells
    how long its frames took, when the last of them ends), delivered_at, resent_at, has_station_name.
    """
    about = scans.select(
        "exam_no",
        "scan_kind",
        "party_code",
        "site_code",
        "station_name",
        "dicom_modality",
        "accession_number",
        "study_instance_uid",
        "delivered",
    )
    told = series.join(about, on="exam_no", how="left", maintain_order="left")
    return told.select(
        pl.when(pl.col("scan_kind") == "exam").then("exam_no").alias("exam_no"),
        *about.columns[1:-1],
        "series_instance_uid",
        "series",
        "series_modality",
        "is_planning_view",
        "files",
        instant(pl.col("start")).alias("start_at"),
        instant(pl.col("end")).alias("end_at"),
        london(pl.col("start")).alias("start_at_local"),
        london(pl.col("end")).alias("end_at_local"),
        wall(pl.col("start_local")).alias("start_at_device"),
        wall(pl.col("end_local")).alias("end_at_device"),
        instant(pl.col("frames_end")).alias("frames_end_at"),
        instant(pl.col("delivered")).alias("delivered_at"),
        instant(pl.col("resent")).alias("resent_at"),
        (~pl.col("series_instance_uid").is_in(list(unnamed))).alias("has_station_name"),
    )
