"""The spool: what a sender was told is safe is there after a crash, and readable by nobody else."""

import base64
import errno
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.receivers.spool import (
    CLOSED,
    HEADER_BYTES,
    OPEN,
    Limits,
    Record,
    SpoolProblem,
    SpoolRefused,
    SpoolWriter,
    WrongSpoolKey,
    mark_read,
    read_at,
    read_segment,
    recover,
    segments,
)
from tests.pipelines.receivers.conftest import STORAGE_KEY, spooled

NewSpool = Callable[..., SpoolWriter]
NOW = datetime(2026, 6, 11, 14, 15, 16, 123456, tzinfo=UTC)
# Made once; each example of a property damages a copy.
TORN = [os.urandom(n) for n in (1, 0, 300, 17, 4096)]


def send(spool: SpoolWriter, *payloads: bytes, feed_id="hl7_RMC", sender="RIS", patience=5.0):
    return [
        spool.append(p, feed_id=feed_id, sender=sender, received_at=NOW, patience=patience)
        for p in payloads
    ]


def as_records(payloads: list[bytes]) -> list[Record]:
    return [Record(n, NOW, "hl7_RMC", "RIS", p) for n, p in enumerate(payloads, start=1)]


@pytest.fixture(scope="module")
def left_open(tmp_path_factory) -> Path:
    """A segment that its writer never closed, holding TORN."""
    folder = tmp_path_factory.mktemp("open") / "spool"
    spool = SpoolWriter(folder, STORAGE_KEY, limits=Limits(free_bytes=0))
    for ticket in send(spool, *TORN):
        ticket.result(5)
    kept = folder.parent / segments(folder, OPEN)[0].name
    shutil.copy(segments(folder, OPEN)[0], kept)
    spool.close()
    return kept


@settings(max_examples=20)
@given(
    payloads=st.lists(st.binary(max_size=200), min_size=1, max_size=12),
    segment_bytes=st.integers(1, 400),
    feed_id=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
def test_every_record_is_read_back_as_it_came(
    tmp_path_factory, payloads: list[bytes], segment_bytes: int, feed_id: str
):
    """Failing means that the spool loses, doubles or changes what it acknowledged."""
    folder = tmp_path_factory.mktemp("any") / "spool"
    limits = Limits(segment_bytes=segment_bytes, free_bytes=0)
    spool = SpoolWriter(folder, STORAGE_KEY, limits=limits)
    try:
        for ticket in send(spool, *payloads, feed_id=feed_id):
            ticket.result(5)
    finally:
        spool.close()
    found = spooled(folder)
    assert [r.payload for r in found] == payloads
    assert {(r.feed_id, r.sender, r.received_at) for r in found} == {(feed_id, "RIS", NOW)}


@settings(max_examples=60)
@given(data=st.data())
def test_a_segment_torn_at_any_byte_keeps_every_record_before_it(
    tmp_path_factory, left_open: Path, data: st.DataObject
):
    """Failing means that a crash loses acknowledged records, or stops the receiver."""
    whole = left_open.read_bytes()
    length = data.draw(st.integers(0, len(whole)))
    rubbish = data.draw(st.binary(max_size=40))
    folder = tmp_path_factory.mktemp("torn")
    path = folder / left_open.name
    path.write_bytes(whole[:length] + (rubbish if length < len(whole) else b""))
    report = recover(path)
    found = spooled(folder)
    assert found == as_records(TORN)[: len(found)]
    ends = [HEADER_BYTES]
    for payload in TORN:
        ends.append(ends[-1] + 16 + 10 + len("hl7_RMCRIS") + len(payload) + 16)
    complete = sum(end <= length for end in ends[1:])
    # Rubbish that happens to be the next bytes of the frame may complete it.
    assert len(found) >= complete
    assert sum(r.records for r in report) == len(found)


@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_byte_costs_one_record_and_is_counted(
    tmp_path_factory, left_open: Path, data: st.DataObject
):
    """Failing means that damage on the disk spreads, passes unseen, or changes a record."""
    content = bytearray(left_open.read_bytes())
    content[data.draw(st.integers(HEADER_BYTES, len(content) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    path = tmp_path_factory.mktemp("flipped") / f"a{CLOSED}"
    path.write_bytes(content)
    segment = read_segment(path, STORAGE_KEY)
    expected = as_records(TORN)
    assert len(segment.records) == len(expected) - 1
    assert all(record in expected for record in segment.records)
    assert segment.damaged_bytes > 0


def test_nobody_is_released_before_the_sync(new_spool: NewSpool, monkeypatch):
    """Failing means that a sender deletes what a power cut can still take from us."""
    spool, may_sync, has_synced = new_spool(), threading.Event(), threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(5)
        real(descriptor)
        has_synced.set()

    monkeypatch.setattr(os, "fdatasync", slow)
    (ticket,) = send(spool, b"first")
    with pytest.raises(TimeoutError):
        ticket.result(0.1)
    may_sync.set()
    assert ticket.result(5).number == 1
    assert has_synced.is_set()


def test_what_arrives_during_a_sync_shares_the_next_one(new_spool: NewSpool, monkeypatch):
    """Failing means that many senders wait for one sync each."""
    spool, may_sync, syncs = new_spool(), threading.Event(), []
    is_syncing = threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        is_syncing.set()
        assert may_sync.wait(5)
        syncs.append(1)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = send(spool, b"first")
    assert is_syncing.wait(5)
    rest = send(spool, *(b"later" for _ in range(20)))
    may_sync.set()
    assert first[0].result(5).synced_together == 1
    assert {ticket.result(5).synced_together for ticket in rest} == {20}
    assert len(syncs) == spool.synced_groups == 2


def test_a_full_disk_refuses_and_keeps_what_was_safe(
    new_spool: NewSpool, tmp_path: Path, monkeypatch
):
    """Failing means that a full disk costs acknowledged records or is told as success."""
    spool, real = new_spool(), os.write
    send(spool, b"safe")[0].result(5)

    def full(descriptor: int, data) -> int:
        if threading.current_thread().name != "spool-writer":
            return real(descriptor, data)
        if len(data) > 9:  # the first bytes still fit
            return real(descriptor, data[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        (ticket,) = send(spool, b"refused")
        with pytest.raises(SpoolRefused, match="the disk of the spool is full"):
            ticket.result(5)
    send(spool, b"taken again")[0].result(5)
    spool.close()
    assert [record.payload for record in spooled(tmp_path / "spool")] == [b"safe", b"taken again"]
    assert all(
        read_segment(p, STORAGE_KEY).damaged_bytes == 0
        for p in segments(tmp_path / "spool", CLOSED)
    )


def test_a_failed_sync_is_never_tried_again_on_the_same_segment(new_spool: NewSpool, monkeypatch):
    """Failing means that pages the disk has dropped are believed to be safe."""
    spool, real = new_spool(), os.fdatasync
    before = send(spool, b"before")[0].result(5)
    failing = iter([True])

    def fails_once(descriptor: int) -> None:
        if next(failing, False):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails_once)
        with pytest.raises(SpoolRefused, match="Input/output error"):
            send(spool, b"lost")[0].result(5)
        after = send(spool, b"after")[0].result(5)
    assert after.segment != before.segment
    spool.close()
    assert [record.payload for record in spooled(spool.root)] == [b"before", b"after"]


def test_what_a_failing_disk_left_open_is_closed_when_it_works_again(
    new_spool: NewSpool, monkeypatch
):
    """Failing means that acknowledged records wait for a restart that nobody makes."""
    spool = new_spool()
    send(spool, b"before")[0].result(5)

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(SpoolRefused, match="Input/output error"):
            send(spool, b"lost")[0].result(5)
    assert spool.document()["refusing"]
    send(spool, b"after")[0].result(5)
    waited = threading.Event()
    for _ in range(100):
        if spool.document()["segments_waiting"]:
            break
        waited.wait(0.02)
    assert [record.payload for record in spooled(spool.root)] == [b"before"]
    assert spool.document()["refusing"] is None
    assert spool.document()["sync_ms"]["max"] > 0


def test_nothing_is_taken_when_the_disk_is_nearly_full(new_spool: NewSpool):
    """Failing means that the spool leaves no room to land what it holds."""
    spool = new_spool(free_bytes=1 << 60)
    with pytest.raises(SpoolRefused, match="full"):
        send(spool, b"x")[0].result(5)


def test_senders_wait_for_a_slow_disk_and_are_refused_in_the_end(new_spool: NewSpool, monkeypatch):
    """Failing means that a slow disk fills the memory."""
    spool, may_sync = new_spool(pending_bytes=10), threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(5)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = send(spool, b"0123456789")
    with pytest.raises(SpoolRefused, match="too slow"):
        send(spool, b"1", patience=0.05)
    may_sync.set()
    first[0].result(5)
    send(spool, b"2")[0].result(5)


def test_segments_close_by_size_and_by_age(new_spool: NewSpool, tmp_path: Path):
    """Failing means that records wait for ever for the harvest."""
    spool = new_spool(segment_bytes=200, segment_age=timedelta(seconds=0.2))
    send(spool, b"x" * 300)[0].result(5)
    send(spool, b"small")[0].result(5)
    waited = threading.Event()
    for _ in range(100):
        if len(segments(tmp_path / "spool", CLOSED)) == 2:
            break
        waited.wait(0.05)
    assert len(segments(tmp_path / "spool", CLOSED)) == 2
    assert segments(tmp_path / "spool", OPEN) == []


def test_a_crash_is_mended_at_the_next_start(new_spool: NewSpool, left_open: Path, tmp_path: Path):
    """Failing means that an operator has to repair the spool by hand."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    (folder / left_open.name).write_bytes(left_open.read_bytes()[:-5])
    (folder / f"empty{OPEN}").write_bytes(b"IMSP")
    spool = new_spool()
    assert [(found.records, found.cut_bytes > 0) for found in spool.recovered] == [(4, True)]
    assert spooled(folder) == as_records(TORN)[:4]


def test_another_key_is_named_and_nothing_is_lost(left_open: Path, tmp_path: Path):
    """Failing means that a wrong key reads rubbish, or is mistaken for damage."""
    path = tmp_path / f"a{CLOSED}"
    shutil.copy(left_open, path)
    with pytest.raises(WrongSpoolKey, match=r"a\.closed .*IMAGING_KEY_FILE"):
        read_segment(path, base64.urlsafe_b64encode(b"t" * 32))
    assert len(read_segment(path, STORAGE_KEY).records) == len(TORN)


def test_what_is_no_segment_is_named(tmp_path: Path):
    """Failing means that a stray file stops the harvest without a word."""
    path = tmp_path / f"stray{CLOSED}"
    path.write_bytes(b"something else")
    with pytest.raises(SpoolProblem, match="no segment of a spool"):
        read_segment(path, STORAGE_KEY)


def test_only_the_owner_can_look_in_and_only_one_process_writes(
    new_spool: NewSpool, tmp_path: Path
):
    """Failing means that others read identities, or that two receivers mix their frames."""
    spool = new_spool()
    send(spool, b"x")[0].result(5)
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    with pytest.raises(SpoolProblem, match="another receiver writes to"):
        SpoolWriter(folder, STORAGE_KEY)
    spool.close()
    folder.chmod(0o750)
    with pytest.raises(SpoolProblem, match="chmod 700"):
        SpoolWriter(folder, STORAGE_KEY)


def test_nothing_of_a_payload_can_be_read_on_the_disk(new_spool: NewSpool, tmp_path: Path):
    """Failing means that whoever copies the disk has the identities."""
    spool = new_spool()
    send(spool, b"PID|1||9998887776||Heppenstall^Aurelia", sender="A_SENDER")[0].result(5)
    spool.close()
    content = segments(tmp_path / "spool", CLOSED)[0].read_bytes()
    for text in (b"9998887776", b"Heppenstall", b"PID|", b"A_SENDER"):
        assert text not in content


def test_a_closing_spool_takes_nothing_more(new_spool: NewSpool):
    """Failing means that a record handed over at the end waits for ever."""
    spool = new_spool()
    spool.close()
    with pytest.raises(SpoolRefused, match="stopping"):
        send(spool, b"late")


def test_retention_counts_from_the_harvest(left_open: Path, tmp_path: Path):
    """Failing means that a segment leaves before its retention, or never."""
    path = tmp_path / f"a{CLOSED}"
    shutil.copy(left_open, path)
    assert read_at(mark_read(path, NOW)) == NOW
    assert not path.exists()
