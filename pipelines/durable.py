"""Files that are whole or not there: temporary name, sync, rename, sync the folder."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipelines.problems import Problem

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(Problem, OSError):
    """A file could not be written for want of room; the message names it and the next step."""


def write_bytes(data: bytes, path: Path, mode: int = 0o644) -> None:
    """Write a file atomically and durably; a reader meets the old file or the new one."""

    def fill(temporary: Path) -> None:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    write_with(fill, path)


def write_with(fill: Callable[[Path], object], path: Path) -> None:
    """Let `fill` write a temporary file beside `path`, then give it its name, durably.

    Raises DiskFull where there is no room; the old file stays, and no part of the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fill(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        # Half a file would take the room that the next try needs.
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise DiskFull(
                f"{path.parent} has no room left, {path.name} could not be written; make room and "
                "run the command again: what has a receipt is kept, the rest is read again"
            ) from None
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_abandoned(folder: Path) -> None:
    """Delete temporary files of this module whose process is gone."""
    for path in folder.glob("**/.*.tmp"):
        process = path.name.removesuffix(".tmp").rpartition(".")[2]
        if process.isdigit() and not _is_alive(int(process)):
            path.unlink(missing_ok=True)


def remove_abandoned_folders(folder: Path) -> None:
    """Delete working folders (`.<name>.<process>.tmp`) of processes that are gone."""
    for path in folder.glob(".*.tmp"):
        process = path.name.removesuffix(".tmp").rpartition(".")[2]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
