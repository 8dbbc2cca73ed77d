"""Headers of many files at once: pieces of them side by side, parsed as columns.

One step of the loop moves every file forward by one element, so that the steps are those of the
longest header, not of all of them. A file is accepted only if everything up to the first element
beyond the wanted tags keeps the rules of the format; any other is declined whole, never used in
part, and left to a more patient reader.

Most elements are usual: a value of known VR and short length, in order, within the window. They
are stepped over by few operations. A file that meets another waits, until enough files do to make
the step of many operations worth its price. A file that leaves its window waits for the next one,
which is read from the very element where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.dicom_headers import syntax
from pipelines.sources.dicom_headers.tags import TagList, Wanted
from pipelines.sources.dicom_headers.windows import STRIDE, Places, Windows

# A shorter file leaves no room for a header that could be complete.
SHORTEST = 400
# An element header is at most 12 bytes long.
HEAD = 12
# Of a full chunk so few files may be left over: the loop would cost more than reading them alone.
LEFT_OVER = 2000
# One file in so many waits before the waiting ones are moved.
WAITING = 3
HASH_SIZE = 1 << 16
MOST_WANTED = 128
CHARACTER_SET = 0x00080005
TRANSFER_SYNTAX = 0x00020010
# Begin 0 and length -1, as one number.
ABSENT = -1 << 32
# No tag is greater: where this is the floor, no element is usual.
NO_TAG = 0xFFFFFFFF

Flags = NDArray[np.bool_]
Tags = NDArray[np.uint32]


@dataclass(frozen=True)
class Found:
    """Where the wanted values lie in the windows: one array per attribute, one number per file.

    `begin` is a place in the windows; `length` is -1 where an attribute is absent. `stop` is the
    place where the first element beyond the wanted tags begins. `is_big` marks files with big
    endian numbers. What is not `accepted` is declined; its other numbers mean nothing.
    """

    columns: tuple[Wanted, ...]
    begin: list[NDArray[np.int32]]
    length: list[NDArray[np.int32]]
    stop: Places
    is_big: Flags
    accepted: Flags


def scan(windows: Windows, tags: TagList) -> Found:
    """Find the wanted attributes of every file."""
    tables = _tables(tags)
    files = len(windows.got)
    meta, rows, start, uid = _file_meta(windows, tables.meta)
    layout = np.where(uid == syntax.IMPLICIT_LITTLE, IMPLICIT, LITTLE)
    layout[uid == syntax.EXPLICIT_BIG] = BIG
    is_deflated = uid == syntax.DEFLATED
    window = rows.copy()
    window[is_deflated] = windows.inflate(rows[is_deflated], start[is_deflated])
    window[layout == BIG] = windows.swap(rows[layout == BIG])
    moved = (window - rows) * STRIDE
    start = np.where(is_deflated, window * STRIDE, start + moved)
    fits = window >= 0
    rows, layout, window, start, moved = (x[fits] for x in (rows, layout, window, start, moved))
    header = _Walk(windows, tables.data_set).headers(files, rows, layout, window, start)
    levels = [(meta.begin, meta.length), (header.begin[: header.flat_count], header.length)]
    for number, table in enumerate(tables.items, start=header.flat_count):
        items = _Walk(windows, table).first_items(
            files, rows, layout, header.begin[number], header.length[number]
        )
        header.accepted &= items.accepted
        levels.append((items.begin, items.length))
    # The values of swapped data sets are in the bytes as they were.
    swapped = np.flatnonzero(layout == BIG)
    for begins, _ in levels[1:]:
        begins[:, rows[swapped]] -= moved[swapped].astype(np.int32)
    header.stop[rows[swapped]] -= moved[swapped]
    is_big = np.zeros(files, dtype=bool)
    is_big[rows[swapped]] = True
    return Found(
        (*tags.meta, *tags.flat, *(w for item in tags.items.values() for w in item)),
        [row for begins, _ in levels for row in begins],
        [row for begins, lengths in levels for row in lengths[: len(begins)]],
        header.stop,
        is_big,
        header.accepted,
    )


@dataclass(frozen=True)
class _Table:
    """The wanted tags of one level of nesting, found by a hash of group and element.

    Sequences come after the flat attributes. `vrs` the VR of each as a number, by layout; `kinds`
    the first bytes of each element as a number, MOST_WANTED per layout: tag, and VR where there
    is one.
    """

    wanted: tuple[Wanted, ...]
    slots: NDArray[np.int8]
    tags: Tags
    vrs: NDArray[np.uint16]
    kinds: NDArray[np.uint64]
    last: int

    @classmethod
    def of(cls, wanted: Sequence[Wanted], sequences: Sequence[int] = ()) -> _Table:
        tags = np.array([w.tag for w in wanted] + list(sequences), dtype=np.uint32)
        slots = np.full(HASH_SIZE, -1, dtype=np.int8)
        places = _hash(tags)
        if len(np.unique(places)) != len(places) or len(tags) >= MOST_WANTED:
            raise ValueError("two wanted tags meet in the hash table; change _hash")
        slots[places] = np.arange(len(tags))
        vrs = [w.vr for w in wanted] + ["SQ"] * len(sequences)
        codes = np.array([[_code(vr, layout) for vr in vrs] for layout in range(3)], np.uint16)
        kinds = np.zeros((4, MOST_WANTED), dtype=np.uint64)
        swapped = (tags << 16) | (tags >> 16)
        kinds[:NOTHING, : len(tags)] = swapped | (codes.astype(np.uint64) << 32)
        kinds[IMPLICIT, : len(tags)] = swapped
        return cls(tuple(wanted), slots, tags, codes, kinds.reshape(-1), int(tags.max()))


@dataclass(frozen=True)
class _Tables:
    meta: _Table
    data_set: _Table
    items: list[_Table]


@lru_cache(maxsize=4)
def _tables_of(key: tuple[tuple[Wanted, ...], ...], sequences: tuple[int, ...]) -> _Tables:
    meta, flat, *items = key
    return _Tables(_Table.of(meta), _Table.of(flat, sequences), [_Table.of(item) for item in items])


def _tables(tags: TagList) -> _Tables:
    key = (tuple(tags.meta), tuple(tags.flat), *(tuple(item) for item in tags.items.values()))
    return _tables_of(key, tuple(tags.items))


def _hash(tag: Tags) -> Tags:
    return (tag * np.uint32(0x9E3779B1)) >> np.uint32(16)


# How the headers of elements are laid out. Big endian ones are read from swapped bytes: as numbers
# they are then like little endian ones, but the two letters of a VR have changed places.
LITTLE, BIG, IMPLICIT = range(3)
# ... and where none of them is wanted.
NOTHING = 3


def _code(vr: str, layout: int) -> int:
    """A VR as the number that its two letters make."""
    return int.from_bytes(vr.encode(), "big" if layout == BIG else "little")


def _vr(code: int, layout: int) -> str | None:
    """The VR of a number; None where there are none."""
    if layout == IMPLICIT:
        return None
    return code.to_bytes(2, "big" if layout == BIG else "little").decode("latin-1")


def _flags(vrs: Sequence[str], *, implicit: bool) -> Flags:
    """Which numbers are one of these VRs, per layout one after the other."""
    tables = np.zeros((3, 1 << 16), dtype=bool)
    for layout in (LITTLE, BIG):
        tables[layout, [_code(vr, layout) for vr in vrs]] = True
    tables[IMPLICIT] = implicit
    return tables.reshape(-1)


# Without VRs every element is as good as one of short length.
_IS_SHORT = _flags(syntax.SHORT_VRS, implicit=True)
_IS_LONG = _flags(syntax.LONG_VRS, implicit=False)
_IS_UNKNOWN = _flags(["UN"], implicit=False)


def _file_meta(
    windows: Windows, table: _Table
) -> tuple[_Header, Places, Places, NDArray[np.bytes_]]:
    """What is wanted of the file meta of each file; and of the sound ones: their numbers, where
    the data set starts, and the transfer syntax."""
    words = windows.flat.view("<u2")
    rows = np.flatnonzero(windows.got >= SHORTEST)
    base = rows * STRIDE
    at = (base + syntax.PREAMBLE) >> 1
    # DICM, then (0002,0000) UL of length 4 with the length of the group.
    expected = np.frombuffer(b"DICM\x02\0\0\0UL\x04\0", "<u2").tolist()
    sound = np.ones(len(rows), dtype=bool)
    for number, word in enumerate(expected):
        sound &= words[at + number] == word
    at += len(expected)
    end = words[at].astype(np.int64) + (words[at + 1].astype(np.int64) << 16)
    end += base + syntax.META_START + 12
    sound &= (end % 2 == 0) & (end < windows.until[rows] - 16)
    rows, base, end = rows[sound], base[sound], end[sound]
    start = base + syntax.META_START + 12
    meta = _Walk(windows, table).file_meta(len(windows.got), rows, start, end)
    column = next(n for n, w in enumerate(table.wanted) if w.tag == TRANSFER_SYNTAX)
    uid = _short_texts(windows.flat, meta.begin[column][rows], meta.length[column][rows])
    declined = (syntax.PRIVATE_BIG, *syntax.JPIP_DEFLATED)
    known, place = np.unique(uid, return_inverse=True)
    usable = meta.accepted[rows] & np.array(
        [re.fullmatch(rb"[0-9.]+", one) is not None and one not in declined for one in known],
        dtype=bool,
    )[place].reshape(len(uid))
    return meta, rows[usable], end[usable], uid[usable]


def _short_texts(flat: NDArray[np.uint8], begin: Places, length: Places) -> NDArray[np.bytes_]:
    """Values of up to 64 bytes, padding cut off; empty where a value is absent or longer."""
    pieces = np.ndarray((len(flat) - 63,), dtype="V64", buffer=flat.data, strides=(1,))
    text = pieces[begin].view(np.uint8).reshape(-1, 64)
    text[np.arange(64) >= np.where(length <= 64, length, 0)[:, None]] = 0
    text[text == ord(" ")] = 0
    return text.view("S64")[:, 0]


@dataclass
class _Header:
    """What a walk found: one row per wanted tag, one column per file.

    `places` holds both numbers of a value, so that they are written at once: `begin` in the lower
    half, `length` in the upper.
    """

    places: Places
    stop: Places
    accepted: Flags
    flat_count: int
    begin: NDArray[np.int32] = field(init=False)
    length: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        halves = self.places.view("<i4").reshape(*self.places.shape, 2)
        self.begin, self.length = halves[:, :, 0], halves[:, :, 1]


@dataclass
class _Standing:
    """Where each file that is still walked stands.

    `row` its number among those the walk was given, `window` its window, `at` the word of the next
    element, `limit` the last word of the window at which one can begin. An element inside an open
    sequence has a `depth`; `opened` is the word where that sequence begins, `resume` its tag.
    `floor`: no usual element has a tag as low as this. By its layout: `vrs` and `kinds` where VRs
    and wanted elements of it begin (within a sequence none is wanted), `mask` the bytes of a head
    that tell an element, `shift` how many bits of a head precede its length.
    """

    row: Places
    layout: Places
    window: Places
    at: Places
    limit: Places
    floor: Tags
    depth: NDArray[np.int32]
    opened: Places
    resume: Tags
    vrs: Places = field(init=False)
    kinds: Places = field(init=False)
    mask: NDArray[np.uint64] = field(init=False)
    shift: NDArray[np.uint64] = field(init=False)
    is_done: Flags = field(init=False)

    def __post_init__(self) -> None:
        is_implicit = self.layout == IMPLICIT
        self.vrs = self.layout << 16
        self.kinds = _kinds(self.layout, self.depth)
        self.mask = np.where(is_implicit, np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFF))
        self.shift = np.where(is_implicit, np.uint64(32), np.uint64(48))
        self.is_done = np.zeros(len(self.row), dtype=bool)

    def chosen(self, keep: Places) -> _Standing:
        """Some of them."""
        return _Standing(*(getattr(self, one.name).take(keep) for one in fields(self) if one.init))


def _kinds(layout: Places, depth: NDArray[np.int32]) -> Places:
    return np.where(depth == 0, layout, NOTHING) * MOST_WANTED


@dataclass(frozen=True)
class _Element:
    """The element at the place of each file; `next` is the word after it."""

    group: NDArray[np.uint16]
    element: NDArray[np.uint16]
    tag: Tags
    vr: NDArray[np.uint16]
    length: Places
    value: Places
    is_item: Flags
    is_undefined: Flags
    is_wrong: Flags
    depth: NDArray[np.int32]
    next: Places


class _Walk:
    """Steps through the elements of many files."""

    def __init__(self, windows: Windows, table: _Table) -> None:
        self.windows, self.table = windows, table
        self.words = windows.flat.view("<u2")
        # The eight bytes that begin at each word: tag, VR and length of most elements.
        self.heads = np.ndarray(
            (len(self.words) - 3,), dtype="V8", buffer=windows.flat.data, strides=(2,)
        )

    def headers(
        self, files: int, rows: Places, layout: Places, windows: Places, start: Places
    ) -> _Header:
        """Data sets of some of the files: accepted where an element beyond the last wanted tag is
        reached."""
        found = self._empty(files)
        count = len(rows)
        standing = _Standing(
            rows,
            layout,
            windows,
            start >> 1,
            (self.windows.until[windows] - HEAD) >> 1,
            np.zeros(count, dtype=np.uint32),
            np.zeros(count, dtype=np.int32),
            np.zeros(count, dtype=np.int64),
            np.zeros(count, dtype=np.uint32),
        )
        # What was inflated or swapped has no other window.
        is_moved = np.zeros(files, dtype=bool)
        is_moved[rows] = windows != rows
        while True:
            standing = self._through_windows(standing, found, count // LEFT_OVER)
            standing = standing.chosen(np.flatnonzero(~is_moved[standing.row]))
            if not len(standing.row):
                return found
            standing = self._in_next_window(standing)

    def _in_next_window(self, standing: _Standing) -> _Standing:
        """Read on where each file stands; those that cannot be read on drop out."""
        position = 2 * standing.at - self.windows.origin[standing.window]
        windows = self.windows.read_on(standing.row, position)
        kept = np.flatnonzero(windows >= 0)
        standing, windows = standing.chosen(kept), windows[kept]
        self.windows.keep_before(standing.row, standing.window)
        standing.window = windows
        standing.at = (windows * STRIDE) >> 1
        standing.limit = (self.windows.until[windows] - HEAD) >> 1
        return standing

    def _through_windows(self, standing: _Standing, found: _Header, few: int) -> _Standing:
        """Walk until the files are accepted or declined; return those that need another window."""
        parked = []
        left = len(standing.row)
        while left > few:
            usual = self._usual_step(standing, found)
            if (left - np.count_nonzero(usual)) * WAITING < left:
                continue
            waiting = np.flatnonzero(~(usual | standing.is_done))
            parked.append(self._step(standing, waiting, found))
            is_done = standing.is_done
            left = len(is_done) - np.count_nonzero(is_done)
            if left * 8 < len(is_done) * 7:
                standing = standing.chosen(np.flatnonzero(~is_done))
        if not parked:
            return standing.chosen(np.zeros(0, dtype=np.int64))
        return _Standing(
            *(
                np.concatenate([getattr(part, one.name) for part in parked])
                for one in fields(_Standing)
                if one.init
            )
        )

    def _usual_step(self, standing: _Standing, found: _Header) -> Flags:
        """Move the files that stand at a usual element behind it; which ones they were.

        Usual is a value of short, even length within the window, in order, not beyond the wanted
        tags, and of the VR of the dictionary where it is wanted.
        """
        heads = self.heads[standing.at].view("<u8")
        low = heads.astype(np.uint32)
        tag = low << np.uint32(16)
        tag |= low >> np.uint32(16)
        size = (heads >> standing.shift).view(np.int64)
        following = size >> 1
        following += standing.at
        following += 4
        usual = tag > standing.floor
        usual &= tag <= self.table.last
        usual &= following <= standing.limit
        usual &= (size & 1) == 0
        usual &= _IS_SHORT.take(standing.vrs + heads.view("<u2")[2::4])
        slot = self.table.slots.take(_hash(tag))
        hit = np.flatnonzero((slot >= 0) & usual)
        place = slot.take(hit)
        kinds = self.table.kinds.take(standing.kinds.take(hit) + place)
        is_wanted = heads.take(hit) & standing.mask.take(hit) == kinds
        if not is_wanted.all():
            # Another tag of the same hash, a wanted one of another VR or one within an item is for
            # the next longer step.
            usual[hit[~is_wanted]] = False
            hit, place = hit[is_wanted], place[is_wanted]
        cell = place * np.int64(found.places.shape[1])
        cell += standing.row.take(hit)
        place = size.take(hit)
        place <<= 32
        begin = standing.at.take(hit)
        begin += begin
        begin += 8
        place |= begin
        found.places.reshape(-1)[cell] = place
        np.copyto(standing.floor, tag, where=usual)
        np.copyto(standing.at, following, where=usual)
        return usual

    def _step(self, standing: _Standing, few: Places, found: _Header) -> _Standing:
        """Move some files by one element of any kind; those that need another window are
        returned, standing at the element with which it has to begin."""
        now = standing.chosen(few)
        at = self._element(now.at, now.depth, now.layout)
        top = now.depth == 0
        bad = at.is_wrong | (top & (at.is_item | (at.tag <= now.floor)))
        cut = self._note(found, now, at, top, bad)
        ends = self._ends(found, now, at, top, bad)
        found.accepted[now.row[ends]] = True
        leaves = ~bad & ~ends & (cut | (at.next > now.limit))
        opens = top & at.is_undefined
        np.copyto(now.resume, at.tag, where=opens)
        np.copyto(now.opened, now.at, where=opens)
        floor = np.where(top & ~opens, at.tag, now.resume)
        # Within a sequence stand items, which are never usual.
        is_inside = at.depth > 0
        floor[is_inside] = np.where(at.depth[is_inside] & 1, NO_TAG, 0)
        moves = ~cut
        np.copyto(now.at, at.next, where=moves)
        np.copyto(now.floor, floor, where=moves)
        np.copyto(now.depth, at.depth, where=moves)
        standing.at[few], standing.floor[few], standing.depth[few] = now.at, now.floor, now.depth
        standing.opened[few], standing.resume[few] = now.opened, now.resume
        standing.kinds[few] = _kinds(now.layout, now.depth)
        finished = few[bad | ends | leaves]
        standing.is_done[finished] = True
        standing.floor[finished] = NO_TAG
        standing.at[finished] = 0
        return self._leaving(now, np.flatnonzero(leaves))

    def _ends(self, found: _Header, now: _Standing, at: _Element, top: Flags, bad: Flags) -> Flags:
        """Which files have reached their end: an element beyond the wanted tags that cannot be
        mistaken, or the second one. Bad is a file that cannot hold such an element."""
        ends = top & (at.tag > self.table.last) & ~bad
        few = np.flatnonzero(ends)
        if not len(few):
            return ends
        windows = self.windows
        window, tag, is_undefined = now.window[few], at.tag[few], at.is_undefined[few]
        following, pixels = 2 * at.next[few], _is_pixels(tag)
        windows.measure(window[~is_undefined & ~pixels & (following >= windows.until[window])])
        end = windows.end[window]
        fits = (following <= end) | is_undefined | pixels
        fits &= self._is_plausible(tag, at.vr[few], is_undefined, now.layout[few])
        bad[few[~fits]] = True
        is_first = found.stop[now.row[few]] == 0
        found.stop[now.row[few[is_first]]] = 2 * now.at[few[is_first]]
        # A damaged tag can look like an end; what follows it would then be out of order.
        is_sure = (is_undefined & (at.group[few] & 1 == 0)) | pixels | (following == end)
        ends[few] = fits & (is_sure | ~is_first)
        return ends

    def _leaving(self, now: _Standing, leaves: Places) -> _Standing:
        """Files that go on in another window, which begins with the sequence they stand in,
        so that its first item is found in one piece; those at the end of their file drop out."""
        now = now.chosen(leaves)
        if not len(leaves):
            return now
        is_wanted = (now.depth > 0) & (now.resume <= self.table.last)
        back = np.flatnonzero(is_wanted & (2 * now.opened > now.window * STRIDE))
        now.at[back] = now.opened[back]
        now.depth[back] = 0
        now.floor[back] = now.resume[back] - 1
        return now.chosen(np.flatnonzero(2 * now.at + 8 <= self.windows.end[now.window]))

    def _is_plausible(
        self, tag: Tags, vr: NDArray[np.uint16], is_undefined: Flags, layout: Places
    ) -> Flags:
        """Whether elements beyond the wanted tags are such as a file can hold there."""
        kinds = (((tag.astype(np.int64) << 16) | vr) << 3) | (layout << 1) | is_undefined
        known, place = np.unique(kinds, return_inverse=True)
        plausible = [
            syntax.is_plausible(kind >> 19, _vr(kind >> 3 & 0xFFFF, kind >> 1 & 3), bool(kind & 1))
            for kind in known.tolist()
        ]
        return np.array(plausible, dtype=bool)[place]

    def _note(self, found: _Header, now: _Standing, at: _Element, top: Flags, bad: Flags) -> Flags:
        """Record the wanted elements, and tell the files in which the end of the window cuts one.

        Bad is a file in which a wanted element has another VR, or is longer than a window.
        """
        cut = np.zeros(len(bad), dtype=bool)
        slot = self.table.slots.take(_hash(at.tag))
        hit = np.flatnonzero(top & (slot >= 0))
        hit = hit[self.table.tags[slot[hit]] == at.tag[hit]]
        if not len(hit):
            return cut
        place, window = slot[hit], now.window[hit]
        is_flat = place < found.flat_count
        is_cut = 2 * at.next[hit] > self.windows.until[window]
        is_whole_window = 2 * now.at[hit] == window * STRIDE
        wrong = ~self._is_of_its_vr(place, at.vr[hit], now.layout[hit])
        wrong |= is_flat & (at.is_undefined[hit] | (is_cut & is_whole_window))
        bad[hit[wrong]] = True
        cut[hit[is_cut & ~is_whole_window & ~wrong]] = True
        row = now.row[hit]
        found.begin[place, row] = at.value[hit]
        found.length[place, row] = np.where(at.is_undefined[hit], -2, at.length[hit])
        return cut

    def _is_of_its_vr(
        self, place: NDArray[np.int8], vr: NDArray[np.uint16], layout: Places
    ) -> Flags:
        """Whether wanted elements have the VR of the dictionary, where there is one."""
        return (self.table.vrs[layout, place] == vr) | (layout == IMPLICIT)

    def first_items(
        self,
        files: int,
        rows: Places,
        layout: Places,
        begin: NDArray[np.int32],
        length: NDArray[np.int32],
    ) -> _Header:
        """First item of a sequence of each file; accepted where it is sound, or there is no such
        item.

        `begin` and `length` of the sequence by file; its length is -1 where there is none and -2
        where it is undefined. `layout` is that of the files numbered in `rows`.
        """
        found = self._empty(files)
        found.accepted[:] = True
        chosen = np.flatnonzero((length[rows] > 0) | (length[rows] == -2))
        layouts = np.zeros(files, dtype=np.int64)
        layouts[rows] = layout
        row = rows[chosen]
        start, size = begin[row].astype(np.int64), length[row].astype(np.int64)
        until = self.windows.until[start // STRIDE]
        # A sequence of undefined length ends somewhere in the window.
        last = np.where(size < 0, until, start + size)
        fits = start + 8 <= until
        found.accepted[row[~fits]] = False
        row, start, until, last = (x[fits] for x in (row, start, until, last))
        head = self._element(start >> 1, np.ones(len(row), dtype=np.int32), layouts[row])
        # An empty sequence of undefined length begins with its own end.
        is_item = head.tag == syntax.ITEM
        found.accepted[row[~is_item & (head.tag != syntax.SEQUENCE_END)]] = False
        row, start, until, last, size = (
            x[is_item] for x in (row, start + 8, until, last, head.length)
        )
        is_open = size == syntax.UNDEFINED
        end = np.where(is_open, last, start + size)
        inside = (end <= last) & (end <= until)
        is_empty = ~is_open & (start == end)
        found.accepted[row] = inside & is_empty
        left = inside & ~is_empty
        row, at, end, is_open = (x[left] for x in (row, start >> 1, end, is_open))
        depth = np.zeros(len(row), dtype=np.int32)
        floor = np.zeros(len(row), dtype=np.uint32)
        while len(row):
            now = self._element(at, depth, layouts[row])
            top = depth == 0
            end_here = top & (now.tag == syntax.ITEM_END) & is_open
            bad = now.is_wrong | (top & ~end_here & (now.is_item | (now.tag <= floor)))
            bad |= 2 * now.next > end
            # An item with a character set of its own is a matter for pydicom.
            bad |= top & (now.tag == CHARACTER_SET)
            self._note_item(found, row, now, layouts[row], top & ~end_here, bad)
            is_last = ~is_open & (2 * now.next == end) & (now.depth == 0)
            good = (end_here | is_last) & ~bad
            found.accepted[row[good]] = True
            keep = np.flatnonzero(~(good | bad) & (2 * now.next + 8 <= end))
            floor = np.where(top & ~now.is_item, now.tag, floor)[keep]
            row, at, depth = row[keep], now.next[keep], now.depth[keep]
            end, is_open = end[keep], is_open[keep]
        return found

    def file_meta(self, files: int, rows: Places, start: Places, end: Places) -> _Header:
        """File meta of some of the files, from one place to another; accepted where sound."""
        found = self._empty(files)
        row, at = rows, start >> 1
        floor = np.zeros(len(start), dtype=np.uint32)
        while len(row):
            layout, top = np.full(len(row), LITTLE), np.ones(len(row), dtype=bool)
            now = self._element(at, np.zeros(len(row), dtype=np.int32), layout)
            bad = now.is_wrong | now.is_undefined | (now.group != 2) | (now.tag <= floor)
            bad |= 2 * now.next > end
            self._note_item(found, row, now, layout, top, bad)
            done = ~bad & (2 * now.next == end)
            found.accepted[row[done]] = True
            keep = np.flatnonzero(~(bad | done))
            row, at, end, floor = row[keep], now.next[keep], end[keep], now.tag[keep]
        return found

    def _note_item(
        self, found: _Header, row: Places, at: _Element, layout: Places, top: Flags, bad: Flags
    ) -> None:
        """Record wanted elements that are known to lie within the window."""
        slot = self.table.slots.take(_hash(at.tag))
        hit = np.flatnonzero(top & (slot >= 0))
        hit = hit[self.table.tags[slot[hit]] == at.tag[hit]]
        place = slot[hit]
        bad[hit[~self._is_of_its_vr(place, at.vr[hit], layout[hit])]] = True
        bad[hit[at.is_undefined[hit]]] = True
        found.begin[place, row[hit]] = at.value[hit]
        found.length[place, row[hit]] = at.length[hit]

    def _empty(self, files: int) -> _Header:
        width = len(self.table.tags)
        return _Header(
            np.full((width, files), ABSENT, dtype=np.int64),
            np.zeros(files, dtype=np.int64),
            np.zeros(files, dtype=bool),
            len(self.table.wanted),
        )

    def _element(self, at: Places, within: NDArray[np.int32], layout: Places) -> _Element:
        """The element at each word, which is so deeply nested."""
        words = self.heads[at].view("<u2").reshape(-1, 4)
        group, element, vr, size = (words[:, n] for n in range(4))
        tag = (group.astype(np.uint32) << 16) | element
        is_item = group == syntax.ITEM_GROUP
        is_big, kind = layout == BIG, vr + (layout << 16)
        is_long = _IS_LONG.take(kind)
        is_long &= ~is_item
        is_wide = is_item | (layout == IMPLICIT)
        length = size.astype(np.int64)
        wide = np.flatnonzero(is_wide)
        length[wide] = _wide(vr[wide], size[wide], is_big[wide])
        far = np.flatnonzero(is_long)
        first, second = (self.words.take(at[far] + n, mode="clip") for n in (4, 5))
        length[far] = _wide(first, second, is_big[far])
        is_wrong = ~(is_long | is_wide | _IS_SHORT.take(kind))
        is_undefined = length == syntax.UNDEFINED
        # Its content has implicit VRs: a matter for the patient reader.
        is_wrong |= is_undefined & _IS_UNKNOWN.take(kind) & ~is_wide
        ends_item, ends_sequence = tag == syntax.ITEM_END, tag == syntax.SEQUENCE_END
        depth = within + is_undefined - (ends_item | ends_sequence)
        # Sequences hold items and items hold elements: depth is odd within a sequence.
        within_item = within & 1 == 0
        is_wrong |= np.where(within_item, is_item & ~ends_item, ~is_item | ends_item)
        is_wrong |= (ends_item | ends_sequence) & (length != 0)
        is_wrong |= (depth < 0) & ~((within == 0) & ends_item)
        is_wrong |= ~is_undefined & (length & 1 == 1)
        value = at + np.where(is_long, 6, 4)
        following = value + np.where(is_undefined, 0, length >> 1)
        return _Element(
            group, element, tag, vr, length, 2 * value, is_item, is_undefined, is_wrong, depth,
            following,
        )  # fmt: skip


def _wide(first: NDArray[np.uint16], second: NDArray[np.uint16], is_big: Flags) -> Places:
    """Lengths of four bytes, from two words in the order of the file."""
    high, low = np.where(is_big, first, second), np.where(is_big, second, first)
    return (high.astype(np.int64) << 16) | low


def _is_pixels(tag: Tags) -> Flags:
    return (tag >= min(syntax.PIXELS)) & (tag <= max(syntax.PIXELS))
