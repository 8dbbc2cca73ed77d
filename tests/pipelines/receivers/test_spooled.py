"""From spool to landing: as a delivered folder would land, once, and for its own party."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import (
    Setup,
    dicom_delivery,
    harvest,
    harvest_arrived,
    harvest_spool,
    prune_spool,
    replay,
    spooled,
    waiting_segments,
)
from pipelines.harvest.spooled import NoRamDisk
from pipelines.landing.pseudonymise import pseudonyms
from pipelines.receivers.dicom_cut import cut, file_meta
from pipelines.receivers.spool import (
    CLOSED,
    READ,
    Limits,
    SpoolWriter,
    WrongSpoolKey,
    read_at,
    segments,
)
from pipelines.sources.dicom_headers.tags import TagList
from tests.pipelines.receivers.conftest import CT, STORAGE_KEY, ct_object
from tests.pipelines.receivers.test_dicom_cut import encoded

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
SENT = datetime(2026, 6, 11, 23, 30, tzinfo=UTC)  # half past midnight on the network's clock
WEEK = timedelta(days=7)


def kept_of(path: Path) -> bytes:
    meta, data = encoded(path)
    syntax = str(meta.TransferSyntaxUID)
    found = cut(data, len(data), syntax, TagList.load().last_tag, largest=1 << 20)
    return file_meta(syntax, CT, str(meta.MediaStorageSOPInstanceUID)) + found.data_set


def spool_of(folder: Path, *sent: tuple[str, bytes]) -> Path:
    """A spool with one closed segment of what was sent for each feed."""
    spool = SpoolWriter(folder, STORAGE_KEY, limits=Limits(free_bytes=0))
    for feed_id, payload in sent:
        spool.append(payload, feed_id=feed_id, sender="PACS", received_at=SENT, patience=5)
    spool.close()
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in (1, 2, 3):
        ct_object(folder, number)
    return sorted(folder.glob("*.dcm"))


@pytest.fixture
def home(new_setup: Callable[..., Setup], files: list[Path], tmp_path: Path) -> Setup:
    """Three objects in a segment, the last from another party."""
    sent = [kept_of(path) for path in files]
    feeds = ["dicom_RMC", "dicom_RMC", "dicom_RBV"]
    folder = spool_of(tmp_path / "spool", *zip(feeds, sent, strict=True))
    return replace(new_setup(tmp_path / "landed"), spools={"dicom": folder})


def landed(setup: Setup) -> pl.DataFrame:
    return setup.landing.read("dicom_headers").sort("sop_instance_uid")


def test_a_segment_lands_as_its_files_would(
    home: Setup, files: list[Path], new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that it matters whether a scanner sends or its archive delivers."""
    result = harvest_spool("dicom", home, now=NOW)
    assert (result.rows_received, result.rows_landed, result.rows_rejected) == (3, 3, 0)
    folder = tmp_path / "delivered_RMC"
    folder.mkdir()
    for path in files[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    other = new_setup(tmp_path / "other")
    harvest("dicom", [dicom_delivery(folder, date(2026, 6, 12))], other, now=NOW)
    of_the_source = ["source_sha", "row_no", "reader", "content_sha"]
    ours = landed(home).filter(pl.col("feed_id") == "dicom_RMC")
    drop = [name for name in of_the_source if name in ours.columns]
    assert ours.drop(drop).equals(landed(other).drop(drop))


def test_patients_are_those_of_the_senders_party(home: Setup):
    """Failing means that equal numbers of two trusts become one patient."""
    harvest_spool("dicom", home, now=NOW)
    rows = landed(home).group_by("feed_id").agg(pl.col("patient_id").unique()).sort("feed_id")
    issuers = {"dicom_RBV": "RBV", "dicom_RMC": "RMC"}
    for feed_id, patients in rows.iter_rows():
        number = pl.Series([f"{issuers[feed_id]}|9998887776"])
        assert patients == pseudonyms(number, "patient", home.keys.pseudonym).to_list()
    receipts = home.landing.receipts()
    assert set(receipts["feed_id"]) == set(issuers)
    # The day is that of the network's clock.
    assert set(receipts["delivered_on"]) == {date(2026, 6, 12)}
    assert receipts["file_name"].str.starts_with("spool-").all()


def test_nothing_is_left_in_the_clear(home: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Failing means that a harvest leaves identities on a disk."""
    ram_disk, modes = tmp_path / "ram", []
    ram_disk.mkdir()
    monkeypatch.setattr(spooled, "RAM_DISK", ram_disk)
    harvest = spooled.harvest

    def watched(*arguments, **named):
        modes.extend(path.stat().st_mode & 0o777 for path in ram_disk.iterdir())
        return harvest(*arguments, **named)

    monkeypatch.setattr(spooled, "harvest", watched)
    harvest_spool("dicom", home, now=NOW)
    assert modes == [0o700]
    assert list(ram_disk.iterdir()) == []
    for path in (tmp_path / "landed").rglob("*"):
        if path.is_file():
            for text in (b"9998887776", b"Heppenstall", b"2.25.9001"):
                assert text not in path.read_bytes(), path


def test_without_room_in_memory_nothing_is_decrypted(
    home: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that identities are written to a disk, or that a harvest breaks off in it."""
    with monkeypatch.context() as patch:
        patch.setattr(spooled, "RAM_DISK", tmp_path / "none")
        with pytest.raises(NoRamDisk, match="mount a tmpfs"):
            harvest_spool("dicom", home, now=NOW)
    with monkeypatch.context() as patch:
        patch.setattr(spooled, "ROOM_TO_SPARE", 1 << 60)
        with pytest.raises(NoRamDisk, match="IMAGING_SPOOL_SEGMENT_MB"):
            harvest_spool("dicom", home, now=NOW)
    assert home.landing.receipts().is_empty()
    assert harvest_spool("dicom", home, now=NOW).rows_landed == 3


def test_what_a_killed_harvest_left_in_the_clear_is_removed(home: Setup, monkeypatch):
    """Failing means that a crash leaves identities in the clear for good."""
    monkeypatch.setattr(spooled, "RAM_DISK", home.landing.root.parent)
    folder = home.landing.root.parent / "imaging-spool-99999999-abc"  # no such process
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"an identity")
    harvest_spool("dicom", home, now=NOW)
    assert not folder.exists()


def test_an_object_that_is_sent_again_counts_once(home: Setup, files: list[Path]):
    """Failing means that a sender that repeats itself makes more exams."""
    harvest_spool("dicom", home, now=NOW)
    before = landed(home)
    again = kept_of(files[0])
    spool_of(home.spools["dicom"], ("dicom_RMC", again), ("dicom_RMC", again))
    result = harvest_spool("dicom", home, now=NOW + timedelta(hours=1))
    assert result.rows_written == 0
    assert landed(home).equals(before)
    assert waiting_segments(home) == []


def test_a_harvest_killed_before_it_marks_the_segment_lands_nothing_twice(
    home: Setup, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a crash at the end of a harvest doubles objects."""

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(spooled, "mark_read", killed)
        with pytest.raises(Killed):
            harvest_spool("dicom", home, now=NOW)
    before = landed(home)
    assert len(before) == 3 and len(waiting_segments(home)) == 1
    harvest_spool("dicom", home, now=NOW)
    assert landed(home).equals(before)
    assert waiting_segments(home) == []


def test_the_dicom_feed_takes_folders_and_segments(home: Setup, files: list[Path], tmp_path: Path):
    """Failing means that a run forgets the spool, or that other feeds look into it."""
    assert harvest_arrived("hl7", [], home, now=NOW).rows_received == 0
    folder = tmp_path / "2026-06-12" / "RW6"
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(ct_object(tmp_path, 4) and (tmp_path / "4.dcm").read_bytes())
    delivery = dicom_delivery(folder, date(2026, 6, 12))
    result = harvest_arrived("dicom", [delivery], home, now=NOW)
    assert (result.rows_landed, result.files_landed) == (4, 3)


def test_another_key_stops_the_harvest_and_leaves_the_segment(home: Setup):
    """Failing means that a wrong key empties the spool."""
    other = replace(home, keys=replace(home.keys, storage=b"dHR0" * 10 + b"dHQ="))
    with pytest.raises(WrongSpoolKey, match="IMAGING_KEY_FILE"):
        harvest_spool("dicom", other, now=NOW)
    assert len(waiting_segments(home)) == 1


def test_a_rejected_header_is_replayed_from_its_segment(
    home: Setup, files: list[Path], monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a header rejected by our own fault cannot be had again."""
    unread = kept_of(files[0]).replace(b"2.25.8002", b"2.25.8009", 1)
    broken = unread.replace(b"2.25.9001", b"2.25.9999", 1)  # file meta only
    spool_of(home.spools["dicom"], ("dicom_RMC", broken))
    result = harvest_spool("dicom", home, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (3, 1)
    (entry,) = home.quarantine.entries(state="open")
    (path,) = json.loads(home.quarantine.payload(entry))
    assert not Path(path).exists()
    for _ in range(2):  # what stays rejected can be replayed again
        (entry,) = home.quarantine.entries(state="open")
        still = replay(entry, home, now=NOW)
        assert (still.rows_landed, still.rows_rejected) == (0, 1)
    assert prune_spool(home, retention=WEEK, now=NOW + 2 * WEEK) != []
    assert len(segments(home.spools["dicom"], READ)) == 1, "the segment of the open entry is kept"
    for left in home.quarantine.entries(state="open"):
        home.quarantine.close(left, "dismissed", "a test")
    assert len(prune_spool(home, retention=WEEK, now=NOW + 2 * WEEK)) == 1
    with (
        pytest.raises(spooled.SegmentGone, match="sent again"),
        spooled.at_hand(entry, json.dumps([path]).encode(), home),
    ):
        pass


def test_a_segment_leaves_when_its_retention_is_over(home: Setup):
    """Failing means that identities rest longer than agreed, or leave before they have landed."""
    assert prune_spool(home, retention=WEEK, now=NOW + 9 * WEEK) == []
    harvest_spool("dicom", home, now=NOW)
    (segment,) = segments(home.spools["dicom"], READ)
    assert read_at(segment) == NOW
    assert prune_spool(home, retention=WEEK, now=NOW + timedelta(days=6)) == []
    assert prune_spool(home, retention=WEEK, now=NOW + timedelta(days=8)) == [segment]
    assert not segment.exists()


def test_a_damaged_segment_lands_what_is_whole(home: Setup, caplog: pytest.LogCaptureFixture):
    """Failing means that one bad block of the disk stops the harvest or loses its neighbours."""
    (path,) = segments(home.spools["dicom"], CLOSED)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    result = harvest_spool("dicom", home, now=NOW)
    assert (result.rows_landed, result.rows_rejected) == (2, 0)
    assert waiting_segments(home) == []
    assert f"spool segment {path.name} is damaged" in caplog.text


def test_without_a_spool_there_is_nothing_to_do(new_setup: Callable[..., Setup], tmp_path: Path):
    """Failing means that a network without a receiver cannot harvest."""
    setup = new_setup(tmp_path)
    assert harvest_spool("dicom", setup, now=NOW).rows_received == 0
    assert prune_spool(setup, retention=WEEK, now=NOW) == []
    assert waiting_segments(replace(setup, spools={"dicom": tmp_path / "none"})) == []
