"""Ask an archive for what is due, deliver the answer into the inbox, then move the cursor."""

import fcntl
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.durable import remove_abandoned, write_bytes
from pipelines.sources.dicom_archives import changes, qido
from pipelines.sources.dicom_archives.archives import AnyEnvironment, Archive, ArchiveProblem
from pipelines.sources.dicom_archives.cfind import Finder, ask_cfind
from pipelines.sources.dicom_archives.cursor import Cursor, load_cursor, save_cursor
from pipelines.sources.dicom_archives.pace import OutsideHours, Pace
from pipelines.sources.dicom_archives.rows import Told, series_rows
from pipelines.sources.dicom_archives.web import Web
from pipelines.sources.dicom_archives.windows import Window, next_span, windows

FEED = "dicom_series"
SERIES_PER_DELIVERY = 5_000
COLUMN_CHANGE_STANDS = timedelta(days=7)
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Places:
    """Where a query run delivers to and keeps its cursors, and what it knows of the network.

    `columns` are those of the contract dicom_series in order; `zone` the network's wall clock;
    `feeds` the ids of its feeds; `environment` looks a variable up.
    """

    home: Path
    inbox: Path
    zone: str
    columns: tuple[str, ...]
    feeds: frozenset[str]
    environment: AnyEnvironment

    def state(self, archive: Archive) -> Path:
        """Folder of one archive's cursor."""
        return self.home / "archives" / archive.name


@dataclass
class Answered:
    """What a run came to: series told, deliveries written, what is noteworthy.

    `asked` and `cursor` say in words what was asked for and how far the archive has been asked;
    `seconds` is the wall time from the first to the last request.
    """

    archive: str
    asked: str = ""
    cursor: str = ""
    studies: int = 0
    series: int = 0
    seconds: float = 0.0
    deliveries: list[Path] = field(default_factory=list)
    requests: int = 0
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_due(archive: Archive, places: Places, now: datetime) -> bool:
    """Say whether a scheduled run should ask: in its hours, and every_hours since the last run."""
    if not archive.may_ask_at(now.astimezone(ZoneInfo(places.zone))):
        return False
    finished = load_cursor(places.state(archive), archive.route).finished_at
    # A tenth of an hour early is in time: a schedule is never exact.
    due = timedelta(hours=archive.every_hours - 0.1)
    return finished is None or now - datetime.fromisoformat(finished) >= due


def ask_due(
    archives: Mapping[str, Archive],
    places: Places,
    *,
    clock: Callable[[], datetime],
    progress: Progress | None = None,
) -> tuple[list[Answered], list[ArchiveProblem]]:
    """Ask every archive that is due; the problem of one does not keep the others from an answer."""
    answered, problems = [], []
    for archive in archives.values():
        try:
            if is_due(archive, places, clock()):
                answered.append(ask_archive(archive, places, clock=clock, progress=progress))
        except ArchiveProblem as problem:
            problems.append(problem)
    return answered, problems


def recent_column_changes(
    archives: Mapping[str, Archive], places: Places, now: datetime
) -> list[str]:
    """One line per change of the returned columns within COLUMN_CHANGE_STANDS of `now` (UTC)."""
    return [
        f"{name}, {change['at']}: returned now {change['gained']}, no longer {change['lost']}"
        for name, archive in archives.items()
        for change in load_cursor(places.state(archive), archive.route).column_changes
        if now - datetime.fromisoformat(change["at"]) < COLUMN_CHANGE_STANDS
    ]


def ask_archive(
    archive: Archive,
    places: Places,
    *,
    clock: Callable[[], datetime],
    span: Window | None = None,
    pace: Pace | None = None,
    progress: Progress | None = None,
) -> Answered:
    """Ask one archive for what is due, or for the study dates of `span`.

    `clock` tells the instant (UTC). A given span leaves the cursor alone. Each window becomes one
    delivery, whole or not at all. Raises ArchiveProblem when the archive cannot be asked; what
    was delivered before stays, and the next run goes on after it.
    """
    if f"dicom_{archive.party}" not in places.feeds:
        raise ArchiveProblem(
            f"archive {archive.name}: seeds/network/feeds.csv has no feed dicom_{archive.party}; "
            "correct party, or add the feed"
        )
    pace = pace or Pace(archive, places.zone, clock)
    answered = Answered(archive.name)
    secret = archive.credentials(places.environment, places.home)
    began = pace.monotonic()
    with _alone(archive, places.state(archive)):
        remove_abandoned(places.inbox / FEED)
        run = _Run(archive, places, pace, secret, clock, answered, progress or (lambda *_: None))
        try:
            if span is not None:
                answered.asked = f"{_told(span)} (--from, --to)"
                run.dates(windows(span, archive.window_days), keeps_cursor=False)
            elif archive.route == "changes":
                run.changes()
            else:
                run.due_dates()
        except OutsideHours:
            answered.notes.append(
                f"its quiet hours are {', '.join(archive.quiet_hours)}; the rest waits for them"
            )
        run.note_columns()
        answered.requests, answered.seconds = pace.requests, pace.monotonic() - began
        answered.cursor = run.reached(is_kept=span is None)
    return answered


@dataclass
class _Run:
    """One run over one archive, under its lock."""

    archive: Archive
    places: Places
    pace: Pace
    secret: str | None
    clock: Callable[[], datetime]
    answered: Answered
    tell: Progress
    filled: Counter[str] = field(default_factory=Counter)

    def due_dates(self) -> None:
        """Ask for every study date that is due, and note the end of the run."""
        cursor = self._cursor()
        today = self._today()
        span = next_span(
            cursor.asked_to_date,
            cursor.next_on_date,
            start_on=self.archive.start_on or today,
            overlap_days=self.archive.overlap_days,
            today=today,
        )
        since = "from start_on, there is no cursor yet"
        if cursor.next_on is not None:
            since = "on from where the last run ended"
        elif cursor.asked_to is not None:
            days = self.archive.overlap_days
            since = f"since the cursor at {cursor.asked_to}, less overlap_days ({days})"
        self.answered.asked = f"{_told(span)}: {since}"
        if self.dates(windows(span, self.archive.window_days), keeps_cursor=True):
            self._finished()

    def dates(self, due: list[Window], *, keeps_cursor: bool) -> bool:
        """Ask window by window; False when the longest run ended it before the last one."""
        ends = self._ends_at()
        days = self.archive.window_days
        number, length = "s" * (len(due) != 1), "s" * (days != 1)
        self.answered.asked += f", {len(due)} window{number} of {days} day{length}"
        with self._asker() as ask:
            for number, window in enumerate(due, start=1):
                if self._is_over(ends):
                    return False
                cursor = self._cursor()
                told = ask(window, cursor)
                self._deliver(told, f"{window.first:%Y%m%d}_{window.last:%Y%m%d}")
                cursor = self._noted(cursor, told)
                save_cursor(self._state, cursor.asked(window.last) if keeps_cursor else cursor)
                self.tell(f"ask {self.archive.name}", number, len(due))
        return True

    def changes(self) -> None:
        """Read the changes since the last one, page by page, and note the end of the run.

        Most changes are single images: pages are gathered until a delivery is worth while, or
        until no more may be asked.
        """
        ends = self._ends_at()
        self.answered.asked = f"changes after number {self._cursor().last_change}"
        with self._web(changes.ACCEPT) as web:
            may_ask, is_done = True, False
            while may_ask:
                cursor = self._cursor()
                last, series, is_done = cursor.last_change, [], False
                try:
                    while not is_done and len(series) < SERIES_PER_DELIVERY and self.clock() < ends:
                        batch = changes.ask_changes(web, last)
                        last, is_done = batch.last, batch.is_done
                        series += batch.told.series
                        self.tell(f"ask {self.archive.name}", last, 0)
                finally:
                    self._keep_changes(cursor, Told(series), last)
                may_ask = not is_done and not self._is_over(ends)
        if is_done:
            self._finished()

    def _keep_changes(self, cursor: Cursor, told: Told, last: int) -> None:
        """Deliver what was gathered, then move the cursor; whole pages only."""
        if last == cursor.last_change:
            return
        self._deliver(told, f"{cursor.last_change}_{last}")
        save_cursor(self._state, replace(self._noted(cursor, told), last_change=last))

    @contextmanager
    def _asker(self) -> Generator[Callable[[Window, Cursor], Told]]:
        """What asks the archive for a window, by its route."""
        if self.archive.route == "cfind":
            with Finder(self.archive, self.pace) as finder:
                yield lambda w, c: ask_cfind(finder, w, is_relational=c.is_relational)
        elif self.archive.route == "qido":
            with self._web(qido.ACCEPT) as web:
                yield lambda w, c: qido.ask_qido(
                    web, w, refused_keys=c.refused_keys, is_relational=c.is_relational
                )
        else:
            with self._web(changes.ACCEPT) as web:
                yield lambda w, _: changes.ask_by_date(web, w)

    def _web(self, accept: str) -> Web:
        return Web(self.archive, self.secret, self.pace, accept)

    def _deliver(self, told: Told, part: str) -> None:
        rows = series_rows(told.series, self.archive.route, self.places.zone)
        self.answered.series += len(rows)
        self.answered.studies += rows["study_instance_uid"].n_unique()
        if rows.is_empty():
            return
        day = self._today()
        self.answered.deliveries.append(deliver(rows, self.archive, self.places, day, part))

    def _noted(self, cursor: Cursor, told: Told) -> Cursor:
        """The cursor with what this answer says of how the archive can be asked."""
        self.filled += told.filled()
        return replace(
            cursor,
            refused_keys=sorted({*cursor.refused_keys, *told.refused_keys}),
            is_relational=(
                cursor.is_relational if told.is_relational is None else told.is_relational
            ),
        )

    def note_columns(self) -> None:
        """Keep which columns the run brought; a change is reported."""
        before = self._cursor()
        cursor = before.with_columns(self.filled, self.answered.series, self.clock().isoformat())
        for change in cursor.column_changes[len(before.column_changes) :]:
            self.answered.gained, self.answered.lost = change["gained"], change["lost"]
            self.answered.notes.append(
                f"columns changed: returned now {change['gained'] or 'none'}, no longer "
                f"{change['lost'] or 'none'}; tell whoever relies on them, see docs/archives.md"
            )
        if cursor != before:
            save_cursor(self._state, cursor)

    def reached(self, *, is_kept: bool) -> str:
        """How far the archive has been asked, in words; `is_kept`: this run may have moved that."""
        cursor = self._cursor()
        if self.archive.route == "changes":
            far = f"changes up to number {cursor.last_change} are read"
        elif cursor.asked_to is None:
            far = "nothing is asked for yet"
        else:
            far = f"study dates up to {cursor.asked_to} are asked for"
        return far if is_kept else f"left as it was: {far}"

    def _finished(self) -> None:
        save_cursor(self._state, self._cursor().finished(self.clock().isoformat()))

    def _is_over(self, ends: datetime) -> bool:
        if self.clock() < ends:
            return False
        self.answered.notes.append(
            "longest_run_minutes are over before all was asked; the next run goes on"
        )
        return True

    def _ends_at(self) -> datetime:
        return self.clock() + timedelta(minutes=self.archive.longest_run_minutes)

    def _today(self) -> date:
        return self.clock().astimezone(ZoneInfo(self.places.zone)).date()

    def _cursor(self) -> Cursor:
        return load_cursor(self._state, self.archive.route)

    @property
    def _state(self) -> Path:
        return self.places.state(self.archive)


def _told(span: Window) -> str:
    return f"study dates {span.first} to {span.last}"


def deliver(rows: pl.DataFrame, archive: Archive, places: Places, day: date, part: str) -> Path:
    """Write rows as one delivery of the feed, whole or not at all; returns its path.

    The name holds a fingerprint: the same answer is the same file, another answer another file.
    """
    data = rows.select(places.columns).write_csv().encode()
    digest = hashlib.sha256(data).hexdigest()[:12]
    places.inbox.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    name = f"series_{archive.party}_{archive.name}_{part}_{digest}.csv"
    path = places.inbox / FEED / day.isoformat() / name
    write_bytes(data, path, PRIVATE_FILE)
    return path


@contextmanager
def _alone(archive: Archive, folder: Path) -> Generator[None]:
    """Hold the lock of one archive; the system frees it when the process dies."""
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveProblem(
                f"archive {archive.name} is being asked already (lock {path}); wait for it"
            ) from None
        yield
