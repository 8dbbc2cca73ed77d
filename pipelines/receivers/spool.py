"""An encrypted spool: what a receiver was sent, safe on disk before the sender is told so.

A spool is a folder of append-only segments. `<name>.open` is being written, `<name>.closed` waits
for the harvest, `<name>.read` has been harvested and is kept until its retention ends. One process
writes; everything that arrives while the disk is busy is written and synced together.

Layout of a segment, big endian:

    header   magic (8), salt (32), key check (16)
    frame    marker (4), record number (4), length (4), CRC-32 (4), sealed record (length)
    record   received at (8, UTC microseconds), length of feed id (1), length of sender (1),
             feed id, sender, payload

Records are sealed with AES-256-GCM under a key of their segment (HKDF of the storage key and the
salt), record number as nonce: no nonce is used twice, and no record can be moved unnoticed.
"""

import base64
import errno
import fcntl
import hashlib
import os
import secrets
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipelines.problems import Problem
from pipelines.receivers.timing import spread_ms

MAGIC = b"IMSPOOL1"
SALT_BYTES = 32
HEADER_BYTES = len(MAGIC) + SALT_BYTES + 16
FRAME = struct.Struct(">4sIII")
RECORD = struct.Struct(">qBB")
# The nonce of the key check; records count from 1 and never come near it.
CHECK_NONCE = b"\xff" * 12
OPEN, CLOSED, READ = ".open", ".closed", ".read"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# So many of the latest syncs tell how fast the disk is.
SYNCS_TIMED = 1024


class SpoolProblem(Problem):
    """The spool cannot be opened as it stands; the message says what to do."""


class WrongSpoolKey(Problem, ValueError):
    """A segment was written with another storage key; the message names it."""


class SpoolRefused(Exception):
    """A record was not spooled, so its sender must not be told that it was; the message is why."""


@dataclass(frozen=True)
class Record:
    """One thing received: when (UTC), for which feed, from whom, and its bytes.

    `number` counts from 1 within its segment.
    """

    number: int
    received_at: datetime
    feed_id: str
    sender: str
    payload: bytes


@dataclass(frozen=True)
class Segment:
    """What a segment holds: its records in order, its SHA-256, and bytes that were unreadable."""

    path: Path
    digest: str
    records: tuple[Record, ...]
    damaged_bytes: int


@dataclass(frozen=True)
class Position:
    """Where a record was spooled, and how many records its sync made safe together."""

    segment: str
    number: int
    synced_together: int


@dataclass(frozen=True)
class Recovered:
    """What a crash left: a segment, its whole records, and the bytes of a torn tail cut off."""

    segment: str
    records: int
    cut_bytes: int


@dataclass(frozen=True)
class Limits:
    """Bounds of a spool.

    A segment is closed when it holds `segment_bytes` or its first record is `segment_age` old.
    `pending_bytes` may wait for the disk; further senders wait. Nothing is taken while less than
    `free_bytes` would be left on the disk, so that the harvest can still land what has arrived.
    """

    segment_bytes: int = 64 << 20
    segment_age: timedelta = timedelta(minutes=5)
    pending_bytes: int = 64 << 20
    free_bytes: int = 512 << 20


class SpoolWriter:
    """The one writer of a spool. `append` may be called from any thread; close it at the end."""

    def __init__(
        self,
        root: Path,
        storage_key: bytes,
        *,
        limits: Limits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Lock the folder, mend what a crash left (`recovered`), start the thread that writes.

        `storage_key` is the network's storage key (url-safe base64 of 32 bytes). Raises
        SpoolProblem when the folder is open to others, or another process writes to it.
        """
        self.root, self.storage_key, self.now = root, storage_key, now
        self.limits = limits or Limits()
        private_folder(root)
        self._lock = _lock(root)
        self.recovered = [found for path in segments(root, OPEN) for found in recover(path)]
        self.synced_groups = 0
        self.sync_seconds: deque[float] = deque(maxlen=SYNCS_TIMED)
        # Why the latest group was not taken; None while all is well.
        self.refusing: str | None = None
        self._segment: _Open | None = None
        # Segments that could not be closed when the disk failed.
        self._left: list[Path] = []
        self._changed = threading.Condition()
        self._waiting: list[tuple[Record, Future[Position]]] = []
        self._pending = 0
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="spool-writer", daemon=True)
        self._thread.start()

    def append(
        self, payload: bytes, *, feed_id: str, sender: str, received_at: datetime, patience: float
    ) -> Future[Position]:
        """Hand over one record; the future ends when it is safe on disk, or with SpoolRefused.

        Waits up to `patience` seconds while the disk is behind, then raises SpoolRefused.
        """
        record = Record(0, received_at, feed_id, sender, payload)
        ticket: Future[Position] = Future()
        ticket.set_running_or_notify_cancel()  # who stops waiting cannot take the record back
        size = len(payload)
        with self._changed:
            # A record larger than all that may wait is taken when nothing else does.
            has_room = self._changed.wait_for(
                lambda: (
                    self._closing
                    or not self._pending
                    or self._pending + size <= self.limits.pending_bytes
                ),
                patience,
            )
            if self._closing:
                raise SpoolRefused("the receiver is stopping")
            if not has_room:
                raise SpoolRefused("the disk is too slow")
            self._pending += size
            self._waiting.append((record, ticket))
            self._changed.notify_all()
        return ticket

    def document(self) -> dict[str, Any]:
        """State of the spool, for JSON: why it refuses, segments for the harvest, sync times."""
        return {
            "refusing": self.refusing,
            "segments_waiting": len(segments(self.root, CLOSED)),
            "sync_ms": spread_ms(self.sync_seconds.copy()),
        }

    def close(self) -> None:
        """Write what waits, close the segment, free the folder; calling it twice does no harm."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, self._patience())
                group, self._waiting = self._waiting, []
                is_last = self._closing and not group
            if group:
                self._commit(group)
            with self._changed:
                self._pending -= sum(len(record.payload) for record, _ in group)
                self._changed.notify_all()
            if self._segment is not None and (is_last or self._is_due(self._segment)):
                self._finish(self._segment)
            if self._left and self.refusing is None:
                self._mend()
            if is_last:
                return

    def _patience(self) -> float | None:
        """Seconds until the open segment is old enough; None while there is none."""
        if self._segment is None:
            return None
        return max(self._segment.opened + self._age() - time.monotonic(), 0.0)

    def _age(self) -> float:
        return self.limits.segment_age.total_seconds()

    def _is_due(self, segment: "_Open") -> bool:
        is_old = time.monotonic() - segment.opened >= self._age()
        return segment.size >= self.limits.segment_bytes or is_old

    def _commit(self, group: list[tuple[Record, Future[Position]]]) -> None:
        """Write a group, sync once, then let go of everybody who waits for it."""
        try:
            self._check_free(sum(len(record.payload) for record, _ in group))
            if self._segment is None:
                self._segment = _Open.create(self.root, self.storage_key, self.now())
            segment = self._segment
            began = time.monotonic()
            numbers = segment.write([record for record, _ in group])
            self.sync_seconds.append(time.monotonic() - began)
        except Exception as error:
            # Whatever it was, nobody who waits may be told that the record is safe.
            self._abandon()
            self.refusing = _reason(error)
            for _, ticket in group:
                ticket.set_exception(SpoolRefused(self.refusing))
            return
        self.synced_groups += 1
        self.refusing = None
        for (_, ticket), number in zip(group, numbers, strict=True):
            ticket.set_result(Position(segment.name, number, len(group)))

    def _check_free(self, needed: int) -> None:
        found = os.statvfs(self.root)
        if found.f_bavail * found.f_frsize - needed < self.limits.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _abandon(self) -> None:
        """After a failed write or sync: keep what was safe before, go on in a new segment.

        A page whose sync failed may be marked clean, so a second sync would prove nothing.
        """
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close(truncate=True)
        except OSError:
            self._left.append(segment.path)

    def _finish(self, segment: "_Open") -> None:
        self._segment = None
        try:
            segment.close()
        except OSError:
            self._left.append(segment.path)

    def _mend(self) -> None:
        """Close what a failing disk left open, now that it takes records again."""
        left, self._left = self._left, []
        for path in left:
            try:
                recover(path)
            except FileNotFoundError:
                continue  # it was given its name, and the sync of the folder failed
            except OSError:
                self._left.append(path)  # the next start mends it at the latest


class _Open:
    """The segment being written."""

    def __init__(self, path: Path, descriptor: int, cipher: AESGCM, salt: bytes) -> None:
        self.path, self.descriptor, self.cipher = path, descriptor, cipher
        self.marker = salt[:4]
        self.size = self.written = HEADER_BYTES
        self.number = 0
        self.opened = time.monotonic()

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def create(cls, root: Path, storage_key: bytes, now: datetime) -> "_Open":
        salt = secrets.token_bytes(SALT_BYTES)
        path = root / f"{now:%Y%m%dT%H%M%S.%f}-{salt[:4].hex()}{OPEN}"
        cipher = _cipher(storage_key, salt)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            head = MAGIC + salt
            _write_all(descriptor, head + cipher.encrypt(CHECK_NONCE, b"", head))
            _sync_folder(root)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, cipher, salt)

    def write(self, records: list[Record]) -> list[int]:
        """Append records and sync them together; returns their numbers."""
        frames = []
        first = self.number + 1
        for number, record in enumerate(records, start=first):
            frames.append(self._frame(number, record))
        data = b"".join(frames)
        _write_all(self.descriptor, data)
        self.written += len(data)
        os.fdatasync(self.descriptor)
        self.size = self.written
        self.number = first + len(records) - 1
        return list(range(first, self.number + 1))

    def _frame(self, number: int, record: Record) -> bytes:
        feed, sender = (
            text.encode("ascii", "replace")[:255] for text in (record.feed_id, record.sender)
        )
        at = (record.received_at - EPOCH) // timedelta(microseconds=1)
        plain = RECORD.pack(at, len(feed), len(sender)) + feed + sender + record.payload
        sealed = self.cipher.encrypt(_nonce(number), plain, self.marker)
        return _framed(self.marker, number, sealed)

    def close(self, *, truncate: bool = False) -> None:
        """Give the segment its closed name, or remove it when nothing in it is safe."""
        try:
            if truncate:
                os.ftruncate(self.descriptor, self.size)
                os.fdatasync(self.descriptor)
        finally:
            os.close(self.descriptor)
        _close(self.path, is_empty=self.number == 0)


def _close(path: Path, *, is_empty: bool) -> None:
    if is_empty:
        path.unlink()
    else:
        path.rename(path.with_suffix(CLOSED))
    _sync_folder(path.parent)


def recover(path: Path) -> list[Recovered]:
    """Close a segment that a crash left open; a torn tail is cut off. Needs no key.

    Returns what was found, nothing for a segment that never held a byte of a record.
    """
    data = path.read_bytes()
    frames = list(_frames(data))
    end = frames[-1][2] if frames else min(len(data), HEADER_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _close(path, is_empty=not frames)
    if not frames and len(data) <= HEADER_BYTES:
        return []
    return [Recovered(path.stem, len(frames), len(data) - end)]


def read_segment(path: Path, storage_key: bytes) -> Segment:
    """Decrypt a segment; bytes that are no whole frame are left out and counted, never fatal.

    Raises WrongSpoolKey when the storage key does not fit, and SpoolProblem for what is no
    segment of a spool.
    """
    data = path.read_bytes()
    head = data[:HEADER_BYTES]
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        raise SpoolProblem(f"{path} is no segment of a spool; move it out of the folder")
    unchecked = len(MAGIC) + SALT_BYTES
    cipher = _cipher(storage_key, head[len(MAGIC) : unchecked])
    try:
        cipher.decrypt(CHECK_NONCE, head[unchecked:], head[:unchecked])
    except InvalidTag:
        raise WrongSpoolKey(
            f"spool segment {path.name} was written with another storage key; point "
            "IMAGING_KEY_FILE at that key"
        ) from None
    records: list[Record] = []
    good = HEADER_BYTES
    for number, sealed, _ in _frames(data):
        try:
            plain = cipher.decrypt(_nonce(number), sealed, head[len(MAGIC) : len(MAGIC) + 4])
        except InvalidTag:
            continue  # whole, but not what was written: counted as damaged
        records.append(_record(number, plain))
        good += FRAME.size + len(sealed)
    digest = hashlib.sha256(data).hexdigest()
    return Segment(path, digest, tuple(records), len(data) - good)


def _record(number: int, plain: bytes) -> Record:
    at, feed, sender = RECORD.unpack_from(plain)
    start = RECORD.size
    text = plain[start : start + feed + sender]
    return Record(
        number,
        EPOCH + timedelta(microseconds=at),
        text[:feed].decode(),
        text[feed:].decode(),
        plain[start + feed + sender :],
    )


def _frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Whole frames in order: record number, sealed record, where the frame ends.

    Damage in the middle is stepped over: the next frame is found by the segment's marker.
    """
    marker = data[len(MAGIC) : len(MAGIC) + 4]
    position, last = HEADER_BYTES, 0
    while len(data) - position >= FRAME.size:
        found, number, length, check = FRAME.unpack_from(data, position)
        start = position + FRAME.size
        sealed = data[start : start + length]
        is_whole = found == marker and len(sealed) == length and number > last
        if is_whole and _check(number, sealed) == check:
            yield number, sealed, start + length
            position, last = start + length, number
            continue
        position = data.find(marker, position + 1)
        if position < 0:
            return


def _framed(marker: bytes, number: int, sealed: bytes) -> bytes:
    return FRAME.pack(marker, number, len(sealed), _check(number, sealed)) + sealed


def _check(number: int, sealed: bytes) -> int:
    return zlib.crc32(sealed, zlib.crc32(struct.pack(">II", number, len(sealed))))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _cipher(storage_key: bytes, salt: bytes) -> AESGCM:
    key = base64.urlsafe_b64decode(storage_key)
    return AESGCM(HKDF(SHA256(), 32, salt, b"imaging spool segment 1").derive(key))


def segments(root: Path, *states: str) -> list[Path]:
    """Segments in any of the states (OPEN, CLOSED, READ), oldest first."""
    return sorted(path for state in states for path in root.glob(f"*{state}"))


def mark_read(path: Path, now: datetime) -> Path:
    """Say that a closed segment has been harvested; its retention counts from `now` (UTC)."""
    os.utime(path, (now.timestamp(), now.timestamp()))
    done = path.with_suffix(READ)
    path.rename(done)
    _sync_folder(path.parent)
    return done


def read_at(path: Path) -> datetime:
    """When a segment was marked as read (UTC)."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def private_folder(root: Path) -> None:
    """Make a folder for its owner only; raises SpoolProblem where others may look in."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_mode & 0o077:
        raise SpoolProblem(f"{root} is open to others; run: chmod 700 {root}")


def _lock(root: Path) -> int:
    descriptor = os.open(root / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolProblem(
            f"another receiver writes to {root}; stop it, or give this one a spool of its own"
        ) from None
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk of the spool is full"
    return f"the spool cannot be written: {getattr(error, 'strerror', type(error).__name__)}"
