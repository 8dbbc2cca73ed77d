"""DICOM deliveries of any size: in units, each with its receipt, and out of archives."""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.gate import reader_differences, reconciliation_failures
from pipelines.harvest import (
    Setup,
    dicom,
    dicom_units,
    harvest,
    prune_inbox,
    replay,
    unseen,
)
from pipelines.harvest.dicom import reader_counts
from pipelines.sources.dicom_headers import comparison
from pipelines.sources.inbox import Delivery, deliveries
from tests.dicom_samples import written

NOW = datetime(2026, 7, 2, 6, tzinfo=UTC)
DAY = date(2026, 7, 1)
ROOT = Path(__file__).parents[2]
NewSetup = Callable[..., Setup]
LANDED = ["sop_instance_uid", "study_instance_uid", "patient_id", "start_utc", "feed_id"]


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 8 to 32 files, as units of thousands would be."""
    monkeypatch.setattr(dicom_units, "SMALLEST_UNIT", 8)
    monkeypatch.setattr(dicom_units, "LARGEST_UNIT", 32)
    monkeypatch.setattr(dicom_units, "LARGEST_SHARED_ARCHIVE", 4096)
    monkeypatch.setattr(dicom, "LARGEST_BATCH", 32)


def images(folder: Path, numbers: range, **values) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        written(
            folder, name=f"{n:04d}.dcm", SOPInstanceUID=f"2.25.9{n:04d}", PatientID="H1", **values
        )
        for n in numbers
    ]


def delivery(inbox: Path, party: str = "RMC") -> Delivery:
    return Delivery("dicom", inbox / "dicom" / DAY.isoformat() / party, DAY)


def landed(setup: Setup) -> pl.DataFrame:
    return setup.landing.read("dicom_headers").select(LANDED).sort("sop_instance_uid")


def adds_up(setup: Setup) -> bool:
    receipts, rejects = setup.landing.receipts(), setup.landing.read("rejects")
    rows = setup.landing.read("dicom_headers").group_by("source_sha").agg(n=pl.len().cast(pl.Int64))
    joined = receipts.filter(pl.col("rows_written") > 0).join(rows, on="source_sha", how="full")
    return (
        reconciliation_failures(receipts, rejects) == []
        and (joined["rows_written"] == joined["n"]).all()
    )


def test_a_large_folder_lands_in_units_of_their_own_and_again_lands_nothing(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a large archive must be read in one go, or is counted twice."""
    one = delivery(tmp_path)
    images(one.path, range(150))
    (one.path / "0070x.dcm").write_text("no image")
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected, result.files_seen) == (150, 1, 1)
    receipts = setup.landing.receipts()
    assert len(receipts) == result.files_landed >= 5
    assert receipts["file_name"].n_unique() == receipts["manifest_sha"].n_unique() == len(receipts)
    assert "RMC" in receipts["file_name"].to_list()
    assert set(receipts["feed_id"]) == {"dicom_RMC"}
    assert receipts["rows_received"].max() <= 32
    assert adds_up(setup)
    assert unseen("dicom", [one], setup) == []
    again = harvest("dicom", [one], setup, now=NOW + timedelta(hours=1))
    assert (again.rows_received, again.files_known) == (0, 1)
    assert len(setup.landing.receipts()) == len(receipts)


def test_a_file_that_is_added_later_lands_alone_and_makes_few_others_be_read(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that one more image has a whole archive read again, or land twice."""
    one = delivery(tmp_path)
    images(one.path, range(0, 400, 2))
    setup = new_setup(tmp_path / "home")
    harvest("dicom", [one], setup, now=NOW)
    images(one.path, range(201, 202))
    read: list[int] = []
    result = harvest(
        "dicom",
        [one],
        setup,
        now=NOW + timedelta(hours=1),
        progress=lambda step, done, _: read.append(done) if step == "read dicom" else None,
    )
    assert (result.rows_received, result.rows_landed) == (1, 1)
    assert max(read) <= 2 * 32
    assert len(landed(setup)) == 201
    assert adds_up(setup)


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import polars as pl
from pipelines.harvest import dicom, dicom_units, intake
from pipelines.quality.suites import VIOLATION_SCHEMA
from tests.pipelines import test_dicom_units as tests
from tests.pipelines.conftest import CONTRACTS, KEYS, ROOT
from pipelines.contracts import read_contracts
from pipelines.harvest import Setup, harvest
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network

dicom_units.SMALLEST_UNIT, dicom_units.LARGEST_UNIT, dicom.LARGEST_BATCH = 8, 32, 32
intake.violations = lambda *_: pl.DataFrame(schema=VIOLATION_SCHEMA)
inbox, home, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
setup = Setup(
    network=Network.load(ROOT / "dbt_project" / "seeds"),
    inbound=read_contracts(CONTRACTS / "inbound"),
    landing=LandingStore(home / "landing", read_contracts(CONTRACTS / "landing")),
    quarantine=Quarantine(home / "quarantine", KEYS), keys=KEYS, workers=1)
landings = 0
def die(step, done, total):
    global landings
    landings += step == "land dicom"
    if landings == limit:
        os.kill(os.getpid(), signal.SIGKILL)
harvest("dicom", [tests.delivery(inbox)], setup, now=tests.NOW, progress=die)
"""


def test_a_killed_harvest_goes_on_where_it_was_and_loses_and_doubles_nothing(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that an archive of weeks starts anew after a power cut, or is counted twice."""
    one = delivery(tmp_path)
    images(one.path, range(0, 200, 2))
    (one.path / "0131.dcm").write_bytes(b"")
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(home), "4"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -9, done.stderr
    setup = new_setup(home)
    committed = setup.landing.receipts()
    assert 0 < committed["rows_received"].sum() < 101
    assert len(setup.landing.read("dicom_headers")) > committed["rows_written"].sum()
    # What has changed since is cut into other units than those that were being landed.
    images(one.path, range(1, 200, 20))
    read: list[int] = []
    result = harvest(
        "dicom",
        [one],
        setup,
        now=NOW + timedelta(hours=1),
        progress=lambda step, done, _: read.append(done) if step == "read dicom" else None,
    )
    assert result.rows_rejected == 1
    assert result.rows_received + committed["rows_received"].sum() == 100 + 10 + 1
    expected = new_setup(tmp_path / "whole")
    harvest("dicom", [one], expected, now=NOW)
    assert landed(setup).equals(landed(expected))
    assert adds_up(setup)


def test_finished_units_are_not_read_again_after_a_failure(
    new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a harvest that fails each night near its end never gets there."""
    one = delivery(tmp_path)
    images(one.path, range(120))
    setup = new_setup(tmp_path / "home")
    counted: list[int] = []

    def full(step: str, done: int, total: int) -> None:
        counted.append(done if step == "read dicom" else 0)
        if step == "read dicom" and done > 80:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        harvest("dicom", [one], setup, now=NOW, progress=full)
    committed = setup.landing.receipts()["rows_received"].sum()
    assert committed > 40 and adds_up(setup)
    counted.clear()

    def watch(step: str, done: int, total: int) -> None:
        counted.append(done if step == "read dicom" else 0)

    harvest("dicom", [one], setup, now=NOW, progress=watch)
    assert max(counted) == 120 - committed
    assert len(landed(setup)) == 120


def zipped(path: Path, files: list[Path]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"study/{file.name}")
    return path


@pytest.mark.parametrize("form", ["small", "large", "alone", "tgz"])
def test_an_archive_lands_what_its_files_would_land(
    new_setup: NewSetup, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that images are lost or counted otherwise because they came packed."""
    files = images(tmp_path / "files", range(50))
    if form == "small":
        monkeypatch.setattr(dicom_units, "LARGEST_SHARED_ARCHIVE", 1 << 20)
    one = delivery(tmp_path)
    inside = one.path / "export.zip"
    if form == "alone":
        inside = one.path.with_suffix(".zip")
    if form == "tgz":
        one.path.mkdir(parents=True)
        shutil.make_archive(str(one.path / "export"), "gztar", tmp_path / "files")
        (one.path / "export.tar.gz").rename(one.path / "export.tgz")
    else:
        zipped(inside, files)
    waiting = deliveries(tmp_path, "dicom")
    assert len(waiting) == 1
    setup, expected = new_setup(tmp_path / "home"), new_setup(tmp_path / "plain")
    result = harvest("dicom", waiting, setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (50, 0)
    for file in files:
        (tmp_path / "b" / "dicom" / DAY.isoformat() / "RMC").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, delivery(tmp_path / "b").path)
    harvest("dicom", [delivery(tmp_path / "b")], expected, now=NOW)
    assert landed(setup).equals(landed(expected))
    assert adds_up(setup)
    assert unseen("dicom", waiting, setup) == []
    # The same images as files are copies.
    assert harvest("dicom", [delivery(tmp_path / "b")], setup, now=NOW).rows_received == 0
    gone = prune_inbox(waiting, setup, retention=timedelta(0), now=NOW + timedelta(days=1))
    assert len(gone) == 1 and not gone[0].exists()


def test_rejected_members_are_kept_by_path_and_replayed_out_of_their_archive(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a rejected image in an archive can never be looked at again."""
    files = images(tmp_path / "files", range(20))
    files[7].write_bytes(b"not yet an image")
    one = delivery(tmp_path)
    path = zipped(one.path / "export.zip", files)
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (19, 1)
    (entry,) = setup.quarantine.entries(state="open")
    assert json.loads(setup.quarantine.payload(entry)) == [f"{path}!/study/0007.dcm"]
    assert "study" not in json.dumps(setup.landing.read("rejects").to_dicts(), default=str)
    assert prune_inbox([one], setup, retention=timedelta(0), now=NOW + timedelta(days=1)) == []
    still = replay(entry, setup, now=NOW + timedelta(hours=1))
    assert (still.rows_landed, still.rows_rejected) == (0, 1)
    (entry,) = setup.quarantine.entries(state="open")
    images(tmp_path / "files", range(7, 8))
    zipped(path, files)
    mended = replay(entry, setup, now=NOW + timedelta(hours=2))
    assert (mended.rows_landed, mended.rows_rejected) == (1, 0)
    assert setup.quarantine.entries(state="open") == []
    assert landed(setup)["feed_id"].unique().to_list() == ["dicom_RMC"]
    assert len(landed(setup)) == 20


def test_a_refused_archive_is_one_reject_and_the_files_beside_it_land(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that one broken transfer keeps a whole delivery out."""
    one = delivery(tmp_path)
    images(one.path, range(30))
    path = zipped(one.path / "export.zip", images(tmp_path / "files", range(100, 140)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (30, 1)
    assert setup.landing.read("rejects")["reason"].item() == "the archive is cut off or damaged"
    path.write_bytes(whole)
    (entry,) = setup.quarantine.entries(state="open")
    assert replay(entry, setup, now=NOW + timedelta(hours=1)).rows_landed == 40
    assert adds_up(setup)


def test_a_delivery_that_is_a_broken_archive_is_refused_whole_and_replayed(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a lost delivery counts as one bad record, and that the gate holds."""
    day = tmp_path / "inbox" / "dicom" / DAY.isoformat()
    day.mkdir(parents=True)
    path = zipped(day / "RMC_export.zip", images(tmp_path / "files", range(100, 140)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [Delivery("dicom", path, DAY)], setup, now=NOW)
    assert (result.files_refused, result.rows_landed) == (1, 0)
    (failure,) = result.failures
    assert failure.rule == "archive_is_readable"
    assert "cut off or damaged; ask the sender" in failure.message
    path.write_bytes(whole)
    (entry,) = setup.quarantine.entries(state="open")
    assert entry.scope == "file"
    assert replay(entry, setup, now=NOW + timedelta(hours=1)).rows_landed == 40
    assert adds_up(setup)


def test_files_of_any_name_land_are_quarantined_replayed_and_retired(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that one file name stops the harvest of a whole archive."""
    one = delivery(tmp_path)
    one.path.mkdir(parents=True)
    names = [b"line\nbreak.dcm", b"latin-\xe9.dcm", b"\xff\xfe", b"pipe|name"]
    for number, name in enumerate(names):
        (path,) = images(tmp_path / "made", range(number, number + 1))
        path.rename(os.fsdecode(os.fsencode(one.path) + b"/" + name))
    bad = Path(os.fsdecode(os.fsencode(one.path) + b"/bad-\xe9\n.dcm"))
    bad.write_text("no image")
    os.mkfifo(one.path / "pipe")
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (4, 2)
    assert unseen("dicom", [one], setup) == []
    assert adds_up(setup)
    gone = prune_inbox([one], setup, retention=timedelta(0), now=NOW + timedelta(days=1))
    assert {os.fsencode(path.name) for path in gone} == set(names)
    bad.write_bytes(images(tmp_path / "made", range(9, 10))[0].read_bytes())
    (entry,) = setup.quarantine.entries(state="open")
    again = replay(entry, setup, now=NOW + timedelta(hours=1))
    assert (again.rows_landed, again.rows_rejected) == (1, 1)


def test_a_refused_unit_is_replayed_as_the_unit_it_was(new_setup: NewSetup, tmp_path: Path):
    """Failing means that a refusal in a large folder cannot be undone by itself."""
    one = delivery(tmp_path)
    images(one.path, range(60))
    images(one.path, range(60, 80), StudyDate="20270101")
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    assert result.files_refused >= 1
    refused = [e for e in setup.quarantine.entries(state="open") if e.scope == "file"]
    later = [replace(entry, delivered_on="2027-02-01") for entry in refused]
    landed_rows = sum(replay(e, setup, now=NOW + timedelta(hours=1)).rows_landed for e in later)
    assert landed_rows == sum(entry.record_count for entry in refused)
    assert adds_up(setup)
    assert set(landed(setup)["feed_id"]) == {"dicom_RMC"}


def test_a_refusal_ends_though_its_images_have_landed_by_another_delivery(
    new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a sender registered late stays red for good, or that rows vanish."""
    setup = new_setup(tmp_path / "home")
    others = setup.network.feeds.filter(pl.col("feed_id") != "dicom_RMC")
    without = replace(setup, network=replace(setup.network, feeds=others))
    inbox = tmp_path / "inbox"
    early, late = delivery(inbox), replace(delivery(inbox), path=delivery(inbox).path / "PACS_RMC")
    images(early.path, range(6))
    assert harvest("dicom", [early], without, now=NOW).files_refused == 1
    images(late.path, range(4))
    assert harvest("dicom", [late], setup, now=NOW + timedelta(hours=1)).rows_landed == 4
    (entry,) = setup.quarantine.entries(state="open")
    assert replay(entry, setup, now=NOW + timedelta(hours=2)).rows_landed == 2
    assert setup.quarantine.entries(state="open") == []
    readings = setup.landing.receipts().filter(pl.col("source_sha") == entry.source_sha)
    latest = readings.sort("landed_at").row(-1, named=True)
    assert (latest["status"], latest["rows_landed"], latest["feed_id"]) == (
        "landed",
        2,
        "dicom_RMC",
    )
    assert len(landed(setup)) == 6
    assert adds_up(setup)


@pytest.mark.parametrize("form", ["files", "archive"])
def test_a_file_that_pydicom_reads_otherwise_does_not_land_and_closes_the_gate(
    new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    """Failing means that a wrong reader fills the warehouse and nobody is told."""
    one = delivery(tmp_path)
    folder = one.path if form == "files" else tmp_path / "files"
    files = images(folder, range(25), StationName="CT1", Manufacturer="SECRET MAKER")
    if form == "archive":
        monkeypatch.setattr(dicom_units, "LARGEST_SHARED_ARCHIVE", 1 << 20)
        zipped(one.path / "export.zip", files)
    honest = comparison.bounded_pydicom

    def other(path: Path, tags, **limits):
        row, reason, digest = honest(path, tags, **limits)
        if row is not None and row["instance_number"] is None:
            row = row | {"station_name": "CT2"}
        return row, reason, digest

    monkeypatch.setattr(comparison, "bounded_pydicom", other)
    setup = replace(new_setup(tmp_path / "home"), compare_share=0.1)
    result = harvest("dicom", [one], setup, now=NOW)
    count = result.tallies["compared_with_pydicom"]
    assert 20 <= count <= 25
    assert result.rejects_by_rule == {comparison.RULE: count}
    rejects = setup.landing.read("rejects")
    assert rejects["reason"].str.contains(r"^file [0-9a-f]{12}: .* StationName$").all()
    text = json.dumps(rejects.to_dicts(), default=str)
    assert not any(word in text for word in ("CT1", "CT2", "SECRET", ".dcm"))
    entries = setup.quarantine.entries()
    found = reader_differences(rejects, entries)
    assert sum(failure.count for failure in found) == count
    assert {failure.rule for failure in found} == {comparison.RULE}
    (entry,) = entries
    replay(entry, setup, now=NOW + timedelta(hours=1))
    assert reader_differences(setup.landing.read("rejects"), setup.quarantine.entries())
    monkeypatch.setattr(comparison, "bounded_pydicom", honest)
    (entry,) = setup.quarantine.entries(state="open")
    assert replay(entry, setup, now=NOW + timedelta(hours=2)).rows_landed == count
    assert reader_differences(setup.landing.read("rejects"), setup.quarantine.entries()) == []
    assert adds_up(setup)


def test_the_sample_is_seeded_at_least_twenty_and_holds_the_first_of_every_maker():
    """Failing means that a new scanner software is believed unseen."""
    makers = [f"M{n % 7}" if n >= 400 else "M0" for n in range(1000)]
    headers = pl.DataFrame(
        {
            "reader": ["pydicom" if n == 400 else "scanner" for n in range(1000)],
            "manufacturer": makers,
            "manufacturer_model_name": "X",
            "software_versions": None,
        }
    )
    known: set[comparison.Maker] = {("M0", "X", None)}
    one = comparison.chosen(headers, 0.05, 20, set(known), "seed")
    assert one == comparison.chosen(headers, 0.05, 20, set(known), "seed")
    assert one != comparison.chosen(headers, 0.05, 20, set(known), "other seed")
    assert 400 not in one and len(one) >= 50
    firsts = {
        min(n for n, m in enumerate(makers) if m == f"M{k}" and n != 400) for k in range(1, 7)
    }
    assert firsts <= set(one)
    again = comparison.chosen(headers, 0.0001, 20, known, "seed")
    assert 20 <= len(again) <= 26 and len(known) == 7
    assert comparison.chosen(headers, 0.0, 20, set(), "seed") == []


def test_readers_are_counted_for_the_latest_harvest(new_setup: NewSetup, tmp_path: Path):
    """Failing means that nobody learns that most headers need the slowest reader."""
    one = delivery(tmp_path)
    images(one.path, range(12))
    setup = new_setup(tmp_path / "home")
    result = harvest("dicom", [one], setup, now=NOW)
    readers = {
        n: c for n, c in result.tallies.items() if n in ("first_window", "scanner", "pydicom")
    }
    assert reader_counts(setup.landing) == readers
    assert sum(readers.values()) == 12 and result.tallies["quarantined"] == 0


def test_where_a_folder_is_cut_depends_on_the_names_near_the_cut_only(tmp_path: Path):
    """Failing means that one more file changes every unit of an archive."""
    one = delivery(tmp_path)
    one.path.mkdir(parents=True)
    names = [f"{random.Random(1).getrandbits(20):05x}{n:05d}" for n in range(600)]
    for name in names:
        (one.path / name).touch()
    before = [unit.manifest for unit in dicom_units.units(one)]
    (one.path / f"{names[300]}a").touch()
    after = [unit.manifest for unit in dicom_units.units(one)]
    assert len(before) > 20
    assert len(set(after) - set(before)) <= 3
    for unit in list(dicom_units.units(one))[:4]:
        for path in unit.files:
            Path(path).unlink()
    assert [unit.manifest for unit in dicom_units.units(one)] == after[4:]
