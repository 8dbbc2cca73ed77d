"""Members of zip and tar archives, read in memory and within limits; nothing is unpacked to disk.

An archive that is cut off, damaged or swells beyond its limits is refused whole; a member that no
harvest may have (a link, an encrypted one, one whose name leads out of the archive, an archive
within the archive) carries its reason, and the others are none the worse for it.
"""

import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# What else is packed: never opened here, so it may not hide in an archive either.
PACKED = (*SUFFIXES, ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")
# What separates archive and member in the name of a member.
INSIDE = "!/"
PIECE = 1 << 20
BLOCK = 512
Readable = IO[bytes] | gzip.GzipFile | zipfile.ZipExtFile
DAMAGED = "the archive is cut off or damaged"


class ArchiveRefused(ValueError):
    """The archive or the member may not be used; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    """How far an archive may go before it is taken for an attack.

    `ratio`: bytes of the members to bytes of the archive, looked at from `ratio_from` bytes of
    members on: a small archive of blank images is no bomb. `directory` bytes of a zip's list.
    """

    members: int = 500_000
    total: int = 512 << 30
    ratio: int = 200
    ratio_from: int = 1 << 30
    directory: int = 64 << 20


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: where it lies, and why it may not be read, if so."""

    name: str
    size: int
    place: int
    reason: str | None


def is_archive(name: str) -> bool:
    """Say by its name whether a file is an archive that a harvest opens."""
    return name.lower().endswith(SUFFIXES)


class Archive:
    """An open archive; `members` in the order of the archive, folders and hidden files left out.

    Raises ArchiveRefused where the whole of it may not be used, OSError where it cannot be read.
    """

    def __init__(self, path: Path, limits: Limits = LIMITS, data: bytes | None = None) -> None:
        """Open an archive and list it; of a compressed tar every byte is unpacked once for that.

        `data` are the bytes of a zip or tar that is read already; `path` is then its name only.
        """
        self.size = path.stat().st_size if data is None else len(data)
        self.limits = limits
        self.zip: zipfile.ZipFile | None = None
        name = path.name.lower()
        is_plain = name.endswith((".zip", ".tar"))
        if data is not None:
            self.file = io.BytesIO(data)
        else:
            self.file = path.open("rb") if is_plain else gzip.GzipFile(path, "rb")
        try:
            self.members = self._zip_members() if name.endswith(".zip") else self._tar_members()
        except BaseException:
            self.close()
            raise
        self._refuse_second_names()

    def __enter__(self) -> "Archive":
        """Use as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self.zip is not None:
            self.zip.close()
        self.file.close()

    def head(self, member: Member, count: int) -> bytes:
        """The first bytes of a member, at most `count`; raises ArchiveRefused with the reason."""
        if member.reason is not None:
            raise ArchiveRefused(member.reason)
        try:
            data = self._bytes(member, min(count, member.size))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise ArchiveRefused("the member cannot be unpacked") from error
        except (ValueError, struct.error) as error:  # it lies before the beginning of the archive
            raise ArchiveRefused("the member cannot be unpacked") from error
        except (NotImplementedError, RuntimeError) as error:
            raise ArchiveRefused("packed in a way that is not read here") from error
        is_dicom = data[128:132] == b"DICM"
        if not is_dicom and (data.startswith(MAGIC) or data[257:262] == b"ustar"):
            raise ArchiveRefused("an archive within an archive")
        if len(data) < min(count, member.size):
            raise ArchiveRefused("the member cannot be unpacked")
        return data

    def _bytes(self, member: Member, count: int) -> bytes:
        if self.zip is not None:
            with self.zip.open(self.zip.infolist()[member.place]) as unpacked:
                return _read(unpacked, count)
        self.file.seek(member.place)
        return _read(self.file, count)

    def _weigh(self, count: int, total: int) -> None:
        if count > self.limits.members:
            raise ArchiveRefused(f"the archive holds more than {self.limits.members} members")
        if total > self.limits.total:
            raise ArchiveRefused(f"the archive would unpack to over {self.limits.total >> 30} GiB")
        if total > self.limits.ratio_from and total > self.limits.ratio * self.size:
            raise ArchiveRefused(
                f"the archive would unpack to over {self.limits.ratio} times its size"
            )

    def _zip_members(self) -> list[Member]:
        if _directory_bytes(self.file, self.size) > self.limits.directory:
            raise ArchiveRefused("the list of the archive's members is larger than any")
        try:
            self.zip = zipfile.ZipFile(self.file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error):
            raise ArchiveRefused(DAMAGED) from None
        found, total = [], 0
        infos = self.zip.infolist()
        for place, info in enumerate(infos):
            total += info.file_size
            mode = info.external_attr >> 16
            is_other = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
            if info.is_dir() and not is_other:
                continue
            reason = _reason(info.orig_filename)
            if info.flag_bits & 0x1:
                reason = "the member is encrypted"
            if is_other:
                reason = "not a regular file"
            if reason is not None or not _is_hidden(info.filename):
                found.append(Member(info.filename, info.file_size, place, reason))
        self._weigh(len(infos), total)
        return found

    def _tar_members(self) -> list[Member]:
        guarded = _Guarded(self.file)
        found, total, count, last = [], 0, 0, -1
        try:
            with tarfile.open(fileobj=guarded, mode="r:") as tar:  # ty: ignore[no-matching-overload]
                while (info := tar.next()) is not None:
                    # tarfile keeps every member it has met.
                    tar.members = []
                    count += 1
                    total += max(info.size, 0)
                    if info.size < 0 or tar.offset <= last:
                        raise ArchiveRefused(DAMAGED)
                    last = tar.offset
                    self._weigh(count, total)
                    if info.isdir():
                        continue
                    reason = _reason(info.name)
                    if not info.isreg() or info.issparse():
                        reason = "not a regular file"
                    if reason is None and _is_hidden(info.name):
                        continue
                    found.append(Member(info.name, info.size, info.offset_data, reason))
                end = tar.offset
            # tarfile takes any block that is no header for the end.
            self.file.seek(end)
            if self.file.read(BLOCK) != bytes(BLOCK):
                raise ArchiveRefused(DAMAGED)
            self._read_out(total)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError):
            raise ArchiveRefused(DAMAGED) from None
        except (OverflowError, ValueError) as error:
            raise error if isinstance(error, ArchiveRefused) else ArchiveRefused(DAMAGED) from None
        return found

    def _read_out(self, total: int) -> None:
        """Read on to the end, where a compressed stream says whether it is whole."""
        while isinstance(self.file, gzip.GzipFile) and (piece := self.file.read(PIECE)):
            total += len(piece)
            self._weigh(0, total)

    def _refuse_second_names(self) -> None:
        """Two members of one name cannot be told apart when one is rejected; give it another."""
        met: set[bytes] = set()
        for place, member in enumerate(self.members):
            name, number = member.name, 1
            while (text := name.encode(errors="backslashreplace")) in met:
                number += 1
                name = f"{member.name} ({number})"
            met.add(text)
            if number > 1:
                reason = member.reason or "a second member of this name"
                self.members[place] = Member(name, member.size, member.place, reason)


class _Guarded:
    """A file as tarfile reads it: headers only, so a read of megabytes is an attack."""

    def __init__(self, file: Readable) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= PIECE:
            raise ArchiveRefused("a header of the archive is larger than any")
        return self.file.read(size)


def _read(file: Readable, count: int) -> bytes:
    pieces, left = [], count
    while left > 0 and (piece := file.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _reason(name: str) -> str | None:
    """Why a member of this name is not read, or None."""
    parts = re.split(r"[/\\]", name)
    if "\0" in name or name.startswith(("/", "\\")) or ".." in parts or re.match("[A-Za-z]:", name):
        return "the name of the member leads out of the archive"
    if name.lower().endswith(PACKED):
        return "an archive within an archive"
    return None


def _is_hidden(name: str) -> bool:
    base = name.rstrip("/").rpartition("/")[2]
    return base.startswith(".") and base not in (".", "..")


def _directory_bytes(file: Readable, size: int) -> int:
    """Bytes of the list of members as the end of a zip file states them; 0 where it has no end."""
    start = max(size - (1 << 16) - 22, 0)
    file.seek(start)
    tail = file.read(size - start)
    file.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 16 > len(tail):
        return 0
    (stated,) = struct.unpack_from("<I", tail, at + 12)
    locator = tail.rfind(b"PK\x06\x06", 0, at)
    if stated == 0xFFFFFFFF and locator >= 0 and locator + 48 <= len(tail):
        (stated,) = struct.unpack_from("<Q", tail, locator + 40)
    return stated


def split_inside(text: str) -> tuple[str, str] | None:
    """Archive and member of a name such as `a.zip!/b.dcm`; None where it names no member."""
    at = text.find(INSIDE)
    while at >= 0:
        archive = text[:at]
        if is_archive(archive) and not os.path.lexists(text):
            return archive, text[at + len(INSIDE) :]
        at = text.find(INSIDE, at + 1)
    return None
