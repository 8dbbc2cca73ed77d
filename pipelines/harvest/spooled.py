"""What receivers have spooled, as deliveries of their feeds.

A closed segment of HL7 or audit messages is decrypted in memory and read like a delivered file, one
for each feed. A segment of DICOM headers is decrypted into a private folder on a RAM disk, read
like a delivered folder, and the folder is gone when it has been read. The name of such a delivery
holds the name of its segment and the beginning of the segment's hash, so that a receipt or a
quarantined header leads back to the segment as long as that is kept.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pipelines.harvest.dicom import quarantined_paths
from pipelines.harvest.intake import GROUP_BYTES, harvest
from pipelines.harvest.model import HarvestResult, Progress, Setup
from pipelines.harvest.opening import known_deliveries
from pipelines.landing.quarantine import Entry
from pipelines.problems import Problem
from pipelines.receivers.spool import (
    CLOSED,
    READ,
    Record,
    Segment,
    mark_read,
    read_at,
    read_segment,
    segments,
)
from pipelines.sources.hl7 import framed as framed_hl7
from pipelines.sources.image_access import framed as framed_audit
from pipelines.sources.inbox import SPOOLED, Delivery

log = logging.getLogger("imaging.harvest.spool")
DIGEST_CHARACTERS = 16
RAM_DISK = Path("/dev/shm")
FOLDER_PREFIX = "imaging-spool-"
# Files on a RAM disk take whole pages, and folders some.
ROOM_TO_SPARE = 4 << 20


class SegmentGone(Problem):
    """A quarantined header cannot be replayed: its segment is no longer there."""


class NoRamDisk(Problem):
    """There is no place in memory to decrypt a segment to; the message names the next step."""


def harvest_arrived(
    feed_kind: str,
    deliveries: Sequence[Delivery],
    setup: Setup,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> HarvestResult:
    """Land the deliveries of a feed kind, and what its receiver, if it has one, has spooled."""
    result = harvest(feed_kind, deliveries, setup, now=now, progress=progress)
    if feed_kind not in setup.spools:
        return result
    spooled = harvest_spool(feed_kind, setup, now=now, progress=progress)
    return HarvestResult.merged(feed_kind, [result, spooled])


def waiting_segments(setup: Setup, feed_kind: str | None = None) -> list[Path]:
    """Closed segments that no harvest has read, of one feed kind or of all, oldest first of each."""
    roots = [root for kind, root in setup.spools.items() if feed_kind in (None, kind)]
    return [path for root in roots for path in segments(root, CLOSED)]


def harvest_spool(
    feed_kind: str, setup: Setup, *, now: datetime, progress: Progress | None = None
) -> HarvestResult:
    """Land the closed segments of a receiver, oldest first.

    A segment is marked as read only when receipts speak of all that was in it; one whose harvest
    was killed is read again and lands nothing twice. Raises WrongSpoolKey.
    """
    if feed_kind == "dicom":
        return _harvest_headers(setup, now, progress)
    results = []
    for group in _message_groups(feed_kind, setup):
        deliveries = [delivery for _, found in group for delivery in found]
        results.append(harvest(feed_kind, deliveries, setup, now=now, progress=progress))
        # By the bytes: what was sent twice may be known under the name of another segment.
        told = set(known_deliveries(feed_kind, setup)["source_sha"])
        for path, found in group:
            if {delivery.identity() for delivery in found} <= told:
                mark_read(path, now)
    return HarvestResult.merged(feed_kind, results)


def _message_groups(feed_kind: str, setup: Setup) -> Iterator[list[tuple[Path, list[Delivery]]]]:
    """Closed segments with their deliveries, so many at a time as are read together."""
    group: list[tuple[Path, list[Delivery]]] = []
    size = 0
    for path in waiting_segments(setup, feed_kind):
        found = _message_deliveries(feed_kind, _opened(path, setup), setup)
        group.append((path, found))
        size += sum(delivery.size() for delivery in found)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _message_deliveries(feed_kind: str, segment: Segment, setup: Setup) -> list[Delivery]:
    """The messages of a segment as files in memory, one per feed, framed as they came."""
    zone = ZoneInfo(setup.network.time_zone)
    found = []
    for feed_id, records in _by_feed(segment):
        framed = framed_audit if feed_kind == "image_access" else framed_hl7
        payload = framed(record.payload for record in records)
        at = records[-1].received_at
        path = segment.path.with_name(_name_of(segment, feed_id))
        found.append(Delivery(feed_kind, path, at.astimezone(zone).date(), payload, at))
    return found


def _opened(path: Path, setup: Setup) -> Segment:
    """A segment decrypted in memory; damage is told to the log."""
    segment = read_segment(path, setup.keys.storage)
    if segment.damaged_bytes:
        log.warning(
            "spool segment %s is damaged: %d bytes could not be read, %d records could",
            path.name,
            segment.damaged_bytes,
            len(segment.records),
        )
    return segment


def _by_feed(segment: Segment) -> list[tuple[str, list[Record]]]:
    """Records of a segment in their order, feed by feed."""
    feeds = sorted({record.feed_id for record in segment.records})
    return [(feed, [r for r in segment.records if r.feed_id == feed]) for feed in feeds]


def _name_of(segment: Segment, feed_id: str) -> str:
    """Name of the delivery of one feed: of what segment, and of which bytes."""
    return f"{SPOOLED}{segment.path.stem}_{segment.digest[:DIGEST_CHARACTERS]}_{feed_id}"


def _harvest_headers(setup: Setup, now: datetime, progress: Progress | None) -> HarvestResult:
    """Land the closed segments of the DICOM receiver, one at a time."""
    results = []
    for path in waiting_segments(setup, "dicom"):
        segment = _opened(path, setup)
        with _unpacked(segment, setup) as found:
            results.append(harvest("dicom", found, setup, now=now, progress=progress))
            names = {delivery.name for delivery in found}
        # A receipt may speak of a part of a delivery; then `#` and the part follow the name.
        landed = setup.landing.receipts()["file_name"].str.split("#").list.first()
        if names <= set(landed):
            mark_read(path, now)
    return HarvestResult.merged("dicom", results)


def prune_spool(setup: Setup, *, retention: timedelta, now: datetime) -> list[Path]:
    """Delete segments read longer ago than the retention; returns their paths.

    A segment with headers in quarantine stays until its entries are closed: it is their copy.
    """
    read = [path for root in setup.spools.values() for path in segments(root, READ)]
    old = [path for path in read if read_at(path) < now - retention]
    kept = {_stem_of(Path(path)) for path in quarantined_paths(setup)} if old else set()
    gone = [path for path in old if path.stem not in kept]
    for path in gone:
        path.unlink()
    return gone


@contextmanager
def at_hand(entry: Entry, payload: bytes, setup: Setup) -> Generator[bytes]:
    """Payload of a quarantine entry; what it names of a segment is unpacked anew, then gone.

    Raises SegmentGone when the segment is no longer in the spool.
    """
    texts = json.loads(payload) if entry.feed_kind == "dicom" else []
    problem = segment_gone(entry, texts, setup)
    if problem is not None:
        raise SegmentGone(problem)
    path = _segment_of(texts, setup)
    if path is None:
        yield payload
        return
    segment = read_segment(path, setup.keys.storage)
    wanted = {(one.parent.name, int(one.stem)) for one in map(Path, texts)}
    with _unpacked(segment, setup, wanted) as unpacked:
        found = [str(one) for delivery in unpacked for one in sorted(delivery.path.iterdir())]
        yield json.dumps(found).encode()


def segment_gone(entry: Entry, texts: Sequence[str], setup: Setup) -> str | None:
    """What to do about a quarantined header whose segment has left the spool; None if none has.

    `texts` are the paths that the entry keeps.
    """
    stems = {_stem_of(Path(text)) for text in texts} - {None}
    stem = next(iter(stems), None)  # an entry is of one delivery
    if stem is None or _segment_of(texts, setup) is not None:
        return None
    return (
        f"quarantine entry {entry.entry_id} is of spool segment {stem}, which is gone; have the "
        "objects sent again, then dismiss the entry with `imaging gate --dismiss`"
    )


def is_of_a_segment(path: Path) -> bool:
    """Say whether a path was one of a segment unpacked in memory, and not of a delivered file."""
    return _stem_of(path) is not None


def _segment_of(texts: Sequence[str], setup: Setup) -> Path | None:
    """The segment that quarantined paths were unpacked from; None for delivered files."""
    stems = {_stem_of(Path(text)) for text in texts}
    kept = segments(setup.spools["dicom"], CLOSED, READ) if "dicom" in setup.spools else []
    return next((path for path in kept if path.stem in stems), None)


def _stem_of(path: Path) -> str | None:
    """Name of the segment that a file was unpacked from; None for a file that was delivered."""
    name = path.parent.name
    return name.removeprefix(SPOOLED).split("_")[0] if name.startswith(SPOOLED) else None


@contextmanager
def _unpacked(
    segment: Segment, setup: Setup, wanted: Collection[tuple[str, int]] | None = None
) -> Generator[list[Delivery]]:
    """Records of a segment as files of a private folder, one delivery per feed.

    `wanted`: only these, by delivery name and record number. Equal records give equal names,
    sizes and times, so that a delivery unpacked again is known as the same.
    """
    zone = ZoneInfo(setup.network.time_zone)
    needed = sum(len(record.payload) for record in segment.records)
    with _private_folder(needed) as folder:
        found = []
        for feed_id, records in _by_feed(segment):
            name = _name_of(segment, feed_id)
            day = records[-1].received_at.astimezone(zone).date()
            chosen = [r for r in records if wanted is None or (name, r.number) in wanted]
            if not chosen:
                continue
            place = folder / day.isoformat() / name
            place.mkdir(parents=True)
            for record in chosen:
                path = place / f"{record.number:08d}.dcm"
                path.write_bytes(record.payload)
                at = record.received_at.timestamp()
                os.utime(path, (at, at))
            found.append(Delivery("dicom", place, day))
        yield found


@contextmanager
def _private_folder(needed: int) -> Generator[Path]:
    """A folder of mode 0700 on the RAM disk that leaves nothing behind.

    Raises NoRamDisk where there is none, or where less than `needed` bytes are free.
    """
    if not os.access(RAM_DISK, os.W_OK):
        raise NoRamDisk(
            f"{RAM_DISK} cannot be written to; spool segments are decrypted in memory only, so mount "
            "a tmpfs there"
        )
    _remove_abandoned(RAM_DISK)
    found = os.statvfs(RAM_DISK)
    free = found.f_bavail * found.f_frsize
    if free < needed + ROOM_TO_SPARE:
        raise NoRamDisk(
            f"{RAM_DISK} has {free >> 20} MiB free, and a spool segment of {needed >> 20} MiB is to "
            "be decrypted there; make it larger, or lower IMAGING_SPOOL_SEGMENT_MB"
        )
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=RAM_DISK))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _remove_abandoned(base: Path) -> None:
    """Delete what a killed harvest of ours left: it holds identities in the clear."""
    for path in base.glob(f"{FOLDER_PREFIX}*"):
        process = path.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        is_gone = process.isdigit() and not Path("/proc", process).exists()
        if is_gone and path.stat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)
