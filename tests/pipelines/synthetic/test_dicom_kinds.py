"""Every kind of image file a real archive holds, against the truth and a validator."""

import random
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset

from pipelines.network import Network
from pipelines.synthetic import dicom_dose, generate
from pipelines.synthetic.dicom_files import SOFTWARE
from pipelines.synthetic.period import Period

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
# Four months at 0.4 % of the region: enough for a few exams of the rarest kind.
SCALE = 0.004
PERIOD = Period.of(date(2025, 12, 1), 4)
SECOND_CAPTURE = "Secondary Capture Image Storage"
SAMPLE = 6


@dataclass(frozen=True)
class Archive:
    """The image files by kind (SOP class and modality), damaged ones left out, and the truth."""

    files: dict[str, list[Path]]
    series: pl.DataFrame
    dose_events: pl.DataFrame
    dirt: pl.DataFrame

    def of(self, sop_class: str) -> list[FileDataset]:
        return [
            pydicom.dcmread(path)
            for kind, paths in self.files.items()
            if kind.startswith(sop_class)
            for path in paths
        ]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("archive")
    network = Network.load(SEEDS)
    generate(network, folder / "inbox", folder / "truth", scale=SCALE, period=PERIOD)
    dirt = pl.read_parquet(folder / "truth" / "dirt.parquet")
    damaged = set(dirt.filter(pl.col("kind").str.starts_with("damaged"))["file"])
    files = defaultdict(list)
    for path in sorted((folder / "inbox").glob("dicom/*/*/*/*.dcm")):
        if str(path.relative_to(folder / "inbox")) not in damaged:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            files[f"{header.SOPClassUID.name} {header.Modality}"].append(path)
    series, events = (
        pl.read_parquet(folder / "truth" / f"{name}.parquet")
        for name in ("dicom_series", "dose_events")
    )
    return Archive(dict(files), series, events, dirt)


def _truth_of(archive: Archive, image: FileDataset) -> dict:
    return archive.series.row(
        by_predicate=pl.col("series_instance_uid") == image.SeriesInstanceUID, named=True
    )


def test_every_kind_of_image_is_in_the_archive(archive: Archive) -> None:
    """Failing means that a kind of file which hospitals send is never tried."""
    assert {kind for kind in archive.files if not kind.startswith(SECOND_CAPTURE)} == {
        "CT Image Storage CT",
        "Digital Mammography X-Ray Image Storage - For Presentation MG",
        "Digital X-Ray Image Storage - For Presentation DX",
        "Enhanced MR Image Storage MR",
        "MR Image Storage MR",
        "Nuclear Medicine Image Storage NM",
        "Positron Emission Tomography Image Storage PT",
        "Ultrasound Image Storage US",
        "X-Ray Radiation Dose SR Storage SR",
    }


def test_a_nuclear_medicine_image_tells_its_length_in_its_frames(archive: Archive) -> None:
    """Failing means that the length of a multi-frame acquisition cannot be read from its file."""
    images = archive.of("Nuclear Medicine")
    for image in images:
        truth = _truth_of(archive, image)
        assert image.pixel_array.shape == (image.NumberOfFrames, image.Rows, image.Columns)
        length = timedelta(milliseconds=int(image.ActualFrameDuration))
        assert truth["frames_end_at"] - truth["start_at"] == length > timedelta(minutes=5)
        assert truth["end_at"] == truth["start_at"]


def test_a_pet_ct_study_holds_a_ct_and_the_emission_images(archive: Archive) -> None:
    """Failing means that a hybrid scanner counts as two rooms, or an exam as two studies."""
    images = archive.of("Positron")
    studies = (
        archive.series.filter(pl.col("dicom_modality") == "PT")
        .group_by("study_instance_uid")
        .agg(pl.col("series_modality").sort(), pl.col("exam_no").n_unique())
    )
    assert studies.height > 0
    assert studies["series_modality"].to_list() == [["CT", "PT"]] * studies.height
    assert set(studies["exam_no"]) == {1}
    for image in images:
        assert image.DecayCorrection == "START"
        tracer = image.RadiopharmaceuticalInformationSequence[0]
        assert tracer.RadionuclideHalfLife > 6000
        assert image.FrameReferenceTime >= image.ActualFrameDuration / 2


def test_a_mammogram_is_seen_from_two_sides_for_each_breast_asked_for(archive: Archive) -> None:
    """Failing means that views are missing or a side is mixed up."""
    seen = defaultdict(list)
    for image in archive.of("Digital Mammography"):
        if not image.AccessionNumber:  # a phantom
            continue
        view = image.ViewCodeSequence[0].CodeMeaning
        name = image.StudyDescription.removesuffix(" corrected")  # of an image sent again
        seen[image.StudyInstanceUID, name].append((image.ImageLaterality, view))
    assert seen
    for (_, name), views in seen.items():
        sides = {"XR Mammogram left": "L", "XR Mammogram right": "R"}.get(name, "LR")
        wanted = {(s, v) for s in sides for v in ("cranio-caudal", "medio-lateral oblique")}
        assert set(views) == wanted


def test_an_enhanced_mr_file_tells_the_whole_series(archive: Archive) -> None:
    """Failing means that newer scanners have no usable times."""
    images = archive.of("Enhanced MR")
    assert {image.StationName for image in images if "StationName" in image} == {"R0A66MR1"}
    for image in images:
        truth = _truth_of(archive, image)
        assert "AcquisitionTime" not in image
        start = datetime.strptime(image.AcquisitionDateTime[:14], "%Y%m%d%H%M%S")
        assert start == truth["start_at_device"]
        assert truth["files"] == 1
        length = timedelta(seconds=image.AcquisitionDuration)
        assert truth["start_at"] + length == truth["end_at"] == truth["frames_end_at"]
        frames = image.PerFrameFunctionalGroupsSequence
        assert len(frames) == image.NumberOfFrames
        taken = [f.FrameContentSequence[0].FrameAcquisitionDateTime for f in frames]
        assert taken == sorted(taken)
        assert taken[0] == image.AcquisitionDateTime


def _value(item: Dataset) -> object:
    """Value of a content item: a number, a UID, or a date and time without its fraction."""
    if item.ValueType == "NUM":
        return float(item.MeasuredValueSequence[0].NumericValue)
    if item.ValueType == "DATETIME":
        return datetime.strptime(item.DateTime[:14], "%Y%m%d%H%M%S")
    return item.get("UID")


def _items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _items(child)


def _events(report: Dataset) -> list[dict[str, object]]:
    """The irradiation events of a report: values by code of the concept."""
    return [
        {found.ConceptNameCodeSequence[0].CodeValue: _value(found) for found in _items(item)}
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue in ("113819", "113706")
    ]


def test_dose_reports_tell_the_events_of_the_truth_and_no_others(archive: Archive) -> None:
    """Failing means that dose cannot be counted by event."""
    told = {}
    for report in archive.of("X-Ray Radiation Dose"):
        for event in _events(report):
            assert told.setdefault(event["113769"], event) == event
    assert set(told) == set(archive.dose_events["irradiation_event_uid"])
    assert archive.dose_events["irradiation_event_uid"].is_unique().all()
    for truth in archive.dose_events.iter_rows(named=True):
        event = told[truth["irradiation_event_uid"]]
        for code, column in (
            ("113830", "ctdi_vol_mgy"),
            ("113838", "dlp_mgy_cm"),
            ("122130", "dap_gy_m2"),
            ("111631", "agd_mgy"),
        ):
            assert event.get(code) == truth[column]
        start = truth["started_at_device"] if truth["is_time_told"] else None
        assert event.get("111526") == start
    assert set(archive.dose_events["modality"]) == {"CT", "DX", "MG"}
    assert set(archive.dose_events["is_time_told"]) == {True, False}


def _products_of(region: str, patients: list[str]) -> list[float]:
    """Dose area product of one exposure of each patient in turn, Gy.m2."""
    factors = dicom_dose.ProjectionFactors(np.random.default_rng(1))
    rng = np.random.default_rng(2)
    exam = {"exam_no": 1, "study_instance_uid": "1.2", "station_name": "A", "body_region": region}
    row = {"series": 1, "start": 60, "start_local": 60, "series_modality": "DX"}
    series = [row | {"is_planning_view": False}]
    return [
        dicom_dose.plan_events(exam, series, ["1.3"], rng, factors.of(patient))[0]["dap_gy_m2"]
        for patient in patients
    ]


def test_dose_area_products_differ_by_examination_patient_and_exam():
    """Failing means that a dose chart of the demo is a flat line, and outliers cannot be tried."""
    many = [f"P{number}" for number in range(500)]
    hands, pelves = (_products_of(region, many) for region in ("upper limb", "pelvis"))
    assert len(set(pelves)) > 490
    assert 30 < np.median(pelves) / np.median(hands) < 150
    spread = np.std(np.log(pelves))
    assert 0.4 < spread < 0.55
    # log-normal: a tail above, none left once in logarithms
    assert np.mean(pelves) > 1.05 * np.median(pelves)
    assert np.mean(np.log(pelves)) == pytest.approx(np.median(np.log(pelves)), abs=0.1)
    assert np.std(np.log(_products_of("pelvis", ["P1"] * 500))) < 0.85 * spread


def test_every_model_of_the_register_has_software_of_its_own():
    """Failing means that a software change of one maker is told of scanners of another kind."""
    models = set(Network.load(SEEDS).scanner_register["manufacturer_model_name"])
    assert models <= set(SOFTWARE)
    assert len(set(SOFTWARE.values())) == len(SOFTWARE)


def test_a_report_totals_its_own_events(archive: Archive) -> None:
    """Failing means that a total and the events beside it contradict each other."""
    for report in archive.of("X-Ray Radiation Dose"):
        totals = {i.ConceptNameCodeSequence[0].CodeValue: _value(i) for i in _items(report)}
        if "113813" in totals:
            events = _events(report)
            assert totals["113812"] == len(events)
            assert totals["113813"] == pytest.approx(sum(e["113838"] for e in events))


def test_repeated_and_split_dose_reports_are_those_of_the_ledger(archive: Archive) -> None:
    """Failing means that dose summed over reports would pass for right."""
    reports = defaultdict(list)
    for report in archive.of("X-Ray Radiation Dose"):
        events = frozenset(event["113769"] for event in _events(report))
        if events not in reports[report.StudyInstanceUID]:
            reports[report.StudyInstanceUID].append(events)
    several = [found for found in reports.values() if len(found) > 1]
    cumulative = [found for found in several if found[0] & found[1]]
    kinds = Counter(archive.dirt["kind"])
    assert len(cumulative) == kinds["cumulative_dose_report"] > 0
    assert len(several) - len(cumulative) == kinds["split_dose_report"] > 0
    assert all(found[0] < found[1] for found in cumulative)
    repeated = archive.dose_events.filter(pl.col("report_count") > 1)
    assert len(repeated) == len(cumulative)


def test_images_name_the_event_that_made_them(archive: Archive) -> None:
    """Failing means that dose and image cannot be brought together."""
    known = set(archive.dose_events["irradiation_event_uid"])
    events = archive.dose_events.filter(pl.col("series").is_not_null())
    named = {
        image.IrradiationEventUID
        for kind in ("CT", "Digital")
        for image in archive.of(kind)
        if "IrradiationEventUID" in image
    }
    assert named <= known
    assert named == set(events["irradiation_event_uid"])


def test_a_share_of_ct_files_holds_a_long_private_block_before_the_series(archive: Archive) -> None:
    """Failing means that a reader which stops at its first window would pass."""
    images = archive.of("CT Image")
    private = [image for image in images if (0x0019, 0x0010) in image]
    assert 0.1 < len(private) / len(images) < 0.4
    for image in private:
        assert len(image[0x0019, 0x1010].value) > 8192
        assert image.SeriesInstanceUID == _truth_of(archive, image)["series_instance_uid"]


def test_the_live_weeks_are_those_of_the_period(archive: Archive) -> None:
    """Failing means that series lie outside the days the archive feed covers."""
    assert archive.series["start_at"].min() >= datetime.fromtimestamp(PERIOD.cutoff, UTC)
    assert archive.series["start_at"].max() < datetime.fromtimestamp(PERIOD.end, UTC)


def test_a_validator_finds_no_error_in_any_kind_of_file(archive: Archive) -> None:
    """Failing means that another reader may refuse or misread what ours accepts."""
    if shutil.which("dciodvfy") is None:
        pytest.fail("dciodvfy is missing: install the Debian package 'dicom3tools'")
    for kind, paths in archive.files.items():
        for path in random.Random(7).sample(paths, min(SAMPLE, len(paths))):
            done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            errors = [x for x in (done.stdout + done.stderr).splitlines() if x.startswith("Error")]
            assert errors == [], (kind, path.name)
