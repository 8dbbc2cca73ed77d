"""Pieces of many files in one buffer: the first bytes of each, and room for later ones."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW = 8192
# One window to the next. With a power of two, the places that one step looks at in all files
# would share a few sets of the processor's cache.
STRIDE = WINDOW + 192
# Later windows of a file beyond its first, on average; what finds no room is read one by one.
SPARE = 3
# Inflated bytes may be followed by more; so many are never asked for.
ENDLESS = 1 << 40
# Without O_NONBLOCK a pipe under the name of an image would hold up the harvest.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Windows:
    """Windows of WINDOW bytes, STRIDE bytes apart in `flat`; those of the same number as a file
    hold its first bytes.

    A place is an index into `flat`. Per window: `until` the place after its last byte, `origin`
    the place where byte 0 of its file would be, `end` that of the end of its file. `got` bytes
    read at first of each file (-1 where it cannot be opened). `before` pieces of a file that
    precede its last window, as (begin, end). How large a file is that fills its first window is
    not asked before somebody wants to know (`measure`); until then `end` is far away.
    """

    def __init__(self, paths: Sequence[Path | str]) -> None:
        # Text is opened twice as fast as a Path.
        self.paths = [str(path) for path in paths]
        self.used = len(paths)
        self.room = len(paths) * (1 + SPARE)
        self.flat = _buffer((self.room + 1) * STRIDE)
        self.got: Places = np.full(len(paths), -1, dtype=np.int64)
        self.origin: Places = np.arange(self.room, dtype=np.int64) * STRIDE
        self.until: Places = self.origin.copy()
        self.end: Places = self.origin.copy()
        self.before: dict[int, list[tuple[int, int]]] = {}
        self._stamps: dict[int, tuple[int, int]] = {}

    def read_first(self) -> None:
        """Read the first WINDOW bytes of each file; never raises on a file."""
        view, got = self.flat.data, []
        for start, path in zip(self.origin.tolist(), self.paths, strict=False):
            count = -1
            try:
                file = os.open(path, FLAGS)
            except OSError:
                got.append(count)
                continue
            try:
                count = os.readv(file, (view[start : start + WINDOW],))
            except OSError:
                pass
            finally:
                os.close(file)
            got.append(count)
        files = len(got)
        self.got[:] = got
        self.until[:files] += np.maximum(self.got, 0)
        self.end[:files] = np.where(
            self.got == WINDOW, self.end[:files] + ENDLESS, self.until[:files]
        )

    def measure(self, windows: Places) -> None:
        """Learn where the files end of which these are the first windows; a file that is gone
        ends with its window."""
        for number in windows.tolist():
            if number < len(self.paths) and self.end[number] - self.origin[number] == ENDLESS:
                try:
                    self.end[number] = self.origin[number] + Path(self.paths[number]).stat().st_size
                except OSError:
                    self.end[number] = self.until[number]

    def read_on(self, files: Places, starts: Places) -> Places:
        """Read a window of each file from a byte of it on; the number of each window.

        -1 where there is no room or nothing left, or the file is no longer what it was.
        """
        view = self.flat.data
        windows = np.full(len(files), -1, dtype=np.int64)
        for row, (number, start) in enumerate(zip(files.tolist(), starts.tolist(), strict=True)):
            if self.used == self.room:
                break
            begin = self.used * STRIDE
            try:
                file = os.open(self.paths[number], FLAGS)
            except OSError:
                continue
            try:
                count = os.preadv(file, [view[begin : begin + WINDOW]], start)
                stat = os.fstat(file)
                is_as_before = self._is_as_before(number, file, stat)
            except OSError:
                continue
            finally:
                os.close(file)
            if count > 0 and is_as_before:
                windows[row] = self._taken(begin - start, count, begin - start + stat.st_size)
        return windows

    def _is_as_before(self, number: int, file: int, stat: os.stat_result) -> bool:
        """Whether a file is what it was at the last window, by its stamp; by its bytes at first."""
        stamp = stat.st_size, stat.st_mtime_ns
        if number in self._stamps:
            return stamp == self._stamps[number]
        self._stamps[number] = stamp
        begin = number * STRIDE
        return os.pread(file, WINDOW, 0) == self.flat[begin : begin + WINDOW].tobytes()

    def inflate(self, files: Places, starts: Places) -> Places:
        """Inflate what follows a place in the first window of each file, as far as a window holds.

        The number of each window; -1 where there is no room, or the bytes are damaged. Its place 0
        is the beginning of what was inflated.
        """
        windows = np.full(len(files), -1, dtype=np.int64)
        for row, (number, start) in enumerate(zip(files.tolist(), starts.tolist(), strict=True)):
            if self.used == self.room:
                break
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflater.decompress(self.flat[start : self.until[number]].data, WINDOW)
            except zlib.error:
                continue
            begin = self.used * STRIDE
            self.flat[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
            end = begin + (len(data) if inflater.eof else ENDLESS)
            windows[row] = self._taken(begin, len(data), end)
            self.before[number] = [(number * STRIDE, start)]
        return windows

    def swap(self, files: Places) -> Places:
        """Copy the first window of each file with the bytes of every pair of bytes swapped.

        The number of each window; -1 where there is no room.
        """
        windows = np.full(len(files), -1, dtype=np.int64)
        count = min(len(files), self.room - self.used)
        windows[:count] = np.arange(self.used, self.used + count)
        self.used += count
        rows, copies = files[:count], windows[:count]
        table = self.flat.reshape(-1, STRIDE)
        table[copies] = table[rows].view("<u2").byteswap().view(np.uint8)
        shift = (copies - rows) * STRIDE
        for one in (self.origin, self.until, self.end):
            one[copies] = one[rows] + shift
        return windows

    def release(self) -> None:
        """Leave the buffer to the next windows; whatever was found in it must be copied by now."""
        _BUFFERS[:] = [self.flat]

    def keep_before(self, files: Places, windows: Places) -> None:
        """Note that these windows are followed by later ones of the same files."""
        for number, window in zip(files.tolist(), windows.tolist(), strict=True):
            piece = (window * STRIDE, int(self.until[window]))
            self.before.setdefault(number, []).append(piece)

    def _taken(self, origin: int, count: int, end: int) -> int:
        number = self.used
        self.used += 1
        self.origin[number], self.end[number] = origin, end
        self.until[number] = number * STRIDE + count
        return number


# The last buffer that was released: to fill it anew is faster than to ask for another.
_BUFFERS: list[Bytes] = []


def _buffer(size: int) -> Bytes:
    kept = _BUFFERS.pop() if _BUFFERS else np.empty(0, dtype=np.uint8)
    return kept[:size] if len(kept) >= size else np.empty(size, dtype=np.uint8)


def read_windows(paths: Sequence[Path | str]) -> Windows:
    """Windows with the first bytes of each file."""
    windows = Windows(paths)
    windows.read_first()
    return windows
