"""From spool to landing: as a delivered file of messages would land, and once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import (
    Setup,
    harvest,
    harvest_arrived,
    harvest_spool,
    prune_spool,
    replay,
    spooled,
    waiting_segments,
)
from pipelines.receivers.spool import CLOSED, READ, Limits, SpoolWriter, segments
from pipelines.sources.inbox import Delivery
from tests.hl7_sender import NHS_NUMBER, SURNAME, framed, message
from tests.pipelines.receivers.conftest import STORAGE_KEY

NOW = datetime(2026, 6, 12, 6, tzinfo=UTC)
SENT = datetime(2026, 6, 11, 23, 30, tzinfo=UTC)  # half past midnight on the network's clock
WEEK = timedelta(days=7)


def spool_of(folder: Path, *sent: tuple[str, bytes]) -> Path:
    """A spool with one more closed segment of what was sent for each feed."""
    spool = SpoolWriter(folder, STORAGE_KEY, limits=Limits(free_bytes=0))
    for feed_id, payload in sent:
        spool.append(payload, feed_id=feed_id, sender="10.0.0.1", received_at=SENT, patience=5)
    spool.close()
    return folder


@pytest.fixture
def home(new_setup: Callable[..., Setup], tmp_path: Path) -> Setup:
    """Messages of two parties in one segment, one of them not for production."""
    of_another = message(4, facility="RBV")
    folder = spool_of(
        tmp_path / "spool",
        ("hl7_RMC", message(1)),
        ("hl7_RBV", of_another),
        ("hl7_RMC", message(2)),
        ("hl7_RMC", message(3, processing="T")),
    )
    return replace(new_setup(tmp_path / "landed"), spools={"hl7": folder})


def landed(setup: Setup) -> pl.DataFrame:
    return setup.landing.read("imaging_events").sort("event_id", "landed_at")


def test_a_segment_lands_as_a_delivered_file_would(
    home: Setup, new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that it matters whether an engine sends or delivers a file."""
    result = harvest_spool("hl7", home, now=NOW)
    assert (result.files_landed, result.rows_landed, result.rows_rejected) == (2, 3, 1)
    other = new_setup(tmp_path / "other")
    data = b"".join(framed(message(n)) for n in (1, 2))
    file = Delivery("hl7", Path("RMC_20260612.hl7"), date(2026, 6, 12), data)
    harvest("hl7", [file], other, now=NOW)
    ours = landed(home).filter(pl.col("feed_id") == "hl7_RMC")
    drop = ["source_sha", "received_at"]
    assert len(ours) == 2
    assert ours.drop(drop).equals(landed(other).drop(drop))


def test_a_receipt_names_segment_feed_and_instant(home: Setup):
    """Failing means that nobody can tell what became of a segment, or when a feed last sent."""
    (segment,) = segments(home.spools["hl7"], CLOSED)
    harvest_spool("hl7", home, now=NOW)
    receipts = home.landing.receipts().sort("feed_id")
    assert receipts["feed_id"].to_list() == ["hl7_RBV", "hl7_RMC"]
    assert receipts["file_name"].str.starts_with(f"spool-{segment.stem}_").all()
    assert set(receipts["received_at"]) == {SENT}
    # The day is that of the network's clock.
    assert set(receipts["delivered_on"]) == {date(2026, 6, 12)}
    assert set(landed(home)["received_at"]) == {SENT}
    assert waiting_segments(home) == []


def test_a_message_for_testing_never_lands_and_is_kept_encrypted(home: Setup, tmp_path: Path):
    """Failing means that a test exam counts, or that identities are in the clear."""
    result = harvest_spool("hl7", home, now=NOW)
    assert result.rejects_by_rule == {"message_is_for_production": 1}
    (entry,) = home.quarantine.entries(state="open")
    assert message(3, processing="T").strip() in home.quarantine.payload(entry)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert NHS_NUMBER.encode() not in content and SURNAME.encode() not in content, path
    assert replay(entry, home, now=NOW).rows_rejected == 1


def test_a_message_that_is_sent_again_is_one_event(home: Setup):
    """Failing means that an engine that repeats itself makes more exams."""
    harvest_spool("hl7", home, now=NOW)
    before = set(landed(home)["event_id"])
    # The same bytes alone, twice over; then with a header of their own.
    again = message(1).replace(b"20260611101500", b"20260611111500").replace(b"C000001", b"C000091")
    for sent in (message(1), message(1), again):
        spool_of(home.spools["hl7"], ("hl7_RMC", sent))
        harvest_spool("hl7", home, now=NOW + timedelta(hours=1))
    assert waiting_segments(home) == []
    assert set(landed(home)["event_id"]) == before


def test_segments_that_wait_are_read_together(home: Setup, monkeypatch: pytest.MonkeyPatch):
    """Failing means that a weekend of segments takes all morning, or all memory."""
    for number in range(10, 16):
        spool_of(home.spools["hl7"], ("hl7_RMC", message(number)))
    groups, real = [], spooled.harvest

    def counted(feed_kind, deliveries, *rest, **named):
        groups.append(len(deliveries))
        return real(feed_kind, deliveries, *rest, **named)

    monkeypatch.setattr(spooled, "harvest", counted)
    monkeypatch.setattr(spooled, "GROUP_BYTES", 3 * len(message(1)))
    result = harvest_spool("hl7", home, now=NOW)
    assert result.rows_landed == 9
    assert groups == [2, 3, 3]
    assert waiting_segments(home) == []


def test_a_harvest_killed_before_it_marks_the_segment_lands_nothing_twice(
    home: Setup, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a crash at the end of a harvest doubles messages, or leaves the segment."""

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(spooled, "mark_read", killed)
        with pytest.raises(Killed):
            harvest_spool("hl7", home, now=NOW)
    before = landed(home)
    assert len(waiting_segments(home)) == 1
    harvest_spool("hl7", home, now=NOW)
    assert landed(home).equals(before)
    assert waiting_segments(home) == []


def test_a_refused_segment_is_replayed_when_the_cause_is_mended(
    home: Setup, new_setup: Callable[..., Setup]
):
    """Failing means that messages received from an unregistered feed are gone."""
    of_nobody = replace(
        home.network, feeds=home.network.feeds.filter(pl.col("feed_id") != "hl7_RBV")
    )
    result = harvest_spool("hl7", replace(home, network=of_nobody), now=NOW)
    assert result.files_refused == 1
    assert waiting_segments(home) == []
    # The quarantine has its copy: the segment may go.
    assert len(prune_spool(home, retention=WEEK, now=NOW + 2 * WEEK)) == 1
    (entry,) = (e for e in home.quarantine.entries(state="open") if e.scope == "file")
    assert replay(entry, home, now=NOW).rows_landed == 1
    assert "hl7_RBV" in set(landed(home)["feed_id"])


def test_a_batch_trailer_in_one_frame_counts_that_frame_only(
    new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that one sender's batch makes every message of its segment be refused."""
    batch = b"BHS|^~\\&|RIS\r" + message(2) + message(3) + b"BTS|2\r"
    torn = b"BHS|^~\\&|RIS\r" + message(4) + b"BTS|9\r"
    sent = (message(1), batch, torn, b"BTS|7\r", message(5))
    folder = spool_of(tmp_path / "spool", *(("hl7_RMC", payload) for payload in sent))
    setup = replace(new_setup(tmp_path / "landed"), spools={"hl7": folder})
    result = harvest_spool("hl7", setup, now=NOW)
    assert (result.rows_landed, result.rows_rejected, result.files_refused) == (5, 0, 0)
    (note,) = result.notes
    assert "1 frame states (BTS-1) another number of messages than it holds: 9, not 1" in note


def test_the_hl7_feed_takes_files_and_segments(home: Setup):
    """Failing means that a run forgets the spool, or that other feeds look into it."""
    assert harvest_arrived("dicom", [], home, now=NOW).rows_received == 0
    assert waiting_segments(home, "dicom") == []
    file = Delivery("hl7", Path("RMC_1.hl7"), date(2026, 6, 11), framed(message(9)))
    result = harvest_arrived("hl7", [file], home, now=NOW)
    assert (result.rows_landed, result.files_landed) == (4, 3)
    (segment,) = segments(home.spools["hl7"], READ)
    assert prune_spool(home, retention=WEEK, now=NOW + timedelta(days=6)) == []
    assert prune_spool(home, retention=WEEK, now=NOW + timedelta(days=8)) == [segment]
