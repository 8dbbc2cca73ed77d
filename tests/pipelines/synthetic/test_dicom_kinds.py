"""Every kind of image file a real archive holds, against the truth and a validator."""

import random
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pydicom
import pytest
from pydicom.dataset import FileDataset

from pipelines.network import Network
from pipelines.synthetic import generate
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
    return Archive(dict(files), pl.read_parquet(folder / "truth" / "dicom_series.parquet"))


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
        .group_by("exam_no")
        .agg(pl.col("series_modality").sort(), pl.col("study_instance_uid").n_unique())
    )
    assert studies.height > 0
    assert studies["series_modality"].to_list() == [["CT", "PT"]] * studies.height
    assert set(studies["study_instance_uid"]) == {1}
    for image in images:
        assert image.DecayCorrection == "START"
        tracer = image.RadiopharmaceuticalInformationSequence[0]
        assert tracer.RadionuclideHalfLife > 6000
        assert image.FrameReferenceTime >= image.ActualFrameDuration / 2


def test_a_mammogram_is_seen_from_two_sides_for_each_breast_asked_for(archive: Archive) -> None:
    """Failing means that views are missing or a side is mixed up."""
    seen = defaultdict(list)
    for image in archive.of("Digital Mammography"):
        view = image.ViewCodeSequence[0].CodeMeaning
        seen[image.StudyInstanceUID, image.StudyDescription].append((image.ImageLaterality, view))
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
        assert start == truth["start_at_local"]
        assert truth["files"] == 1
        length = timedelta(seconds=image.AcquisitionDuration)
        assert truth["start_at"] + length == truth["end_at"] == truth["frames_end_at"]
        frames = image.PerFrameFunctionalGroupsSequence
        assert len(frames) == image.NumberOfFrames
        taken = [f.FrameContentSequence[0].FrameAcquisitionDateTime for f in frames]
        assert taken == sorted(taken)
        assert taken[0] == image.AcquisitionDateTime


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
