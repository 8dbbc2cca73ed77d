"""Headers of many files at once: their first bytes side by side, parsed as columns.

One step of the loop moves every file forward by one element, so that the steps are those of the
longest header, not of all of them. A file is accepted only if everything up to the first element
beyond the wanted tags keeps the rules of the format; any other is declined whole, never used in
part, and left to a more patient reader.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.dicom_headers import syntax
from pipelines.sources.dicom_headers.tags import TagList, Wanted

WINDOW = 8192
WORDS = WINDOW // 2
# A shorter file leaves no room for a header that could be complete.
SHORTEST = 400
# An element header is at most 12 bytes long.
HEAD = 12
ROUNDS = 400
HASH_SIZE = 1 << 14
CHARACTER_SET = 0x00080005

Rows = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Windows:
    """The first bytes of some files.

    `bytes` one row per file of WINDOW bytes; `got` bytes read (-1 where the file cannot be
    opened); `size` bytes of the file.
    """

    bytes: Bytes
    got: Rows
    size: Rows


@dataclass(frozen=True)
class Found:
    """Where the wanted values lie in their windows, one row per file, one column per attribute.

    `length` is -1 where an attribute is absent. `stop` is where the first element beyond the
    wanted tags begins. What is not `accepted` is declined and holds nothing.
    """

    columns: tuple[Wanted, ...]
    offset: Rows
    length: Rows
    stop: Rows
    accepted: NDArray[np.bool_]


def read_windows(paths: Sequence[Path]) -> Windows:
    """Read the first WINDOW bytes of each file; never raises on a file."""
    buffer = np.empty((len(paths), WINDOW), dtype=np.uint8)
    got = np.full(len(paths), -1, dtype=np.int64)
    size = np.zeros(len(paths), dtype=np.int64)
    view = buffer.reshape(-1).data
    # Without O_NONBLOCK a pipe under the name of an image would hold up the harvest.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    for row, path in enumerate(paths):
        try:
            file = os.open(path, flags)
        except OSError:
            continue
        try:
            count = os.preadv(file, [view[row * WINDOW : (row + 1) * WINDOW]], 0)
            size[row] = os.fstat(file).st_size if count == WINDOW else count
            got[row] = count
        except OSError:
            pass
        finally:
            os.close(file)
    return Windows(buffer, got, size)


def scan(windows: Windows, tags: TagList) -> Found:
    """Find the wanted attributes of every file whose header lies within its window."""
    tables = _tables(tags)
    files = len(windows.got)
    columns = (*tags.meta, *tags.flat, *(w for item in tags.items.values() for w in item))
    offset = np.zeros((files, len(columns)), dtype=np.int64)
    length = np.full((files, len(columns)), -1, dtype=np.int64)
    accepted = np.zeros(files, dtype=bool)
    stop = np.zeros(files, dtype=np.int64)
    words = windows.bytes.reshape(-1).view("<u2")
    rows, start, is_implicit = _file_meta(windows, words, tables.meta, offset, length)
    first_item = len(tags.meta)
    for implicit in (False, True):
        chosen = is_implicit == implicit
        walk = _Walk(words, tables.data_set, implicit=implicit)
        mine = walk.header(rows[chosen], start[chosen], windows, files)
        good = np.flatnonzero(mine.accepted)
        place = slice(first_item, first_item + mine.flat_count)
        column = first_item + mine.flat_count
        offset[good, place] = mine.offset[good][:, : mine.flat_count]
        length[good, place] = mine.length[good][:, : mine.flat_count]
        for number, table in enumerate(tables.items):
            width = len(table.wanted)
            items, is_whole = _Walk(words, table, implicit=implicit).first_items(
                good,
                mine.offset[good, mine.flat_count + number],
                mine.length[good, mine.flat_count + number],
                windows,
                files,
            )
            mine.accepted[good[~is_whole]] = False
            offset[good, column : column + width] = items.offset[good]
            length[good, column : column + width] = items.length[good]
            column += width
        accepted |= mine.accepted
        stop[good] = mine.stop[good]
    length[~accepted] = -1
    return Found(columns, offset, length, stop, accepted)


@dataclass(frozen=True)
class _Table:
    """The wanted tags of one level of nesting, found by a hash of group and element.

    Sequences come after the flat attributes.
    """

    wanted: tuple[Wanted, ...]
    sequences: tuple[int, ...]
    slots: NDArray[np.int16]
    tags: Rows
    vrs: NDArray[np.uint16]
    last: int

    @classmethod
    def of(cls, wanted: Sequence[Wanted], sequences: Sequence[int] = ()) -> _Table:
        tags = np.array([w.tag for w in wanted] + list(sequences), dtype=np.int64)
        slots = np.full(HASH_SIZE, -1, dtype=np.int16)
        places = _hash(tags >> 16, tags & 0xFFFF)
        if len(np.unique(places)) != len(places):
            raise ValueError("two wanted tags meet in the hash table; change _hash")
        slots[places] = np.arange(len(tags))
        vrs = [_code(w.vr) for w in wanted] + [_code("SQ")] * len(sequences)
        return cls(
            tuple(wanted), tuple(sequences), slots, tags, np.array(vrs, np.uint16), int(tags.max())
        )


@dataclass(frozen=True)
class _Tables:
    meta: _Table
    data_set: _Table
    items: list[_Table]


def _tables(tags: TagList) -> _Tables:
    return _Tables(
        _Table.of(tags.meta),
        _Table.of(tags.flat, list(tags.items)),
        [_Table.of(item) for item in tags.items.values()],
    )


def _hash(group: Rows, element: Rows) -> Rows:
    return (group * 37 + element) & (HASH_SIZE - 1)


def _code(vr: str) -> int:
    """A VR as the number its two letters make when read little endian."""
    return int.from_bytes(vr.encode(), "little")


def _flags(vrs: Sequence[str]) -> NDArray[np.bool_]:
    table = np.zeros(1 << 16, dtype=bool)
    table[[_code(vr) for vr in vrs]] = True
    return table


_IS_LONG = _flags(syntax.LONG_VRS)
_IS_VR = _flags([*syntax.SHORT_VRS, *syntax.LONG_VRS])
_UN = _code("UN")
_UL = _code("UL")


def _file_meta(
    windows: Windows,
    words: NDArray[np.uint16],
    table: _Table,
    offset: Rows,
    length: Rows,
) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Files with a sound file meta, where their data set starts, whether it has implicit VRs."""
    got = windows.got
    rows = np.flatnonzero(got >= SHORTEST)
    base = rows * WORDS
    at = base + syntax.PREAMBLE // 2
    # DICM, then (0002,0000) UL of length 4 with the length of the group.
    expected = [*np.frombuffer(b"DICM", "<u2").tolist(), 0x0002, 0x0000, _UL, 4]
    sound = np.ones(len(rows), dtype=bool)
    for number, word in enumerate(expected):
        sound &= words[at + number] == word
    at += len(expected)
    end = syntax.META_START + 12 + words[at].astype(np.int64) + (words[at + 1].astype(int) << 16)
    sound &= (end % 2 == 0) & (end < got[rows] - 16)
    rows, end = rows[sound], end[sound]
    walk = _Walk(words, table, implicit=False)
    start = np.full(len(rows), syntax.META_START + 12, dtype=np.int64)
    offsets, lengths, is_whole = walk.meta(rows, start, end)
    place = slice(0, len(table.wanted))
    offset[rows, place], length[rows, place] = offsets, lengths
    column = next(n for n, w in enumerate(table.wanted) if w.tag == 0x00020010)
    syntax_of = _short_texts(windows.bytes, rows, offsets[:, column], lengths[:, column])
    declined = (syntax.EXPLICIT_BIG, syntax.DEFLATED, syntax.PRIVATE_BIG, *syntax.JPIP_DEFLATED)
    usable = is_whole & ~np.isin(syntax_of, [b"", *declined])
    known, place = np.unique(syntax_of, return_inverse=True)
    is_uid = [re.fullmatch(rb"[0-9.]+", uid) is not None for uid in known.tolist()]
    usable &= np.array(is_uid, dtype=bool)[place]
    return rows[usable], end[usable], syntax_of[usable] == syntax.IMPLICIT_LITTLE


def _short_texts(buffer: Bytes, rows: Rows, offset: Rows, length: Rows) -> NDArray[np.bytes_]:
    """Values of up to 64 bytes, padding cut off; empty where a value is absent or longer."""
    at = np.minimum(offset, WINDOW - 64)[:, None] + np.arange(64)
    text = buffer[rows[:, None], at]
    text[np.arange(64) >= np.where(length <= 64, length, 0)[:, None]] = 0
    text[text == ord(" ")] = 0
    return np.ascontiguousarray(text).view("S64")[:, 0]


@dataclass
class _Header:
    offset: Rows
    length: Rows
    stop: Rows
    accepted: NDArray[np.bool_]
    flat_count: int


class _Walk:
    """Steps through the elements of many windows; all of one transfer syntax."""

    def __init__(self, words: NDArray[np.uint16], table: _Table, *, implicit: bool) -> None:
        self.words, self.table, self.implicit = words, table, implicit

    def header(self, rows: Rows, start: Rows, windows: Windows, files: int) -> _Header:
        """Data sets: accepted where an element beyond the last wanted tag is reached."""
        found = self._empty(files)
        limit, size = windows.got - HEAD, windows.size
        steps = _Steps(rows, start)
        few = len(rows) // 100
        for _ in range(ROUNDS):
            if len(steps.row) <= few:
                break
            at = self._element(steps)
            top = steps.depth == 0
            bad = at.is_wrong | (top & (at.is_item | (at.tag <= steps.last)))
            beyond = top & ~at.is_item & (at.tag > self.table.last)
            self._note(found, steps, at, top, bad)
            bad |= beyond & ~self._is_plausible_end(at, beyond, size[steps.row])
            is_first = beyond & (found.stop[steps.row] == 0)
            found.stop[steps.row[is_first]] = steps.position[is_first]
            # A damaged tag can look like an end; what follows it would then be out of order.
            is_open = at.is_undefined & (at.group & 1 == 0)
            is_sure = is_open | _is_pixels(at.tag) | (at.next == size[steps.row])
            ends = beyond & ~bad & (is_sure | ~is_first)
            found.accepted[steps.row[ends]] = True
            steps.forward(at, top, ~(ends | bad | (at.next > limit[steps.row])))
        return found

    def _is_plausible_end(
        self, at: _Element, beyond: NDArray[np.bool_], size: Rows
    ) -> NDArray[np.bool_]:
        """Whether an element beyond the wanted tags is one that a file can hold there."""
        fits = (at.next <= size) | at.is_undefined | _is_pixels(at.tag)
        looked_at = np.flatnonzero(fits & beyond)
        codes = at.vr[looked_at].tolist()
        vrs = [
            None if self.implicit else code.to_bytes(2, "little").decode("latin-1")
            for code in codes
        ]
        fits[looked_at] = [
            syntax.is_plausible(tag, vr, undefined)
            for tag, vr, undefined in zip(
                at.tag[looked_at].tolist(), vrs, at.is_undefined[looked_at].tolist(), strict=True
            )
        ]
        return fits

    def first_items(
        self, rows: Rows, start: Rows, length: Rows, windows: Windows, files: int
    ) -> tuple[_Header, NDArray[np.bool_]]:
        """First item of a sequence each; and which rows were sound (or have no such item).

        `length` is -1 where there is no sequence and -2 where its length is undefined.
        """
        found = self._empty(files)
        is_whole = np.ones(len(rows), dtype=bool)
        chosen = np.flatnonzero((length > 0) | (length == -2))
        base = rows[chosen] * WORDS + (start[chosen] >> 1)
        fits = start[chosen] + 8 <= windows.got[rows[chosen]]
        is_whole[chosen[~fits]] = False
        chosen, base = chosen[fits], base[fits]
        tag = (self.words[base].astype(np.int64) << 16) | self.words[base + 1]
        size = self.words[base + 2].astype(np.int64) | (self.words[base + 3].astype(np.int64) << 16)
        # An empty sequence of undefined length begins with its own end.
        is_item = tag == syntax.ITEM
        is_whole[chosen[~is_item & (tag != syntax.SEQUENCE_END)]] = False
        chosen, size = chosen[is_item], size[is_item]
        begin = start[chosen] + 8
        is_open = size == syntax.UNDEFINED
        got = windows.got[rows[chosen]]
        last = np.where(length[chosen] < 0, got, start[chosen] + length[chosen])
        end = np.where(is_open, last, begin + size)
        inside = (end <= last) & (end <= got)
        is_whole[chosen[~inside]] = False
        chosen, begin, end, is_open = (x[inside] for x in (chosen, begin, end, is_open))
        done = ~is_open & (begin == end)
        steps = _Steps(rows[chosen][~done], begin[~done])
        ends_at = np.zeros(len(windows.got), dtype=np.int64)
        ends_at[rows[chosen]] = end
        open_of = np.zeros(len(windows.got), dtype=bool)
        open_of[rows[chosen]] = is_open
        sound = np.zeros(len(windows.got), dtype=bool)
        sound[rows[chosen][done]] = True
        for _ in range(ROUNDS):
            if not len(steps.row):
                break
            at = self._element(steps)
            top = steps.depth == 0
            end_here = top & (at.tag == syntax.ITEM_END) & open_of[steps.row]
            bad = at.is_wrong | (top & ~end_here & (at.is_item | (at.tag <= steps.last)))
            bad |= at.next > ends_at[steps.row]
            # An item with a character set of its own is a matter for pydicom.
            bad |= top & (at.tag == CHARACTER_SET)
            self._note(found, steps, at, top & ~end_here, bad)
            is_last = ~open_of[steps.row] & (at.next == ends_at[steps.row]) & (at.depth == 0)
            good = (end_here | is_last) & ~bad
            sound[steps.row[good]] = True
            keep = ~(good | bad) & (at.next + 8 <= ends_at[steps.row])
            steps.forward(at, top, keep)
        is_whole[chosen] = sound[rows[chosen]]
        found.length[rows[chosen[~is_whole[chosen]]]] = -1
        return found, is_whole

    def meta(self, rows: Rows, start: Rows, end: Rows) -> tuple[Rows, Rows, NDArray[np.bool_]]:
        """File meta: offset and length per wanted attribute, and which files were sound."""
        width = len(self.table.tags)
        files = int(rows.max(initial=-1)) + 1
        found = self._empty(files)
        ends_at = np.zeros(files, dtype=np.int64)
        ends_at[rows] = end
        steps = _Steps(rows, start)
        for _ in range(ROUNDS):
            if not len(steps.row):
                break
            at = self._element(steps)
            bad = at.is_wrong | at.is_undefined | (at.tag >> 16 != 2) | (at.tag <= steps.last)
            bad |= at.next > ends_at[steps.row]
            top = np.ones(len(steps.row), dtype=bool)
            self._note(found, steps, at, top, bad)
            done = ~bad & (at.next == ends_at[steps.row])
            found.accepted[steps.row[done]] = True
            steps.forward(at, top, ~(bad | done))
        return found.offset[rows][:, :width], found.length[rows][:, :width], found.accepted[rows]

    def _empty(self, files: int) -> _Header:
        width = len(self.table.tags)
        return _Header(
            np.zeros((files, width), dtype=np.int64),
            np.full((files, width), -1, dtype=np.int64),
            np.zeros(files, dtype=np.int64),
            np.zeros(files, dtype=bool),
            len(self.table.wanted),
        )

    def _element(self, steps: _Steps) -> _Element:
        """The element at the position of each row."""
        words = self.words
        at = steps.base + (steps.position >> 1)
        group, element, a, b = (words[at + n].astype(np.int64) for n in range(4))
        tag = (group << 16) | element
        is_item = group == syntax.ITEM_GROUP
        wide = a | (b << 16)
        vr = a
        if self.implicit:
            length, head = wide, np.full(len(at), 8)
            is_wrong = np.zeros(len(at), dtype=bool)
        else:
            is_long = _IS_LONG[a] & ~is_item
            far = np.flatnonzero(is_long)
            length = np.where(is_item, wide, b)
            more = at[far] + 4
            low, high = (words.take(more + n, mode="clip").astype(np.int64) for n in range(2))
            length[far] = low | (high << 16)
            head = np.where(is_long, 12, 8)
            is_wrong = ~(_IS_VR[a] | is_item)
        is_undefined = length == syntax.UNDEFINED
        if not self.implicit:
            # Its content has implicit VRs: a matter for the patient reader.
            is_wrong |= is_undefined & (vr == _UN)
        ends_item, ends_sequence = tag == syntax.ITEM_END, tag == syntax.SEQUENCE_END
        depth = steps.depth + is_undefined - (ends_item | ends_sequence)
        # Sequences hold items and items hold elements: depth is odd within a sequence.
        within_item = steps.depth & 1 == 0
        is_wrong |= np.where(within_item, is_item & ~ends_item, ~is_item | ends_item)
        is_wrong |= (ends_item | ends_sequence) & (length != 0)
        following = steps.position + head + np.where(is_undefined, 0, length)
        is_wrong |= (depth < 0) & ~((steps.depth == 0) & (tag == syntax.ITEM_END))
        is_wrong |= (following & 1) == 1
        return _Element(
            group, element, tag, vr, length, head, is_item, is_undefined, is_wrong, depth, following
        )

    def _note(
        self,
        found: _Header,
        steps: _Steps,
        at: _Element,
        top: NDArray[np.bool_],
        bad: NDArray[np.bool_],
    ) -> None:
        """Record the wanted elements; a wanted one of another VR makes its file bad."""
        slot = self.table.slots[_hash(at.group, at.element)]
        hit = np.flatnonzero(top & (slot >= 0))
        hit = hit[self.table.tags[slot[hit]] == at.tag[hit]]
        place = slot[hit]
        is_flat = place < found.flat_count
        if not self.implicit:
            bad[hit[self.table.vrs[place] != at.vr[hit]]] = True
        bad[hit[is_flat & at.is_undefined[hit]]] = True
        row = steps.row[hit]
        found.offset[row, place] = (steps.position + at.head)[hit]
        found.length[row, place] = np.where(at.is_undefined[hit], -2, at.length[hit])


def _is_pixels(tag: Rows) -> NDArray[np.bool_]:
    return (tag >= min(syntax.PIXELS)) & (tag <= max(syntax.PIXELS))


@dataclass(frozen=True)
class _Element:
    group: Rows
    element: Rows
    tag: Rows
    vr: Rows
    length: Rows
    head: Rows
    is_item: NDArray[np.bool_]
    is_undefined: NDArray[np.bool_]
    is_wrong: NDArray[np.bool_]
    depth: Rows
    next: Rows


class _Steps:
    """Where each file that is still walked stands."""

    def __init__(self, rows: Rows, position: Rows) -> None:
        self.row, self.position = rows, position
        self.base = rows * WORDS
        self.depth = np.zeros(len(rows), dtype=np.int64)
        self.last = np.zeros(len(rows), dtype=np.int64)

    def forward(self, at: _Element, top: NDArray[np.bool_], keep: NDArray[np.bool_]) -> None:
        """Go to the next element of every row that is kept; the others fall out."""
        last = np.where(top & ~at.is_item, at.tag, self.last)
        if keep.all():
            self.position, self.depth, self.last = at.next, at.depth, last
            return
        self.row, self.base = self.row[keep], self.base[keep]
        self.position, self.depth, self.last = at.next[keep], at.depth[keep], last[keep]
