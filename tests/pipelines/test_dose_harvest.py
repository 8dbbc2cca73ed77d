"""The trees of dose reports on their way to landing: nothing readable, nothing lost, nothing twice."""

import errno
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import Setup, dicom, dose, harvest, intake, replay
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.sources import archives, dose_reports
from pipelines.sources.inbox import Delivery, deliveries

NOW = datetime(2026, 4, 2, 6, tzinfo=UTC)
NewSetup = Callable[..., Setup]


@pytest.fixture(scope="module")
def landed(delivered: Path, new_setup: NewSetup, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """The images of the small network, harvested once; tests only read it."""
    setup = new_setup(tmp_path_factory.mktemp("doses"))
    harvest("dicom", deliveries(delivered / "inbox", "dicom"), setup, now=NOW)
    return setup


def one_folder(delivered: Path, tmp_path: Path) -> tuple[Path, date]:
    """A copy of a party's day that holds a dose report."""
    source = sorted((delivered / "inbox").glob("dicom/*/*/*/SR*.dcm"))[0].parents[1]
    folder = tmp_path / "inbox" / "dicom" / source.parent.name / source.name
    shutil.copytree(source, folder)
    return folder, date.fromisoformat(source.parent.name)


def several_reports(delivered: Path, tmp_path: Path) -> tuple[list[Path], Path, date]:
    """All dose reports of a party, and an empty folder of the last of its days to pack them into."""
    paths = sorted((delivered / "inbox").glob("dicom/*/*/*/SR*.dcm"))
    party = paths[-1].parents[1].name
    found = [path for path in paths if path.parents[1].name == party][-4:]
    folder = tmp_path / "packed" / "inbox" / "dicom" / found[-1].parents[2].name / party
    folder.mkdir(parents=True)
    assert len(found) > 1
    return found, folder, date.fromisoformat(folder.parent.name)


def test_the_events_of_the_truth_land_under_the_hashes_of_their_headers(
    landed: Setup, delivered: Path
):
    """Failing means that a dose cannot be joined to its exam, or is lost on the way."""
    truth = pl.read_parquet(delivered / "truth" / "dose_events.parquet")
    rows = landed.landing.read("dose_events")
    key = landed.keys.pseudonym
    for column, domain, landed_as in (
        ("irradiation_event_uid", "irradiation_event", "irradiation_event_uid"),
        ("study_instance_uid", "study", "study_instance_uid"),
    ):
        expected = set(pseudonyms(truth[column], domain, key))
        assert set(rows[landed_as]) == expected
    assert len(rows) == truth["report_count"].sum()
    assert rows["unread_reason"].null_count() == len(rows)
    headers = landed.landing.read("dicom_headers").filter(
        pl.col("sop_class_uid").is_in(dose_reports.DOSE_CLASSES)
    )
    shared = ["sop_instance_uid", "series_instance_uid", "study_instance_uid", "accession_number"]
    shared += ["patient_id", "content_sha", "source_sha", "feed_id", "received_at"]
    assert (
        rows.select(shared)
        .unique()
        .sort("sop_instance_uid")
        .equals(headers.select(shared).sort("sop_instance_uid"))
    )


def test_no_identity_of_a_report_is_readable_in_landing(landed: Setup, delivered: Path):
    """Failing means that UIDs or numbers of a patient rest where analysts read."""
    (folder,) = {landed.landing.root / "dose_events"}
    content = b"".join(path.read_bytes() for path in folder.glob("*.parquet"))
    text = str(landed.landing.read("dose_events").drop("device_observer_name").to_dicts())
    for path in (delivered / "inbox").glob("dicom/*/*/*/SR*.dcm"):
        (row, *_) = dose_reports.read_dose_reports([path], zone="Europe/London").events.to_dicts()
        for name in ("sop_instance_uid", "study_instance_uid", "irradiation_event_uid"):
            assert row[name] not in text
            assert row[name].encode() not in content


def test_the_device_of_a_report_is_told_as_headers_tell_theirs(landed: Setup, delivered: Path):
    """Failing means that a report cannot be joined to the scanner whose images name its UID."""
    paths = sorted((delivered / "inbox").glob("dicom/*/*/*/SR*.dcm"))
    told = dose_reports.read_dose_reports(paths, zone="Europe/London").events
    found = landed.landing.read("dose_events")
    assert set(found["device_observer_uid"]) == set(told["device_observer_uid"]) != {None}


def test_harvesting_again_changes_nothing(landed: Setup, delivered: Path):
    """Failing means that a second run doubles doses."""
    before = landed.landing.file_names(), landed.landing.read("dose_events")
    harvest(
        "dicom",
        deliveries(delivered / "inbox", "dicom"),
        landed,
        now=NOW + timedelta(hours=1),
    )
    assert landed.landing.file_names() == before[0]
    assert landed.landing.read("dose_events").equals(before[1])


def test_a_harvest_killed_before_its_receipts_lands_the_same_once(
    delivered: Path, new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a crash doubles doses or leaves them out."""
    folder, day = one_folder(delivered, tmp_path)
    whole, setup = new_setup(tmp_path / "whole"), new_setup(tmp_path / "killed")
    harvest("dicom", [Delivery("dicom", folder, day)], whole, now=NOW)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "account", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    assert setup.landing.receipts().is_empty()
    harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    expected = whole.landing.read("dose_events")
    assert setup.landing.read("dose_events").equals(expected) and len(expected) > 0


def test_a_replayed_report_lands_with_its_events(
    delivered: Path, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that doses stay out after the cause of a rejection is mended."""
    folder, day = one_folder(delivered, tmp_path)
    setup = new_setup(tmp_path)
    early = [Delivery("dicom", folder, day - timedelta(days=10))]
    harvest("dicom", early, setup, now=NOW)
    assert setup.landing.read("dose_events").is_empty(), "in the future, so rejected"
    for entry in setup.quarantine.entries(state="open"):
        replay(
            type(entry)(**entry.__dict__ | {"delivered_on": str(day)}),
            setup,
            now=NOW + timedelta(hours=1),
        )
    reports = len(list(folder.rglob("SR*.dcm")))
    assert setup.landing.read("dose_events")["sop_instance_uid"].n_unique() == reports > 0


def test_a_report_whose_tree_is_cut_short_lands_its_header_and_the_reason(
    delivered: Path, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that a lost dose leaves no trace, or that a bad tree loses its header."""
    folder, day = one_folder(delivered, tmp_path)
    path = next(folder.rglob("SR*.dcm"))
    path.write_bytes(path.read_bytes()[:-400])
    setup = new_setup(tmp_path)
    result = harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    assert result.rows_rejected == 0 or result.rows_landed > 0
    rows = setup.landing.read("dose_events").filter(pl.col("unread_reason").is_not_null())
    (row,) = rows.to_dicts()
    assert row["unread_reason"].startswith(dose_reports.NOT_WHOLE)
    assert (row["event_no"], row["report_row_count"], row["irradiation_event_uid"]) == (0, 1, None)
    headers = setup.landing.read("dicom_headers")
    assert row["sop_instance_uid"] in set(headers["sop_instance_uid"])
    assert dose.TABLE not in set(setup.landing.receipts()["landing_table"])


def test_a_report_in_an_archive_lands_the_events_it_would_land_beside_it(
    delivered: Path, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that the doses of archives that are sent as zip files are lost."""
    folder, day = one_folder(delivered, tmp_path)
    beside, inside = new_setup(tmp_path / "beside"), new_setup(tmp_path / "inside")
    harvest("dicom", [Delivery("dicom", folder, day)], beside, now=NOW)
    packed = tmp_path / "packed" / "inbox" / "dicom" / folder.parent.name / folder.name
    packed.mkdir(parents=True)
    with zipfile.ZipFile(packed / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.dcm")):
            archive.write(path, path.relative_to(folder))
    harvest("dicom", [Delivery("dicom", packed, day)], inside, now=NOW)
    found, expected = (
        setup.landing.read("dose_events").drop("source_sha").sort("sop_instance_uid", "event_no")
        for setup in (inside, beside)
    )
    assert found.equals(expected) and len(found) > 0
    assert found["unread_reason"].null_count() == len(found)


def test_many_archives_are_read_with_one_of_them_open_at_a_time(
    delivered: Path, new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a busy day's archives use up the files a process may open."""
    paths, packed, day = several_reports(delivered, tmp_path)
    for number, path in enumerate(paths):
        with zipfile.ZipFile(packed / f"{number:03d}.zip", "w") as archive:
            archive.write(path, path.name)
    opened, most = set(), []

    class Counted(archives.Archive):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            opened.add(path)
            most.append(len(opened))

        def close(self) -> None:
            super().close()
            opened.discard(Path(str(self.file.name)))

    monkeypatch.setattr(dose, "Archive", Counted)
    setup = new_setup(tmp_path)
    harvest("dicom", [Delivery("dicom", packed, day)], setup, now=NOW)
    assert most == [1] * len(paths)
    rows = setup.landing.read("dose_events")
    assert rows["unread_reason"].null_count() == len(rows) > 0


def test_the_members_of_an_archive_are_read_as_they_lie(
    delivered: Path, new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a compressed archive is unpacked anew for every report in it."""
    paths, packed, day = several_reports(delivered, tmp_path)
    with tarfile.open(packed / "export.tar.gz", "w:gz") as archive:
        for number, path in enumerate(reversed(paths)):
            archive.add(path, f"{9 - number}.dcm")
    places, head = [], archives.Archive.head

    def noted(self: archives.Archive, member: archives.Member, count: int) -> bytes:
        places.append(member.place)
        return head(self, member, count)

    setup = new_setup(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(dose.Archive, "head", noted)
        read = dose.dose_rows
        patch.setattr(dose, "dose_rows", lambda *given: (places.clear(), read(*given))[1])
        harvest("dicom", [Delivery("dicom", packed, day)], setup, now=NOW)
    assert places == sorted(places) and len(places) == len(paths)
    expected = dose_reports.read_dose_reports(paths, zone="Europe/London").events
    key = setup.keys.pseudonym
    told = expected.select(
        pseudonyms(expected["sop_instance_uid"], "instance", key),
        pseudonyms(expected["irradiation_event_uid"], "irradiation_event", key),
    )
    found = setup.landing.read("dose_events").select(told.columns)
    assert found.sort(told.columns).equals(told.sort(told.columns))


@pytest.mark.parametrize("packs", [False, True], ids=["file", "archive"])
def test_a_machine_out_of_files_stops_the_harvest_and_the_next_one_reads_all(
    delivered: Path,
    new_setup: NewSetup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packs: bool,
):
    """Failing means that a busy hour of the machine loses doses without a word."""
    folder, day = one_folder(delivered, tmp_path)
    if packs:
        paths = sorted(folder.rglob("*.dcm"))
        with zipfile.ZipFile(folder / "export.zip", "w") as archive:
            for path in paths:
                archive.write(path, path.name)
                path.unlink()
    setup = new_setup(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(dose, "Archive", full)
        patch.setattr(dose_reports.Path, "is_file", full)
        with pytest.raises(OSError, match="Too many open files"):
            harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    assert setup.landing.receipts().is_empty()
    harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    rows = setup.landing.read("dose_events")
    assert rows["unread_reason"].null_count() == len(rows) > 0


def is_accounted(setup: Setup) -> bool:
    """Whether landing holds the headers that the receipts say were written, source by source."""
    told = setup.landing.receipts().group_by("source_sha").agg(pl.col("rows_written").sum())
    landed = setup.landing.read("dicom_headers").group_by("source_sha").len("rows_landed")
    both = told.join(landed, on="source_sha", how="full", coalesce=True).fill_null(0)
    return both["rows_written"].equals(both["rows_landed"].cast(pl.Int64))


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "with_others"])
def test_a_report_sent_again_whole_lands_its_dose_and_nothing_lands_twice(
    delivered: Path, new_setup: NewSetup, tmp_path: Path, is_alone: bool
):
    """Failing means that a dose that was once cut short stays lost, or that headers pile up."""
    folder, day = one_folder(delivered, tmp_path)
    path = next(folder.rglob("SR*.dcm"))
    if is_alone:
        for other in [one for one in folder.rglob("*.dcm") if one != path]:
            other.unlink()
    whole = path.read_bytes()
    path.write_bytes(whole[:-400])
    setup, delivery = new_setup(tmp_path), Delivery("dicom", folder, day)
    harvest("dicom", [delivery], setup, now=NOW)
    first = len(setup.landing.read("dicom_headers"))
    # the same cut file under another name is nothing new, however often the folder is read
    (path.parent / "copy.dcm").write_bytes(whole[:-400])
    for hour in (1, 2):
        harvest("dicom", [delivery], setup, now=NOW + timedelta(hours=hour))
    rows = setup.landing.read("dose_events")
    assert rows.filter(pl.col("unread_reason").is_not_null()).height == 1
    assert len(setup.landing.read("dicom_headers")) == first and is_accounted(setup)
    path.write_bytes(whole)
    (path.parent / "third.dcm").write_bytes(whole)
    for hour in (3, 4):
        harvest("dicom", [delivery], setup, now=NOW + timedelta(hours=hour))
    (path.parent / "fourth.dcm").write_bytes(whole)
    harvest("dicom", [delivery], setup, now=NOW + timedelta(hours=5))
    rows = setup.landing.read("dose_events")
    (report,) = rows.filter(pl.col("unread_reason").is_not_null())["sop_instance_uid"]
    read = rows.filter(pl.col("sop_instance_uid") == report, pl.col("unread_reason").is_null())
    expected = dose_reports.read_dose_reports([path], zone="Europe/London").events
    assert len(read) == len(expected) > 0
    assert len(setup.landing.read("dicom_headers")) == first + 1 and is_accounted(setup)


def test_of_a_damaged_and_a_whole_copy_in_one_delivery_the_whole_one_lands(
    delivered: Path, new_setup: NewSetup, tmp_path: Path
):
    """Failing means that the name of a file decides whether a dose is read."""
    folder, day = one_folder(delivered, tmp_path)
    path = next(folder.rglob("SR*.dcm"))
    (path.parent / "0.dcm").write_bytes(path.read_bytes()[:-400])
    setup = new_setup(tmp_path)
    harvest("dicom", [Delivery("dicom", folder, day)], setup, now=NOW)
    rows = setup.landing.read("dose_events")
    assert rows["unread_reason"].null_count() == len(rows) > 0
    assert setup.landing.read("dicom_headers")["sop_instance_uid"].is_unique().all()


def test_a_whole_copy_in_a_later_batch_of_the_same_harvest_lands(
    delivered: Path, new_setup: NewSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a dose is lost where a harvest has much to read."""
    folder, day = one_folder(delivered, tmp_path)
    path = next(folder.rglob("SR*.dcm"))
    later = tmp_path / "later" / folder.parent.name / folder.name
    shutil.copytree(folder, later)
    path.write_bytes(path.read_bytes()[:-400])
    setup = new_setup(tmp_path)
    monkeypatch.setattr(dicom, "LARGEST_BATCH", 1)
    both = [Delivery("dicom", place, day) for place in (folder, later)]
    harvest("dicom", both, setup, now=NOW)
    rows = setup.landing.read("dose_events")
    unread = rows.filter(pl.col("unread_reason").is_not_null())["sop_instance_uid"]
    read = rows.filter(pl.col("unread_reason").is_null())["sop_instance_uid"]
    assert len(unread) == 1 and unread.is_in(read.to_list()).all() and is_accounted(setup)
