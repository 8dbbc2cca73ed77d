"""Read DICOM headers in tiers; refuse what is not complete.

The first bytes of many files are parsed side by side; what that declines goes to the patient
scanner, and what that declines to pydicom, the reference. Every tier gives the same text for the
same file, and every tier is held to the same completeness. Objects come as files, as bytes in
memory under a name, or as members of an archive; all take the same way.
"""

import ctypes
import errno
import hashlib
import io
import multiprocessing
import os
import stat
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PosixPath
from types import TracebackType
from typing import Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

import polars as pl

from pipelines.sources.archives import INSIDE, Archive, ArchiveRefused, Member, split_inside
from pipelines.sources.dicom_headers.columns import as_columns
from pipelines.sources.dicom_headers.first_window import scan
from pipelines.sources.dicom_headers.reference import digest_of_prefix, read_by_pydicom
from pipelines.sources.dicom_headers.scanner import Declined, Refused, read_by_scanner
from pipelines.sources.dicom_headers.tags import TagList, snake_case
from pipelines.sources.dicom_headers.windows import read_windows
from pipelines.sources.inbox import is_name_in_transfer

# Files parsed side by side. More cost memory (8 KiB each), fewer cost time.
CHUNK = 8192
# A process is worth starting for so many chunks: its imports take as long as reading them here.
CHUNKS_PER_PROCESS = 4
# Objects in memory that are open at once: each takes a file descriptor, and its bytes.
CHUNK_IN_MEMORY, CHUNK_BYTES = 128, 64 << 20
# Of a member of an archive so much is unpacked; nearly every header lies within it.
HEAD_OF_MEMBER = 64 << 10
# ... and of the few others so much, which stays in memory.
LARGEST_MEMBER = 256 << 20
# pydicom takes two reads and keeps an object per element: more of them is no header.
MOST_READS, MOST_BYTES = 300_000, 128 << 20
FIRST_WINDOW, SCANNER, PYDICOM = "first_window", "scanner", "pydicom"
REQUIRED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
REJECTED = {"path": pl.String, "reason": pl.String, "content_sha": pl.Binary}
CHANGED = "changed while read"
NOT_UTF_8 = "bytes:"
FOLDER = "a folder that cannot be listed"
# Whether such a name is that of a folder is asked only where it cannot be read.
NAMES_OF_FILES = (".dcm", ".DCM", ".ima", ".IMA")


@dataclass(frozen=True)
class Named:
    """The bytes of one DICOM object, in memory, under a name.

    Its header alone is enough. `is_head`: these are only its first bytes, and what lies beyond
    them is to be had; a header that is not whole within them is then not judged by them.
    """

    name: str
    data: bytes
    is_head: bool = False


Source = Path | Named
# A text is the path of what may be a folder: nobody has asked yet.
Unasked = Source | str
Row = dict[str, str | None]


@dataclass(frozen=True)
class HeaderBatch:
    """What a set of DICOM files held.

    `accepted`: one row per SOP instance: `path`, `reader` (first_window, scanner or pydicom),
    `content_sha` (16 bytes over the header bytes) and one text column per harvested attribute,
    named as the snake_case keyword; padding stripped, backslash between values, null = absent,
    "" = present and empty. Identities are raw, in memory only. `rejected`: one row per file:
    `path`, `reason`, `content_sha`. Both in the order of the files. `path` is `text_of_path`, or
    the name that bytes came with.
    """

    accepted: pl.DataFrame
    rejected: pl.DataFrame

    @classmethod
    def of(cls, batches: Iterable["HeaderBatch"]) -> "HeaderBatch":
        """Several batches as one."""
        accepted, rejected = [no_headers()], [pl.DataFrame(schema=REJECTED)]
        for batch in batches:
            accepted.append(batch.accepted)
            rejected.append(batch.rejected)
        return cls(pl.concat(accepted), pl.concat(rejected))


def text_of_path(path: Path | str) -> str:
    """A path as text that every file format can hold; `path_of_text` gives the path back.

    A name on disk is bytes: where these are no UTF-8 they are kept as percent codes.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        return NOT_UTF_8 + quote_from_bytes(os.fsencode(name))
    return name


def path_of_text(text: str) -> Path:
    """The path that `text_of_path` made a text of."""
    if text.startswith(NOT_UTF_8):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(NOT_UTF_8))))
    return Path(text)


def source_of(path: str) -> Source:
    """What the path of a header stands for: a file, or the bytes of a member of an archive.

    The archive is opened and listed for it: not the way to read many of its members. Raises
    ArchiveRefused, and OSError where the archive cannot be read.
    """
    inside = split_inside(path)
    if inside is None:
        return path_of_text(path)
    with Archive(path_of_text(inside[0])) as archive:
        for member in archive.members:
            if name_inside(inside[0], member) == path:
                return Named(path, archive.head(member, min(member.size, LARGEST_MEMBER)))
    raise ArchiveRefused("the member is gone")


class HeaderReaders:
    """Processes that read chunks of files, started when there is work for so many."""

    def __init__(self, workers: int) -> None:
        """Take at most so many processes; with one, this process reads."""
        self.workers = workers
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def read(self, sources: Iterable[Source], expected: int = 0) -> Iterator[HeaderBatch]:
        """Headers of the sources, chunk by chunk, in their order.

        `expected`: how many files are to be read with this and further calls.
        """
        return self.apply(read_chunk, list(_chunks(sources)), expected)

    def apply(
        self,
        read: Callable[[Sequence[Unasked]], HeaderBatch],
        chunks: Sequence[Sequence[Unasked]],
        expected: int = 0,
    ) -> Iterator[HeaderBatch]:
        """What `read` makes of each chunk, in their order; `expected` as above."""
        processes = max(len(chunks), expected // CHUNK) // CHUNKS_PER_PROCESS
        if self.pool is None and min(processes, self.workers) > 1:
            # spawn: a forked process can hang on locks held by polars' threads.
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(
                min(processes, self.workers), mp_context=context, initializer=_end_with_parent
            )
        if self.pool is None or len(chunks) == 1:
            return map(read, chunks)
        return self.pool.map(read, chunks)


def _end_with_parent() -> None:
    """A worker waits for work for ever when its parent is killed; let Linux end it too."""
    set_death_signal, kill = 1, 9
    ctypes.CDLL(None).prctl(set_death_signal, kill)


def read_headers(
    sources: Iterable[Source | str],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> HeaderBatch:
    """Read the headers of files, of all files below folders, or of bytes in memory.

    Never raises on content. Archives are not opened here: see `read_members`.
    """

    def told(batches: Iterable[HeaderBatch]) -> Iterator[HeaderBatch]:
        for batch in batches:
            yield batch
            if progress is not None:
                progress(len(batch.accepted) + len(batch.rejected))

    with HeaderReaders(workers) as readers:
        chunks = list(_chunks(_files(sources)))
        return HeaderBatch.of(told(readers.apply(_read_unasked, chunks)))


def no_headers() -> pl.DataFrame:
    """No header yet, in the shape of the accepted ones."""
    names = ["path", "reader", *TagList.load().columns()]
    schema = {name: pl.String for name in names}
    return pl.DataFrame(schema=schema | {"content_sha": pl.Binary}).select(_order())


def _order() -> list[str]:
    return ["path", "reader", "content_sha", *TagList.load().columns()]


def _files(sources: Iterable[Source | str]) -> Iterator[Unasked]:
    """The sources, and instead of folders all files below them."""
    for source in sources:
        if isinstance(source, Named):
            yield source
            continue
        # To make a Path of a Path takes as long as to open the file.
        path = source if isinstance(source, Path) else Path(source)
        name = str(path)
        # A slash behind the name of a file is lost in the Path.
        if name.endswith(NAMES_OF_FILES) and (path is source or name == source):
            yield name
        elif _is_folder(source):
            yield from map(Path, files_below(path))
        else:
            yield path


def _read_unasked(sources: Sequence[Unasked]) -> HeaderBatch:
    """Read some sources; those that turn out to be folders as all files below them."""
    batch = read_chunk(sources)
    if FOLDER not in batch.rejected["reason"]:
        return batch
    return HeaderBatch.of(map(read_chunk, _chunks(_asked(sources))))


def _asked(sources: Sequence[Unasked]) -> Iterator[Source]:
    for source in sources:
        if not isinstance(source, str):
            yield source
        elif _is_folder(source):
            yield from map(Path, files_below(Path(source)))
        else:
            yield Path(source)


def _is_folder(path: Path | str) -> bool:
    """Whether a folder is there, or a link to one; in half the time of a stat."""
    return path != "" and os.access(os.fspath(path) + "/", os.F_OK)


def files_below(folder: Path) -> Iterator[str]:
    """All that lies below a folder and is no folder, in order of name, level by level.

    What is still in transfer is left out; a link to a folder is not followed. A folder that
    cannot be listed is given itself, so that it is rejected rather than passed over.
    """
    waiting = [iter([(str(folder), True)])]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        name, is_folder = found
        if not is_folder:
            yield name
            continue
        try:
            with os.scandir(name) as entries:
                found = [(e.name, e.path, e.is_dir(follow_symlinks=False)) for e in entries]
        except OSError:
            yield name
            continue
        listed = [
            (path, is_folder)
            for name, path, is_folder in sorted(found)
            if is_folder or not is_name_in_transfer(name)
        ]
        waiting.append(iter(listed))


def _chunks(sources: Iterable[Unasked]) -> Iterator[list[Unasked]]:
    chunk: list[Unasked] = []
    held = size = 0
    for source in sources:
        if isinstance(source, Named):
            held, size = held + 1, size + len(source.data)
        chunk.append(source)
        if len(chunk) == CHUNK or held == CHUNK_IN_MEMORY or size >= CHUNK_BYTES:
            yield chunk
            chunk, held, size = [], 0, 0
    if chunk:
        yield chunk


@contextmanager
def as_files(sources: Iterable[Unasked]) -> Generator[list[Path | str]]:
    """Paths under which the sources can be opened as long as the context lasts.

    Bytes become files that exist in memory only and have no name on any disk.
    """
    with ExitStack() as stack:
        paths: list[Path | str] = []
        for source in sources:
            if not isinstance(source, Named):
                paths.append(source)
                continue
            descriptor = os.memfd_create("header", os.MFD_CLOEXEC)
            stack.callback(os.close, descriptor)
            left = memoryview(source.data)
            while left:
                left = left[os.write(descriptor, left) :]
            paths.append(Path(f"/proc/self/fd/{descriptor}"))
        yield paths


def read_chunk(sources: Sequence[Unasked]) -> HeaderBatch:
    """Read some files or bytes in this process; what is a folder is a reject."""
    tags = TagList.load()
    with as_files(sources) as files, warnings.catch_warnings():
        # pydicom's decoders remark on every odd value; what matters becomes a reason.
        warnings.simplefilter("ignore")
        windows = read_windows(files)
        quick = as_columns(windows, scan(windows, tags)).with_columns(
            reader=pl.lit(FIRST_WINDOW), reason=pl.lit(None, pl.String), is_empty=pl.lit(False)
        )
        done = set(quick["number"].to_list())
        others = [
            _read_one(Path(path), tags)
            | {"number": number, "is_empty": bool(windows.got[number] == 0)}
            for number, path in enumerate(files)
            if number not in done
        ]
    names = [s.name if isinstance(s, Named) else text_of_path(s) for s in sources]
    windows.release()
    read = quick
    if others:
        read = pl.concat([quick, pl.DataFrame(others, schema=quick.schema)]).sort("number")
    read = read.with_columns(
        path=pl.Series([names[number] for number in read["number"]], dtype=pl.String),
        reason=pl.coalesce("reason", refusal()),
    )
    return HeaderBatch(
        read.filter(pl.col("reason").is_null()).select(_order()),
        read.filter(pl.col("reason").is_not_null()).select(*REJECTED),
    )


def read_members(
    archive: Archive,
    name: str,
    members: Sequence[Member],
    look: Callable[[HeaderBatch, dict[str, Named]], None] = lambda *_: None,
) -> Iterator[HeaderBatch]:
    """Headers of members of an open archive, batch by batch; their path is `name!/member`.

    Only the beginning of a member is unpacked. Where that does not hold the whole header, the
    member is unpacked whole, in memory; a header that is not whole is never judged by a part.
    `look` is shown each batch with the bytes it was read from, while they are there.
    """
    for start in range(0, len(members), CHUNK_IN_MEMORY):
        by_name = {name_inside(name, m): m for m in members[start : start + CHUNK_IN_MEMORY]}
        heads, refused = _unpacked(archive, by_name, HEAD_OF_MEMBER)
        read = read_chunk(list(heads.values()))
        again = _not_within(read, heads)
        is_sure = ~pl.col("path").is_in(again)
        batch = HeaderBatch(read.accepted.filter(is_sure), read.rejected.filter(is_sure))
        look(batch, heads)
        yield HeaderBatch.of([batch, rejected_as(refused)])
        heads.clear()
        for paths in _groups_of_size({path: by_name[path].size for path in again}):
            if by_name[paths[0]].size > LARGEST_MEMBER:
                reason = f"over {LARGEST_MEMBER >> 20} MiB, and no header in its first 64 KiB"
                yield rejected_as([(path, reason) for path in paths])
                continue
            wholes, refused = _unpacked(archive, {p: by_name[p] for p in paths}, LARGEST_MEMBER)
            batch = read_chunk(list(wholes.values()))
            look(batch, wholes)
            yield HeaderBatch.of([batch, rejected_as(refused)])


def _unpacked(
    archive: Archive, members: dict[str, Member], count: int
) -> tuple[dict[str, Named], list[tuple[str, str]]]:
    """The first bytes of members by their path; and the paths and reasons of those without."""
    named: dict[str, Named] = {}
    refused: list[tuple[str, str]] = []
    for path, member in members.items():
        try:
            data = archive.head(member, count)
        except ArchiveRefused as error:
            refused.append((path, str(error)))
        else:
            named[path] = Named(path, data, is_head=len(data) < member.size)
    return named, refused


def _groups_of_size(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Names in groups of bounded size; one that is larger than that is a group by itself."""
    group: list[str] = []
    for name, size in sizes.items():
        if group and sum(sizes[one] for one in group) + size > CHUNK_BYTES:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def name_inside(archive: str, member: Member) -> str:
    """The path of a member: that of its archive, and its own name within it, as text."""
    return f"{archive}{INSIDE}{member.name.encode(errors='backslashreplace').decode()}"


def rejected_as(reasons: Iterable[tuple[str, str]]) -> HeaderBatch:
    """Rejects of what could not be opened, by path and reason; known again by their path."""
    rows = [(path, reason, _digest(path.encode())) for path, reason in reasons]
    return HeaderBatch(no_headers(), pl.DataFrame(rows, schema=REJECTED, orient="row"))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _not_within(batch: HeaderBatch, named: dict[str, Named]) -> list[str]:
    """Paths whose header may go on beyond the bytes that were read.

    A reader of ours stops at an element after the header. Where its digest is that of all bytes
    it has stopped for want of more. pydicom does not say why it stopped.
    """
    heads = {path: one for path, one in named.items() if one.is_head}
    found = [path for path in batch.rejected["path"] if path in heads]
    columns = batch.accepted.select("path", "reader", "content_sha")
    for path, reader, digest in columns.iter_rows():
        if path in heads and (reader == PYDICOM or digest == _digest(heads[path].data)):
            found.append(path)
    return found


def _read_one(path: Path, tags: TagList) -> dict[str, object]:
    """Header of one file by the scanner, else by pydicom; `reason` where neither can.

    A file that changes under the reader is read once more, then left for the next harvest.
    """
    for _ in range(2):
        found = _attempted(path, tags)
        if found["reason"] != CHANGED:
            break
    return found


def _attempted(path: Path, tags: TagList) -> dict[str, object]:
    try:
        before = path.stat()
    except OSError:
        found, reason, digest = read_by_pydicom(path, tags)
        return {**(found or {}), "reader": PYDICOM, "reason": reason, "content_sha": digest}
    try:
        # A pipe under the name of an image would hold up pydicom for ever.
        if stat.S_ISDIR(before.st_mode):
            raise Refused(FOLDER)
        if not stat.S_ISREG(before.st_mode):
            raise Refused("not a regular file")
        row, digest = read_by_scanner(path, tags)
        return {**row, "reader": SCANNER, "reason": None, "content_sha": digest}
    except Refused as error:
        reason = CHANGED if "changed while" in str(error) else str(error)
        return {"reader": SCANNER, "reason": reason, "content_sha": _digest_of(path)}
    except (Declined, OSError):
        found, reason, digest = bounded_pydicom(path, tags)
    if found is not None and _is_changed(path, before):
        found, reason = None, CHANGED
    return {**(found or {}), "reader": PYDICOM, "reason": reason, "content_sha": digest}


def _is_changed(path: Path, before: os.stat_result) -> bool:
    try:
        after = path.stat()
    except OSError:
        return True
    return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def _digest_of(path: Path) -> bytes:
    try:
        return digest_of_prefix(path)
    except OSError:
        return _digest(os.fsencode(path))


class HeaderTooLong(OSError):
    """Reading went on far beyond what a header can hold."""


class _Bounded(io.BufferedReader):
    """A file that pydicom may read a header from, and no more: it has no limits itself."""

    def __init__(self, path: Path, inflates: int) -> None:
        super().__init__(io.FileIO(path))
        self.inflates = inflates
        self.size = os.fstat(self.fileno()).st_size
        self.reads = self.kept = 0
        self.is_refused = False

    def read(self, size: int | None = -1) -> bytes:
        whole = self.size
        if (size is None or size < 0) and whole > self.inflates:
            # A deflated data set is inflated whole, a thousand times its size.
            self.reads += MOST_READS
        self.reads += 1
        self.kept += whole if size is None or size < 0 else min(size, whole)
        # Refused once, the file is read for its digest only.
        if not self.is_refused and (self.reads > MOST_READS or self.kept > MOST_BYTES):
            self.is_refused = True
            raise HeaderTooLong(errno.EFBIG, "header too long")
        return super().read(size)


class _BoundedPath(PosixPath):
    inflates = 0

    def open(self, *_: object, **__: object) -> _Bounded:  # ty: ignore[incompatible-method-override]
        return _Bounded(Path(self), self.inflates)


def bounded_pydicom(
    path: Path, tags: TagList, *, inflates: int = 0
) -> tuple[Row | None, str | None, bytes]:
    """Header by pydicom within bounds: so many elements and bytes as a header can have.

    A deflated data set is inflated where the file has at most `inflates` bytes.
    """
    bounded = _BoundedPath(path)
    bounded.inflates = inflates
    return read_by_pydicom(bounded, tags)


def refusal() -> pl.Expr:
    """Why a header is not complete, or null; equality with pydicom is not completeness."""
    lacks = {keyword: pl.col(snake_case(keyword)).fill_null("") == "" for keyword in REQUIRED}
    stated, own = pl.col("media_storage_sop_instance_uid"), pl.col("sop_instance_uid")
    names = pl.concat_str(
        [pl.when(is_missing).then(pl.lit(keyword)) for keyword, is_missing in lacks.items()],
        separator=", ",
        ignore_nulls=True,
    )
    return (
        pl.when("is_empty")
        .then(pl.lit("empty file"))
        .when(pl.all_horizontal(lacks.values()))
        .then(pl.lit("not a DICOM header"))
        .when(pl.any_horizontal(lacks.values()))
        .then(pl.format("header incomplete: {} missing", names))
        .when((stated != "") & (stated != own))
        .then(pl.lit("file meta and header name different SOP instances"))
    )
