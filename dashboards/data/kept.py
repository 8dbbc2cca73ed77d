"""What a reader keeps for themselves under a name: views of pages.

One small JSON file per reader below a folder that the dashboards own, named by the hash of the
subject, so no reader's name stands in a path and nobody's file is found from another's session.
Pure but for that folder: folder, subject and the instant of now come in.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import unicodedata
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dashboards.small_files import write_whole

# A list longer than this is no longer read, and a file larger than this is no note of a reader.
MOST, LARGEST_BYTES, LONGEST_NAME = 50, 256_000, 80


class NotKept(RuntimeError):
    """What was to be kept cannot be; the text says what to do next."""


@dataclass(frozen=True)
class Kept:
    """One thing kept: its name, what it holds (JSON values), and the UTC instant it was kept."""

    name: str
    content: dict[str, Any]
    kept_at: str


def list_kept(folder: Path, subject: str) -> list[Kept]:
    """What this reader kept, by name; empty where nothing is. Raises NotKept where the file cannot
    be read, ValueError for an empty subject."""
    return _read(_file(folder, subject))


def keep(folder: Path, subject: str, name: str, content: Mapping[str, Any], now: datetime) -> Kept:
    """Keep content under a name, in place of what this reader had under it; answers what is kept.

    Spaces at the ends of a name are dropped, and runs of them count as one. Raises NotKept for a
    name that is empty, too long or holds unprintable characters, for more than MOST names or
    LARGEST_BYTES in all, and where the folder cannot be written; ValueError as list_kept.
    """
    path = _file(folder, subject)
    new = Kept(clean_name(name), dict(content), now.astimezone(UTC).isoformat(timespec="seconds"))
    with _alone(path):
        others = [one for one in _read(path) if one.name != new.name]
        if len(others) >= MOST:
            raise NotKept(f"{MOST} are kept already: delete one first.")
        _write(path, [*others, new])
    return new


def forget(folder: Path, subject: str, name: str) -> bool:
    """Delete what this reader kept under a name; False where there was nothing. Raises NotKept
    where the folder cannot be written, ValueError as list_kept."""
    path = _file(folder, subject)
    if not path.exists():
        return False
    with _alone(path):
        found = _read(path)
        left = [one for one in found if one.name != name]
        if len(left) < len(found):
            _write(path, left)
    return len(left) < len(found)


def clean_name(name: str) -> str:
    """The name as it is kept. Raises NotKept unless 1 to LONGEST_NAME printable characters are left."""
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(cleaned) <= LONGEST_NAME:
        raise NotKept(f"A name has 1 to {LONGEST_NAME} characters.")
    # Among the unprintable are marks that turn the direction of writing: a name could pose as another.
    if not cleaned.isprintable():
        raise NotKept("A name holds letters, digits, signs and spaces only.")
    return cleaned


def _file(folder: Path, subject: str) -> Path:
    if not subject:
        raise ValueError("nothing is kept without a subject")
    return folder / f"{hashlib.sha256(subject.encode()).hexdigest()}.json"


def _read(path: Path) -> list[Kept]:
    try:
        if not path.exists():
            return []
        if path.stat().st_size > LARGEST_BYTES:
            raise NotKept(f"{path} is larger than the dashboards write it: move it away.")
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [Kept(row["name"], dict(row["content"]), row["kept_at"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotKept(f"What was kept cannot be read ({path}: {error}): move it away.") from error
    return sorted(found, key=lambda one: one.name.casefold())


def _write(path: Path, rows: list[Kept]) -> None:
    data = json.dumps([asdict(one) for one in rows], ensure_ascii=False, indent=1).encode()
    if len(data) > LARGEST_BYTES:
        raise NotKept("This is more than is kept for one reader: shorten it, or delete another.")
    try:
        write_whole(path, data)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Two sessions of one reader write one after the other."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> NotKept:
    return NotKept(
        f"Nothing can be kept ({error}). Make the folder {path.parent} writable for the dashboards."
    )
