"""Damaged DICOM files, and what the fast readers make of them.

    python -m tests.dicom_damage --malformed 5000     every kind of damage in turn
    python -m tests.dicom_damage --minutes 10         mutants of headers, for so long

Prints a line per kind: files, how many of them each reader accepts, values that differ from
pydicom's, and apart from these ("behind") wanted elements that stand out of order behind the first
one beyond the wanted tags, where no fast reader looks. The exit code is 1 where a value differs.
Same seed, same files.
"""

import argparse
import random
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement

from benchmarks.dicom_corpus import (
    BIG,
    DEFLATED,
    EXPLICIT,
    FAMILIES,
    IMPLICIT,
    deflated,
    encoded,
    instance_of,
    series,
)
from tests.dicom_readers import READERS, Difference, compared
from tests.dicom_samples import sample_files

SEED = 20201016
BATCH = 400
# More than a length of two bytes can claim, so that a wrong one ends in pixels.
PIXELS = 70_000
SYNTAXES = (EXPLICIT, EXPLICIT, IMPLICIT, BIG, DEFLATED)
JPIP = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
PRIVATE_SYNTAXES = ("1.2.840.113619.5.2", "1.3.6.1.4.1.99999.1", "2.25.31415926")


@dataclass(frozen=True)
class Element:
    """A top-level element of defined length: where its header and its value begin."""

    head: int
    value: int
    length: int
    is_short: bool


@dataclass(frozen=True)
class Base:
    """A sound file, not yet deflated, with random pixels; and its elements before them."""

    data: bytes
    syntax: str
    elements: tuple[Element, ...]

    @property
    def start(self) -> int:
        """Where the data set begins."""
        return 144 + struct.unpack_from("<I", self.data, 140)[0]

    @property
    def order(self) -> str:
        """Byte order of the data set, as struct has it."""
        return ">" if self.syntax == BIG else "<"

    @property
    def is_implicit(self) -> bool:
        """Whether elements have no VR."""
        return self.syntax == IMPLICIT

    def final(self, data: bytes) -> bytes:
        """Bytes as a file: deflated where the transfer syntax says so."""
        return deflated(data) if self.syntax == DEFLATED and len(data) > 144 else data

    def pixels_at(self) -> int:
        """Where the pixel data element begins."""
        return len(self.data) - PIXELS - (8 if self.is_implicit else 12)


def bases(rng: random.Random) -> list[Base]:
    """Sound files of every family that has pixels and of every byte order."""
    found = []
    for family in FAMILIES:
        for syntax in SYNTAXES if family.modality != "SR" else ():
            # Written as explicit; what is to be deflated is deflated after it was damaged.
            head = encoded(series(family, rng), syntax)
            plain = EXPLICIT if syntax == DEFLATED else syntax
            data = instance_of(head, plain, rng.randrange(10**6), rng.randrange(1, 300))
            data = data[:-4] + struct.pack(">I" if syntax == BIG else "<I", PIXELS)
            data += rng.randbytes(PIXELS)
            found.append(Base(data, syntax, tuple(_elements(data, syntax))))
    return found


def _elements(data: bytes, syntax: str) -> Iterator[Element]:
    if syntax == DEFLATED:
        uid = EXPLICIT.encode() + b"\0"
        data = _with_syntax(data, uid)
    file = BytesIO(data)
    shift = 2 if syntax == DEFLATED else 0
    for raw in pydicom.dcmread(file, stop_before_pixels=True).values():
        if isinstance(raw, RawDataElement) and raw.length not in (0, 0xFFFFFFFF):
            long = raw.VR in ("OB", "OW", "SQ", "UN", "UT") and syntax != IMPLICIT
            value = raw.value_tell + shift
            yield Element(value - (12 if long else 8), value, raw.length, not long)


def _with_syntax(data: bytes, uid: bytes | None) -> bytes:
    """Another transfer syntax in the file meta, or none; nothing else is changed."""
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    at = data.index(struct.pack("<HH2s", 2, 0x10, b"UI"), 132)
    length = struct.unpack_from("<H", data, at + 6)[0]
    new = b"" if uid is None else struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    meta = data[144:at] + new + data[at + 8 + length : start]
    return data[:140] + struct.pack("<I", len(meta)) + meta + data[start:]


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def _short(base: Base, rng: random.Random) -> Element:
    return rng.choice([e for e in base.elements if e.is_short and e.length >= 4])


def _with_length(base: Base, element: Element, length: int) -> bytes:
    """Another length in the header of an element, its value as it was."""
    code, at = ("I", element.value - 4) if base.is_implicit else ("H", element.value - 2)
    packed = struct.pack(base.order + code, length)
    return base.data[:at] + packed + base.data[at + len(packed) :]


def _inserted(base: Base, at: int, piece: bytes) -> bytes:
    return base.data[:at] + piece + base.data[at:]


def header_truncated(base: Base, rng: random.Random) -> bytes:
    data = base.final(base.data)
    return data[: rng.randrange(132, min(base.pixels_at(), len(data)))]


def pixels_truncated(base: Base, rng: random.Random) -> bytes:
    return base.final(base.data[: rng.randrange(base.pixels_at() + 12, len(base.data))])


def no_preamble(base: Base, rng: random.Random) -> bytes:
    return base.final(base.data)[rng.choice([128, 132]) :]


def no_file_meta(base: Base, rng: random.Random) -> bytes:
    return rng.choice([b"", b"\0" * 128 + b"DICM"]) + base.data[base.start :]


def unknown_vr(base: Base, rng: random.Random) -> bytes:
    if base.is_implicit:
        return base.data
    at = _short(base, rng).head + 4
    return base.final(base.data[:at] + rng.choice([b"ZZ", b"??", b"ui"]) + base.data[at + 2 :])


def length_ffff(base: Base, rng: random.Random) -> bytes:
    return base.final(_with_length(base, _short(base, rng), 0xFFFF))


def zeros(base: Base, rng: random.Random) -> bytes:
    return b"\0" * rng.choice([0, 1, 132, 400, rng.randrange(4000)])


def plain_text(base: Base, rng: random.Random) -> bytes:
    return b"This is no image, but somebody put it there.\r\n" * rng.randrange(1, 300)


def syntax_lies(base: Base, rng: random.Random) -> bytes:
    true = EXPLICIT if base.syntax == DEFLATED else base.syntax
    claimed = rng.choice([one for one in (EXPLICIT, IMPLICIT, BIG, DEFLATED) if one != true])
    return _with_syntax(base.data, _uid(claimed))


def length_one(base: Base, rng: random.Random) -> bytes:
    return base.final(_with_length(base, _short(base, rng), 1))


def syntax_missing(base: Base, rng: random.Random) -> bytes:
    return _with_syntax(base.data, None)


def unknown_of_undefined_length(base: Base, rng: random.Random) -> bytes:
    """A UN value of undefined length, which holds an implicit item, before the last wanted tag."""
    item = struct.pack("<HHI", 8, 0x100, 4) + b"CODE"
    if rng.random() < 0.5:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    else:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + item
        item += struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    item += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    group, order = 0x0031, base.order
    if base.is_implicit:
        creator = struct.pack("<HHI", group, 0x10, 6) + b"MAKER "
        head = struct.pack("<HHI", group, 0x1001, 0xFFFFFFFF)
    else:
        creator = struct.pack(order + "HH2sH", group, 0x10, b"LO", 6) + b"MAKER "
        head = struct.pack(order + "HH2sHI", group, 0x1001, b"UN", 0, 0xFFFFFFFF)
    return base.final(_inserted(base, _place_of_group_31(base), creator + head + item))


def _place_of_group_31(base: Base) -> int:
    before = [e for e in base.elements if _tag(base, e) >> 16 < 0x31]
    return before[-1].value + before[-1].length


def _tag(base: Base, element: Element) -> int:
    group, number = struct.unpack_from(base.order + "HH", base.data, element.head)
    return group << 16 | number


def garbage_after_pixels(base: Base, rng: random.Random) -> bytes:
    return base.final(base.data) + rng.randbytes(rng.randrange(1, 5000))


def wrong_length_in_pixels(base: Base, rng: random.Random) -> bytes:
    """A length too large, so that the next element would begin among random pixels."""
    element = _short(base, rng)
    least = min(base.pixels_at() + 12 - element.value, 60_000)
    return base.final(_with_length(base, element, rng.randrange(least, 65_535) & ~1))


def duplicate_tag(base: Base, rng: random.Random) -> bytes:
    element = rng.choice(base.elements)
    end = element.value + element.length
    return base.final(_inserted(base, end, base.data[element.head : end]))


def descending_tags(base: Base, rng: random.Random) -> bytes:
    element = rng.choice(base.elements)
    other = rng.choice(base.elements)
    end = element.value + element.length
    piece = base.data[element.head : end]
    at = other.value + other.length
    if at <= element.head:
        return base.final(base.data[:at] + piece + base.data[at : element.head] + base.data[end:])
    return base.final(base.data[: element.head] + base.data[end:at] + piece + base.data[at:])


def odd_length(base: Base, rng: random.Random) -> bytes:
    """A value that is one byte longer, and says so."""
    element = _short(base, rng)
    data = _with_length(base, element, element.length + 1)
    end = element.value + element.length
    return base.final(data[:end] + rng.choice([b" ", b"\0", b"x"]) + data[end:])


def delimiter_at_the_top(base: Base, rng: random.Random) -> bytes:
    number, length = rng.choice([(0xE00D, 0), (0xE0DD, 0), (0xE000, 0), (0xE000, 0xFFFFFFFF)])
    piece = struct.pack(base.order + "HHI", 0xFFFE, number, length)
    return base.final(_inserted(base, rng.choice(base.elements).head, piece))


def private_syntax(base: Base, rng: random.Random) -> bytes:
    return _with_syntax(base.data, _uid(rng.choice(PRIVATE_SYNTAXES)))


def jpip_deflate(base: Base, rng: random.Random) -> bytes:
    data = _with_syntax(base.data, _uid(rng.choice(JPIP)))
    return deflated(data) if rng.random() < 0.5 else data


def long_private_value(base: Base, rng: random.Random) -> bytes:
    """Sound, but with a private value around the length of a window before the last wanted."""
    length = rng.choice([8192, 16_384, 70_000]) + 2 * rng.randrange(-300, 300)
    order = base.order
    if base.is_implicit:
        creator = struct.pack("<HHI", 0x31, 0x10, 6) + b"MAKER "
        head = struct.pack("<HHI", 0x31, 0x1001, length)
    else:
        creator = struct.pack(order + "HH2sH", 0x31, 0x10, b"LO", 6) + b"MAKER "
        head = struct.pack(order + "HH2sHI", 0x31, 0x1001, b"OB", 0, length)
    piece = creator + head + rng.randbytes(length)
    return base.final(_inserted(base, _place_of_group_31(base), piece))


Kind = Callable[[Base, random.Random], bytes]
MALFORMED: tuple[Kind, ...] = (
    header_truncated, pixels_truncated, no_preamble, no_file_meta, unknown_vr, length_ffff, zeros,
    plain_text, syntax_lies, length_one, syntax_missing, unknown_of_undefined_length,
    garbage_after_pixels, wrong_length_in_pixels, duplicate_tag, descending_tags, odd_length,
    delimiter_at_the_top, private_syntax, jpip_deflate, long_private_value,
)  # fmt: skip


def malformed(count: int, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """So many files, each kind of damage in turn: name of the kind and content."""
    rng = random.Random(f"{seed} malformed")
    sound = bases(rng)
    for kind in islice(cycle(MALFORMED), count):
        yield kind.__name__, kind(rng.choice(sound), rng)


def mutants(seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """Endless: headers with one to four faults, of sound files and of the samples of packages."""
    rng = random.Random(f"{seed} mutants")
    sound = bases(rng)
    samples = [p.read_bytes()[:200_000] for p in sample_files()]
    samples = [content for content in samples if content[128:132] == b"DICM"]
    while True:
        if rng.random() < 0.5:
            yield "bytes_of_a_sample", with_faults(rng.choice(samples), rng)
            continue
        base = rng.choice(sound)
        if rng.random() < 0.5:
            yield "bytes", base.final(with_faults(base.data, rng))
            continue
        data = bytearray(base.data)
        for _ in range(rng.choice([1, 1, 2, 3])):
            _change_head(data, base, rng)
        yield "element", base.final(bytes(data))


def _change_head(data: bytearray, base: Base, rng: random.Random) -> None:
    """Change tag, VR or length of an element, or bytes of its value; nothing moves."""
    element = rng.choice(base.elements)
    at = element.head
    match rng.randrange(6):
        case 0:
            at += 2 * rng.randrange(2)
            old = struct.unpack_from(base.order + "H", data, at)[0]
            changed = (old + rng.choice([-8, -1, 1, 2, 0x100, 0x1000])) & 0xFFFF
            data[at : at + 2] = struct.pack(base.order + "H", changed)
        case 1:
            vr = rng.choice([b"UN", b"SQ", b"OB", b"LO", b"US", b"UT", rng.randbytes(2)])
            data[at + 4 : at + 6] = vr
        case 2:
            change = rng.choice([-2, 2, 4, -4, 1, 256, 4096])
            length = (element.length + change) & 0xFFFF
            data[at + 6 : at + 8] = struct.pack(base.order + "H", length)
        case 3:
            other = rng.choice(base.elements)
            data[at : at + 4] = base.data[other.head : other.head + 4]
        case 4:
            item = rng.choice([0xE000, 0xE00D, 0xE0DD])
            data[at : at + 8] = struct.pack(base.order + "HHI", 0xFFFE, item, rng.choice([0, 8]))
        case 5:
            value = rng.randbytes(min(element.length, 8))
            data[element.value : element.value + len(value)] = value


def with_faults(data: bytes, rng: random.Random) -> bytes:
    """A copy with one to four faults within its first kilobytes, wherever they fall."""
    copy = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        end = min(len(copy) - 1, rng.choice([600, 1500, 3000, 8000]))
        if end <= 140:
            break
        at = rng.randrange(132, end)
        match rng.randrange(7):
            case 0:
                copy[at] = rng.randrange(256)
            case 1:
                copy[at : at + 2] = struct.pack("<H", rng.randrange(1 << 16))
            case 2:
                copy[at : at + 4] = b"\xff\xff\xff\xff"
            case 3:
                del copy[at : at + rng.choice([1, 2, 4, 8])]
            case 4:
                copy[at:at] = rng.randbytes(rng.choice([1, 2, 8]))
            case 5:
                del copy[at:]
            case 6:
                copy[at : at + 8] = copy[at - 8 : at]
    return bytes(copy)


@dataclass
class Tally:
    """What came of damaged files: files and accepted ones by kind and reader, differences."""

    files: Counter[str] = field(default_factory=Counter)
    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    different: list[tuple[str, str, Difference]] = field(default_factory=list)
    behind: list[tuple[str, str, Difference]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """A line per kind."""
        yield (
            f"{'kind':<30}{'files':>8}"
            + "".join(f"{name:>14}" for name in READERS)
            + "  differ  behind"
        )
        for kind, count in sorted(self.files.items()):
            counts = "".join(f"{self.accepted[kind, reader]:>14,}" for reader in READERS)
            differ, behind = (
                sum(1 for one, _, _ in found if one == kind)
                for found in (self.different, self.behind)
            )
            yield f"{kind:<30}{count:>8,}{counts}{differ:>8}{behind:>8}"


def compare(files: Iterable[tuple[str, bytes]], folder: Path, tally: Tally) -> None:
    """Read damaged files with every fast reader and hold what these accept against pydicom."""
    batch = []
    for number, (kind, content) in enumerate(files):
        path = folder / f"{number:05d}.dcm"
        path.write_bytes(content)
        batch.append((path, kind))
    tally.files.update(kind for _, kind in batch)
    kinds = dict(batch)
    for name, reader in READERS.items():
        found = reader(list(kinds))
        tally.accepted.update((kinds[path], name) for path in found)
        for differ, known in zip(compared(found), (tally.different, tally.behind), strict=True):
            known.extend((kinds[folder / one[0]], name, one) for one in differ)


def run(files: Iterable[tuple[str, bytes]], folder: Path, until: float = float("inf")) -> Tally:
    """Compare batch by batch, no further than to an instant of the monotonic clock."""
    tally, rest = Tally(), iter(files)
    while time.monotonic() < until and (batch := list(islice(rest, BATCH))):
        compare(batch, folder, tally)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--malformed", type=int, default=0, help="so many malformed files")
    parser.add_argument("--minutes", type=float, default=0, help="mutants for so long")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        until = time.monotonic() + arguments.minutes * 60
        tallies = [
            run(malformed(arguments.malformed, arguments.seed), Path(folder)),
            run(mutants(arguments.seed), Path(folder), until),
        ]
    for tally in tallies:
        for line in tally.lines() if tally.files else ():
            sys.stdout.write(line + "\n")
        for kind, reader, difference in tally.different[:20]:
            sys.stdout.write(f"different: {kind} {reader} {difference}\n")
    return int(any(tally.different for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
