"""Which source files have arrived, per feed and delivery day."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from pipelines.feeds import FEEDS
from pipelines.problems import Problem, nearest
from pipelines.sources.archives import is_archive
from pipelines.sources.clock import end_of_day

FEED_KINDS = tuple(FEEDS)
# Begins the name of a delivery that a receiver took, in its replays too.
SPOOLED = "spool-"
TEMPORARY_SUFFIXES = (".tmp", ".part", ".filepart", ".crdownload")


class InboxProblem(Problem, ValueError):
    """The inbox is not laid out as it should be; the message says what to move."""


@dataclass(frozen=True)
class Delivery:
    """One delivered file, or for DICOM one folder or archive of files, of one feed.

    `payload`: bytes that lie in no file, of a replay or of what a receiver took; for DICOM the
    paths of the chosen files, as JSON. `completed_at` (UTC): when it was complete, where that is
    known better than by its day.
    """

    feed_kind: str
    path: Path
    delivered_on: date
    payload: bytes | None = None
    completed_at: datetime | None = None

    @property
    def name(self) -> str:
        """Name under which receipts and rejects speak of this delivery."""
        return self.path.name

    @property
    def is_spooled(self) -> bool:
        """It holds what a receiver took within some time, not what a sender put into one file."""
        return self.name.startswith(SPOOLED)

    def data(self) -> bytes:
        """Bytes of the delivery; those of a payload are in memory only."""
        return self.path.read_bytes() if self.payload is None else self.payload

    def identity(self) -> str:
        """Hex SHA-256 by which the delivery is known: of its bytes, whatever its name.

        Of a list that has only its heading, also of name and day: that nothing happened at one
        place in one month is news of its own, in the same bytes as another's. So is an empty file,
        which would be the same one for every feed.
        """
        data = self.data()
        if not data.strip():
            data += f"\0{self.feed_kind}\0{self.name}\0{self.delivered_on}".encode()
        elif self._is_empty_list(data):
            data += f"\0{self.name}\0{self.delivered_on}".encode()
        return fingerprint(data)

    def _is_empty_list(self, data: bytes) -> bool:
        is_list = self.path.suffix == ".csv" and self.feed_kind in FEEDS
        # Events may come without a heading.
        is_list = is_list and FEEDS[self.feed_kind].landing_table != "imaging_events"
        return is_list and b"\n" not in data.strip()

    def size(self) -> int:
        """Bytes of the delivery."""
        return self.path.stat().st_size if self.payload is None else len(self.payload)

    def received_at(self, zone: str) -> datetime:
        """UTC instant by which the delivery was complete, else the end of its day in `zone`."""
        return self.completed_at or end_of_day(self.delivered_on, zone)


def deliveries(inbox: Path, feed_kind: str) -> list[Delivery]:
    """List the deliveries of one feed kind, oldest day first.

    The inbox holds `<feed kind>/<YYYY-MM-DD>/<file>`; for DICOM the unit is the folder or the
    archive below the day. Hidden files and files still being transferred (temporary suffix) are
    left alone. Raises InboxProblem that names a folder whose name is not a day.
    """
    found = []
    for folder in sorted(p for p in (inbox / feed_kind).glob("*") if p.is_dir()):
        try:
            day = date.fromisoformat(folder.name)
        except ValueError as error:
            raise InboxProblem(
                f"{folder}: the folder below {feed_kind} must be the delivery day, YYYY-MM-DD; "
                "rename it or move it out of the inbox"
            ) from error
        for path in sorted(folder.iterdir()):
            is_unit = path.is_file()
            if feed_kind == "dicom":
                is_unit = (is_unit and is_archive(path.name)) or _has_files(path)
            if is_unit and not is_in_transfer(path):
                found.append(Delivery(feed_kind, path, day))
    return found


def unread(inbox: Path) -> list[str]:
    """What lies where no feed looks, a line per place with what to do; no name of a file.

    Nothing here is an error of a delivery, so nothing is refused: without these lines it would
    wait for ever. Hidden files and files still being transferred are left out.
    """
    found = []
    for kind in sorted(inbox.iterdir()) if inbox.is_dir() else []:
        if kind.is_dir() and kind.name in FEEDS:
            found += _unread_of(kind)
        elif kind.is_dir() and _has_files(kind):
            asked = nearest(kind.name, FEED_KINDS)
            found.append(f"{kind}: no feed has that name{asked}; rename it or move it out")
    loose = _loose(inbox)
    if loose:
        found.append(f"{inbox}: {loose} file(s) outside the folders of the feeds; {_PLACE}")
    return found


_PLACE = "a file goes into <inbox>/<feed>/<day it arrived, YYYY-MM-DD>/"


def _unread_of(kind: Path) -> list[str]:
    found = []
    if loose := _loose(kind):
        found.append(f"{kind}: {loose} file(s) outside the folders of the days; {_PLACE}")
    for day in sorted(path for path in kind.iterdir() if path.is_dir()):
        if kind.name == "dicom":
            single = [p for p in day.iterdir() if p.is_file() and not is_archive(p.name)]
            if single := sum(not is_in_transfer(path) for path in single):
                found.append(
                    f"{day}: {single} file(s) by themselves; put them into a folder there that is "
                    "named by their party"
                )
        elif folders := sum(_has_files(path) for path in day.iterdir()):
            found.append(f"{day}: {folders} folder(s) with files; {kind.name} reads files only")
    return found


def _loose(folder: Path) -> int:
    """Files that lie in a folder itself."""
    if not folder.is_dir():
        return 0
    return sum(path.is_file() and not is_in_transfer(path) for path in folder.iterdir())


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def is_in_transfer(path: Path) -> bool:
    """Say whether a file is hidden or still being written under a temporary name."""
    return is_name_in_transfer(path.name)


def is_name_in_transfer(name: str) -> bool:
    """The same by the name alone, for folders of very many files."""
    return name.startswith(".") or name.lower().endswith(TEMPORARY_SUFFIXES)


def fingerprint(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
