"""Clocks of scanners, phantoms, old studies and series sent again, against files and a validator."""

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
from pipelines.synthetic.archive import archive_habits
from pipelines.synthetic.device_clocks import seconds_ahead, simulate_clocks
from pipelines.synthetic.period import Period

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
# The live weeks hold the clock change of October 2020 and the archive go-live of one party.
PERIOD = Period.of(date(2020, 9, 1), 4)
GO_LIVE, PARTY = date(2020, 11, 30), "RW6"
SAMPLE = 8


@dataclass(frozen=True)
class Archive:
    """Headers of the image files by path, damaged ones left out, and the truth."""

    images: dict[Path, FileDataset]
    truth: Path

    def told(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.truth / f"{name}.parquet")

    def series(self, kind: str) -> pl.DataFrame:
        return self.told("dicom_series").filter(pl.col("scan_kind") == kind)

    def files(self, kind: str) -> dict[Path, FileDataset]:
        uids = set(self.series(kind)["series_instance_uid"])
        return {p: i for p, i in self.images.items() if i.SeriesInstanceUID in uids}

    def planted(self, kind: str) -> pl.DataFrame:
        return self.told("dirt").filter((pl.col("feed") == "dicom") & (pl.col("kind") == kind))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("archive")
    inbox = folder / "inbox"
    generate(Network.load(SEEDS), inbox, folder / "truth", scale=0.002, period=PERIOD)
    dirt = pl.read_parquet(folder / "truth" / "dirt.parquet")
    damaged = set(dirt.filter(pl.col("kind").str.starts_with("damaged"))["file"])
    images = {
        path: pydicom.dcmread(path, stop_before_pixels=True)
        for path in sorted(inbox.glob("dicom/*/*/*/*.dcm"))
        if str(path.relative_to(inbox)) not in damaged
    }
    return Archive(images, folder / "truth")


def _clock(image: FileDataset, name: str) -> datetime:
    text = image[f"{name}Date"].value + image[f"{name}Time"].value[:6]
    return datetime.strptime(text, "%Y%m%d%H%M%S")


def test_every_header_tells_the_time_of_its_device(archive: Archive) -> None:
    """Failing means that the truth of a clock is not what its images say."""
    shown = dict(
        archive.told("dicom_series").select("series_instance_uid", "start_at_device").rows()
    )
    told = [i for i in archive.images.values() if i.SeriesInstanceUID in shown]
    assert len(told) > 500
    assert all(_clock(i, "Series") == shown[i.SeriesInstanceUID] for i in told)


def test_a_device_is_ahead_by_what_the_truth_says_of_its_clock(archive: Archive) -> None:
    """Failing means that a correction of clocks could not be tried."""
    placed = (
        archive.told("dicom_series")
        .filter(pl.col("station_name").is_not_null())
        .join(archive.told("device_clocks"), on="station_name")
        .filter(
            (pl.col("valid_from_at") <= pl.col("start_at"))
            & (pl.col("start_at") < pl.col("valid_to_at"))
        )
    )
    days = (placed["start_at"] - placed["valid_from_at"]).dt.total_seconds() / 86_400
    expected = placed["offset_seconds"] + days * placed["drift_seconds_per_day"]
    found = (placed["start_at_device"] - placed["start_at_local"]).dt.total_seconds()
    assert placed.height == archive.series("exam").height + archive.series("phantom").height
    assert (found - expected).abs().max() <= 0.5
    assert (placed["end_at_device"] - placed["start_at_device"]).equals(
        placed["end_at"] - placed["start_at"], check_names=False
    )


def test_most_clocks_are_right_within_seconds_and_few_missed_the_change(archive: Archive) -> None:
    """Failing means a fleet that no hospital has."""
    clocks = archive.told("device_clocks")
    missed = clocks.filter(pl.col("kind") == "dst")
    others = clocks.filter(pl.col("kind") != "dst")["offset_seconds"].abs()
    assert 1 <= missed["station_name"].n_unique() <= 4
    assert missed["valid_from_at"].min() >= datetime(2020, 10, 25, 1, tzinfo=UTC)
    assert missed["offset_seconds"].is_between(3600 - 600, 3600 + 600).all()
    assert (others < 10).mean() > 0.5
    assert 20 < others.max() < 1800
    assert set(clocks["kind"]) == {"exact", "drift", "step", "dst"}
    for kind in ("drift", "step", "dst"):
        counted = archive.planted(f"device_clock_{kind}").height
        assert counted == clocks.filter(pl.col("kind") == kind).height


def test_the_periods_of_a_clock_follow_each_other_without_gaps() -> None:
    """Failing means that some image has no clock, or two."""
    stations = {f"S{n}": n % 17 == 0 for n in range(400)}
    clocks = simulate_clocks(stations, Period.of(date(2025, 12, 1), 4), archive_habits(), 3)
    period = Period.of(date(2025, 12, 1), 4)
    for mine in clocks.partition_by("station_name"):
        assert mine["valid_from"][0] == period.cutoff
        assert mine["valid_to"][-1] == period.end
        assert mine["valid_from"][1:].to_list() == mine["valid_to"][:-1].to_list()
    in_summer = clocks.filter(pl.col("kind") == "dst")["offset_seconds"]
    assert (in_summer < -3000).any()
    zoned = clocks.filter(pl.col("station_name").is_in([s for s, zone in stations.items() if zone]))
    assert "dst" not in set(zoned["kind"])
    unknown = pl.DataFrame({"station_name": ["nowhere", None], "at": [period.cutoff] * 2})
    assert seconds_ahead(unknown, "at", clocks).to_list() == [0, 0]


def test_a_phantom_is_scanned_before_the_first_session_and_was_not_asked_for(
    archive: Archive,
) -> None:
    """Failing means that a scan of quality assurance could pass for an exam."""
    series = archive.series("phantom")
    assert series["exam_no"].null_count() == series.height
    assert series["study_instance_uid"].n_unique() == archive.planted("qa_phantom").height > 20
    for image in archive.files("phantom").values():
        assert image.AccessionNumber == ""
        assert image.PatientID == f"QA{image.get('StationName', image.PatientID[2:])}"
        assert "RequestAttributesSequence" not in image
        assert image.QualityControlImage == "YES"
    first = (
        archive.told("rota")
        .group_by("station_name", day=pl.col("session_start_at_local").dt.date())
        .agg(pl.col("session_start_at").min())
    )
    both = series.with_columns(day=pl.col("start_at_local").dt.date()).join(
        first, on=["station_name", "day"], how="left"
    )
    assert (both["end_at"] < both["session_start_at"]).all()
    exams = archive.told("exams").select("station_name", "started_at", "completed_at")
    meets = series.join(exams, on="station_name").filter(
        (pl.col("started_at") < pl.col("end_at")) & (pl.col("completed_at") > pl.col("start_at"))
    )
    assert meets.is_empty()
    weekly = series.filter(pl.col("dicom_modality") == "MR").unique("study_instance_uid")
    weeks = weekly.select("station_name", week=pl.col("start_at_local").dt.truncate("1w"))
    assert not weeks.is_duplicated().any()


def test_old_studies_arrive_on_the_day_of_the_go_live(archive: Archive) -> None:
    """Failing means that no migration is ever tried, or that it looks like activity."""
    series, files = archive.series("prior"), archive.files("prior")
    assert set(series["party_code"]) == {PARTY}
    assert len(series) == archive.planted("migrated_prior").height > 20
    assert {path.parts[-4:-2] for path in files} == {(str(GO_LIVE), PARTY)}
    for image in files.values():
        assert date(2015, 11, 1) < _clock(image, "Study").date() < date(2019, 12, 2)
        assert image.InstitutionName == "DATA MIGRATION"
        assert image.PerformedStationAETitle == "MIGRATION_SCU"
        assert "StationName" not in image and "DeviceSerialNumber" not in image
        assert image.PatientBirthDate < image.StudyDate
    known = set(archive.told("exams")["accession_number"])
    assert known.isdisjoint(series["accession_number"])


def test_a_series_sent_again_has_its_numbers_and_other_names(archive: Archive) -> None:
    """Failing means that only copies of the same bytes are tried."""
    copies = defaultdict(list)
    for path, image in archive.images.items():
        copies[image.SOPInstanceUID].append((path, image))
    series = archive.told("dicom_series").filter(pl.col("resent_at").is_not_null())
    assert series.height == archive.planted("resent_series").height > 0
    again = set(series["series_instance_uid"])
    for sent in copies.values():
        differing = {image.StudyDescription for _, image in sent}
        assert len(differing) == (2 if sent[0][1].SeriesInstanceUID in again else 1)
    latest = series.filter(pl.col("resent_at") <= pl.col("delivered_at"))
    assert latest.is_empty()
    assert (series["resent_at"] - series["delivered_at"]).max() <= timedelta(days=6)


def test_the_list_of_the_archive_tells_each_series_and_when_it_came(archive: Archive) -> None:
    """Failing means that headers and list cannot meet, or that the way to the archive is lost."""
    files = sorted((archive.truth.parent / "inbox").glob("dicom_series/*/series_*.csv"))
    listed = pl.concat(
        pl.read_csv(f, infer_schema=False).with_columns(day=pl.lit(f.parent.name)) for f in files
    ).with_columns(pl.col("archive_received_at").str.to_datetime("%Y-%m-%d %H:%M:%S%.f"))
    assert (listed["archive_received_at"].dt.strftime("%Y-%m-%d") == listed["day"]).all()
    series = archive.told("dicom_series")
    times = [
        series.select("series_instance_uid", at=pl.col(name)).drop_nulls()
        for name in ("delivered_at", "resent_at")
    ]
    local = pl.col("at").dt.convert_time_zone("Europe/London").dt.replace_time_zone(None)
    expected = pl.concat(times).with_columns(local).sort("series_instance_uid", "at")
    found = listed.select("series_instance_uid", at="archive_received_at")
    assert found.sort("series_instance_uid", "at").equals(expected)


def test_no_study_is_in_the_archive_before_its_last_image(archive: Archive) -> None:
    """Failing means that a right clock would be proven fast."""
    scans = archive.told("dicom_series").filter(pl.col("scan_kind") != "prior")
    last = pl.max_horizontal("end_at", "frames_end_at").max()
    studies = scans.group_by("study_instance_uid", "site_code").agg(
        pl.col("delivered_at").first(), taken=pl.col("delivered_at").first() - last
    )
    # what would come after the last day comes with its last delivery
    studies = studies.filter(pl.col("delivered_at") < pl.col("delivered_at").max())
    taken = studies["taken"].dt.total_seconds()
    habits = archive_habits()
    assert taken.min() > habits["shortest_transfer_seconds"]
    assert taken.median() < 4 * habits["usual_transfer_seconds"]
    queued = (taken > 1800).mean()
    assert 0 < queued < 2 * habits["queued_study_rate"]


@pytest.mark.parametrize("kind", ["phantom", "prior", "resent"])
def test_a_validator_finds_no_error_in_what_no_exam_made(archive: Archive, kind: str) -> None:
    """Failing means that another reader may refuse or misread what ours accepts."""
    if shutil.which("dciodvfy") is None:
        pytest.fail("dciodvfy is missing: install the Debian package 'dicom3tools'")
    if kind == "resent":
        found = [p for p, i in archive.images.items() if "corrected" in i.StudyDescription]
    else:
        found = list(archive.files(kind))
    by_class = defaultdict(list)
    for path in found:
        by_class[archive.images[path].SOPClassUID.name].append(path)
    assert by_class
    for paths in by_class.values():
        for path in paths[:SAMPLE]:
            done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
            errors = [x for x in (done.stdout + done.stderr).splitlines() if x.startswith("Error")]
            assert errors == [], path.name
