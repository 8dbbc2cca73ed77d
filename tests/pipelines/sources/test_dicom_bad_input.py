"""Files as a broken disk, transfer or sender leaves them: each a named reason, the others read."""

import errno
import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from pipelines.sources.dicom_headers import Named, read_headers
from pipelines.sources.dicom_headers import read as reader
from pipelines.sources.dicom_headers.read import files_below, path_of_text, text_of_path
from tests.dicom_samples import GOOD, sample_files, written

Make = Callable[[Path], Path]
EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"


def after_meta(data: bytes) -> int:
    return 144 + struct.unpack_from("<I", data, 140)[0]


def with_content(folder: Path, change: Callable[[bytes], bytes]) -> Path:
    path = written(folder, name="bad.dcm", Rows=512, StationName="CT1", PatientID="H1")
    path.write_bytes(change(path.read_bytes()))
    return path


def before(data: bytes, element: bytes) -> bytes:
    """A file with one more element at the head of its data set."""
    return data[: after_meta(data)] + element + data[after_meta(data) :]


def nested(depth: int) -> bytes:
    one = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF)
    return (one + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


def many(count: int) -> bytes:
    return b"".join(struct.pack("<HH2sH", 9, 0x1000 + n % 256, b"LO", 0) for n in range(count))


def huge(size: int) -> Make:
    def make(folder: Path) -> Path:
        path = with_content(folder, lambda data: data)
        os.truncate(path, size)
        return path

    return make


def zeros(folder: Path) -> Path:
    path = folder / "bad.dcm"
    path.touch()
    os.truncate(path, 1 << 40)
    return path


def loop(folder: Path) -> Path:
    path = folder / "bad.dcm"
    path.symlink_to(path)
    return path


def to_nowhere(folder: Path) -> Path:
    path = folder / "bad.dcm"
    path.symlink_to(folder / "gone")
    return path


def pipe(folder: Path) -> Path:
    path = folder / "bad.dcm"
    os.mkfifo(path)
    return path


def folder_link(folder: Path) -> Path:
    path = folder / "bad.dcm"
    path.symlink_to(folder)
    return path


BAD: dict[str, tuple[Make, str]] = {
    "zero bytes": (lambda f: with_content(f, lambda _: b""), "empty file"),
    "text": (lambda f: with_content(f, lambda _: b"Dear all,\n" * 99), "not a DICOM header"),
    "truncated": (lambda f: with_content(f, lambda d: d[:-90]), "header incomplete"),
    "truncated in its meta": (lambda f: with_content(f, lambda d: d[:150]), "not a DICOM header"),
    "no preamble, no meta, cut": (
        lambda f: with_content(f, lambda d: d[after_meta(d) : after_meta(d) + 60]),
        "header incomplete",
    ),
    "a value of gigabytes": (
        lambda f: with_content(
            f,
            lambda d: d[: after_meta(d)] + struct.pack("<HH2sHI", 8, 8, b"OB", 0, 0xFFFFFFF0),
        ),
        "not",
    ),
    "an undefined length of a plain value": (
        lambda f: with_content(
            f,
            lambda d: before(d, struct.pack("<HH2sHI", 8, 8, b"OB", 0, 0xFFFFFFFF)),
        ),
        "not readable: TypeError",
    ),
    "a sequence that never ends": (
        lambda f: with_content(
            f,
            lambda d: before(d, struct.pack("<HH2sHI", 9, 0x1001, b"SQ", 0, 0xFFFFFFFF)),
        ),
        "not readable: OSError",
    ),
    "another order of bytes than it says": (
        lambda f: with_content(f, lambda d: d.replace(EXPLICIT, b"1.2.840.10008.1.2.2\0", 1)),
        "not a DICOM header",
    ),
    "nesting 100,000 deep": (
        lambda f: with_content(f, lambda d: d[: after_meta(d)] + nested(100_000)),
        "not readable: RecursionError",
    ),
    "a million elements": (
        lambda f: with_content(f, lambda d: d[: after_meta(d)] + many(1_000_000)),
        "not readable: HeaderTooLong",
    ),
    "a header followed by a hole": (huge(1 << 38), "not readable: HeaderTooLong"),
    "a terabyte of nothing": (zeros, "not readable: HeaderTooLong"),
    "a pipe": (pipe, "not a regular file"),
    "a link to itself": (loop, "not readable: Too many levels of symbolic links"),
    "a link to nowhere": (to_nowhere, "not readable: No such file or directory"),
    "a link to a folder": (folder_link, "a folder"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_file_has_a_named_reason_and_the_others_are_read(tmp_path: Path, kind: str):
    """Failing means that one bad file stops the harvest, is lost, or lands."""
    make, reason = BAD[kind]
    folder = tmp_path / "files"
    folder.mkdir()
    first = written(folder, name="a.dcm", SOPInstanceUID="2.25.1")
    make(folder)
    last = written(folder, name="z.dcm", SOPInstanceUID="2.25.2")
    batch = read_headers([folder])
    assert batch.accepted["path"].to_list() == [str(first), str(last)]
    assert len(batch.rejected) == 1
    assert batch.rejected["reason"].item().startswith(reason)
    assert len(batch.rejected["content_sha"].item()) == 16


PEAK = """
import resource, sys
from pathlib import Path
from pipelines.sources.dicom_headers import read_headers
from tests.pipelines.sources.test_dicom_bad_input import BAD
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder, before, grown = Path(sys.argv[1]), None, {}
for number, (kind, (make, _)) in enumerate(BAD.items()):
    (folder / str(number)).mkdir()
    path, before = make(folder / str(number)), peak()
    assert len(read_headers([path]).rejected) == 1
    grown[kind] = peak() - before
print(max(grown.values()))
"""


def test_no_bad_file_takes_much_memory(tmp_path: Path):
    """Failing means that one small file fills the memory of the harvest."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAK, str(tmp_path)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 150_000, "kilobytes"


@pytest.mark.parametrize("where", ["preamble", "meta"])
def test_a_whole_header_without_preamble_or_meta_is_read_by_pydicom(tmp_path: Path, where: str):
    """Failing means that the images of an old archive are lost."""
    data = with_content(tmp_path, lambda d: d).read_bytes()
    start = 128 if where == "preamble" else after_meta(data)
    path = written(tmp_path, syntax=pydicom.uid.ImplicitVRLittleEndian)
    if where == "meta":
        data = path.read_bytes()
        start = after_meta(data)
    path.write_bytes(data[start + 4 * (where == "preamble") :])
    row = read_headers([path]).accepted.row(0, named=True)
    assert (row["reader"], row["sop_instance_uid"]) == ("pydicom", GOOD["SOPInstanceUID"])


def test_a_file_that_may_not_be_opened_is_rejected_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that missing rights stop a harvest, or files are passed over without a word.

    The rights of a file do not bind root, so that opening it is made to fail instead.
    """
    good = written(tmp_path, name="a.dcm")
    locked = written(tmp_path, name="b.dcm", SOPInstanceUID="2.25.2")
    honest = os.open

    def refused(path, *arguments, **named):
        if str(path) == str(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return honest(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refused)
    raw = reader.io.FileIO
    monkeypatch.setattr(
        reader.io, "FileIO", lambda path: raw(path, opener=lambda p, flags: refused(p, flags))
    )
    batch = read_headers([tmp_path])
    assert batch.accepted["path"].to_list() == [str(good)]
    assert batch.rejected["reason"].to_list() == ["not readable: Permission denied"]


def test_a_folder_that_may_not_be_listed_is_rejected_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that a whole folder of images is missing and nothing says so."""
    good = written(tmp_path, name="a.dcm")
    (tmp_path / "locked").mkdir()
    written(tmp_path / "locked", SOPInstanceUID="2.25.2")
    honest = os.scandir

    def refused(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", refused)
    batch = read_headers([tmp_path])
    assert batch.accepted["path"].to_list() == [str(good)]
    assert batch.rejected["reason"].to_list() == ["a folder that cannot be listed"]


@pytest.mark.filterwarnings("ignore")
def test_a_transfer_syntax_that_lies_is_left_to_pydicom(tmp_path: Path):
    """Failing means that a fast reader finds values where there are none."""
    path = with_content(tmp_path, lambda d: d.replace(EXPLICIT, IMPLICIT + b"\0\0", 1))
    row = read_headers([path]).accepted.row(0, named=True)
    assert (row["reader"], row["station_name"], row["rows"]) == ("pydicom", "CT1", "512")


# What is wrong in these does not touch the values: the header is read whole all the same.
HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "a value of odd length": lambda d: before(
        d, struct.pack("<HH2sH", 8, 5, b"CS", 9) + b"ISO_IR 10"
    ),
    "a transfer syntax nobody knows": lambda d: d.replace(EXPLICIT, b"1.2.3.4.5.6.7.8.9.1\0", 1),
    "an empty transfer syntax": lambda d: d.replace(EXPLICIT, bytes(20), 1),
    "an absurd length of its meta": lambda d: d[:140] + struct.pack("<I", 0xFFFFFFF0) + d[144:],
}


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.filterwarnings("ignore")
def test_a_fault_beside_the_values_costs_no_value(tmp_path: Path, kind: str):
    """Failing means that the images of a careless maker are lost, or read askew."""
    path = with_content(tmp_path, HARMLESS[kind])
    row = read_headers([path]).accepted.row(0, named=True)
    assert (row["station_name"], row["patient_id"], row["rows"]) == ("CT1", "H1", "512")


@pytest.mark.parametrize("tier", ["read_by_scanner", "read_by_pydicom"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_changes_while_it_is_read_is_read_once_more_then_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str, times: int
):
    """Failing means that half of one image and half of another land as one."""
    path = written(tmp_path, syntax=pydicom.uid.ImplicitVRLittleEndian)
    if tier == "read_by_pydicom":
        data = path.read_bytes()
        path.write_bytes(data[after_meta(data) :])
    good = written(tmp_path, name="b.dcm", SOPInstanceUID="2.25.2")
    honest, pread = getattr(reader, tier), os.pread
    attempts: list[int] = []
    waiting: list[int] = []

    def change() -> None:
        if waiting:
            os.utime(path, ns=(1, waiting.pop()))

    def attempt(file: Path, *arguments):
        if str(file) == str(path):
            attempts.append(1)
            waiting[:] = [len(attempts)] if len(attempts) <= times else []
        found = honest(file, *arguments)
        change()
        return found

    def changing_pread(*arguments):
        # The scanner has looked at the time of the file before its first read.
        change()
        return pread(*arguments)

    monkeypatch.setattr(reader, tier, attempt)
    if tier == "read_by_scanner":
        monkeypatch.setattr(os, "pread", changing_pread)
    batch = read_headers([tmp_path])
    assert len(attempts) == 2
    if times == 1:
        assert sorted(batch.accepted["path"]) == [str(path), str(good)]
    else:
        assert batch.accepted["path"].to_list() == [str(good)]
        assert batch.rejected["reason"].to_list() == ["changed while read"]


def test_a_file_that_vanishes_while_it_is_read_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that moving one file during a harvest stops it."""
    path = written(tmp_path, syntax=pydicom.uid.ImplicitVRLittleEndian)
    data = path.read_bytes()
    path.write_bytes(data[after_meta(data) :])
    honest = reader.read_by_scanner

    def vanishing(file: Path, tags):
        path.unlink()
        return honest(file, tags)

    monkeypatch.setattr(reader, "read_by_scanner", vanishing)
    reasons = read_headers([path]).rejected["reason"].to_list()
    assert reasons == ["not readable: No such file or directory"]


NAMES = [b"line\nbreak.dcm", b"tab\t.dcm", b"latin-\xe9.dcm", b"\xff\xfe.dcm", "öß.dcm".encode()]


def test_a_file_of_any_name_is_read_and_found_again_by_its_name(tmp_path: Path):
    """Failing means that one file name stops the harvest of a whole archive."""
    for number, name in enumerate(NAMES):
        made = written(tmp_path, SOPInstanceUID=f"2.25.{number + 1}")
        made.rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    batch = read_headers([tmp_path])
    assert len(batch.accepted) == len(NAMES)
    again = {os.fsencode(path_of_text(path).name) for path in batch.accepted["path"]}
    assert again == set(NAMES)
    assert all(path_of_text(path).is_file() for path in batch.accepted["path"])
    assert text_of_path("a/ö.dcm") == "a/ö.dcm"


def test_everything_below_a_folder_is_given_once_in_the_order_of_the_names(tmp_path: Path):
    """Failing means that files are passed over, or that two harvests cut a folder differently."""
    for name in ("b/2", "b/1", "a.dcm", "c/d/e", "a/x", ".hidden", "b/3.part"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [str(Path(path).relative_to(tmp_path)) for path in files_below(tmp_path)]
    assert names == ["a/x", "a.dcm", "b/1", "b/2", "c/d/e", "loop"]


def test_a_folder_with_the_name_of_a_file_is_read_as_the_files_below_it(tmp_path: Path):
    """Failing means that a folder of images is one reject, or that images change their order."""
    for number, name in enumerate(("b.dcm/2.dcm", "b.dcm/1.dcm", "a.dcm", "c.dcm", "away/d")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path, name=name, SOPInstanceUID=f"2.25.{number + 1}")
    (tmp_path / "b.dcm" / "3.dcm.part").touch()
    (tmp_path / "b.dcm" / "loop.dcm").symlink_to(tmp_path)
    (tmp_path / "link.dcm").symlink_to(tmp_path / "away")
    names = ["a.dcm", "b.dcm", "c.dcm", "link.dcm"]
    for sources in ([tmp_path / name for name in names], [f"{tmp_path}/{name}" for name in names]):
        batch = read_headers(sources)
        read = [str(Path(path).relative_to(tmp_path)) for path in batch.accepted["path"]]
        assert read == ["a.dcm", "b.dcm/1.dcm", "b.dcm/2.dcm", "c.dcm", "link.dcm/d"]
        assert batch.rejected["path"].to_list() == [str(tmp_path / "b.dcm" / "loop.dcm")]
        assert batch.rejected["reason"].to_list() == ["a folder that cannot be listed"]


def test_bytes_in_memory_give_what_the_file_gives(tmp_path: Path):
    """Failing means that a header out of a spool is read otherwise than from a file."""
    files = sample_files()[::7]
    named = [Named(str(path), path.read_bytes()) for path in files]
    ours, theirs = read_headers(named), read_headers(files)
    assert ours.accepted.equals(theirs.accepted, null_equal=True)
    assert ours.rejected.equals(theirs.rejected, null_equal=True)
    digest = hashlib.sha256(b"").digest()[:16]
    empty = read_headers([Named("x", b"")]).rejected.row(0, named=True)
    assert (empty["reason"], empty["content_sha"]) == ("empty file", digest)
