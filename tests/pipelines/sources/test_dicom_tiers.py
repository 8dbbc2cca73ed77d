"""The fast readers against pydicom: what they accept is what the file says, or they are no use."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipelines.sources.dicom_headers import read_headers
from pipelines.sources.dicom_headers import windows as windows_module
from pipelines.sources.dicom_headers.first_window import scan
from pipelines.sources.dicom_headers.reference import read_by_pydicom
from pipelines.sources.dicom_headers.scanner import Declined, read_by_scanner
from pipelines.sources.dicom_headers.windows import read_windows
from tests.dicom_readers import TAGS, by_scanner, by_window, complete, differences
from tests.dicom_samples import sample_files, written

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("reader", [by_window, by_scanner])
def test_a_fast_reader_gives_what_pydicom_gives_for_every_sample(reader):
    """Failing means that a station, a time or an identity differs from what the file says."""
    found = reader(sample_files())
    assert len(found) > 150
    assert differences(found) == []


def package_of(path: Path) -> str:
    packages = {"data_store": "pydicom-data", "pydicom": "pydicom", "nibabel": "nibabel"}
    packages["pynetdicom"] = "pynetdicom"
    return next(name for folder, name in packages.items() if folder in path.parts)


def test_every_sample_that_no_fast_reader_takes_is_listed_with_its_reason():
    """Failing means that the page on headers promises more, or less, than the readers do."""
    batch = read_headers(sample_files())
    refused = dict(zip(batch.rejected["path"], batch.rejected["reason"], strict=True))
    slow = batch.accepted.filter(reader="pydicom")["path"].to_list()
    expected = set()
    for path in sample_files():
        name = f"{package_of(path)}: {path.name}"
        if str(path) in slow:
            with pytest.raises(Declined) as declined:
                read_by_scanner(path, TAGS)
            expected.add(f"| {name} | pydicom | {declined.value} |")
        elif str(path) in refused and complete(path) is not None:
            expected.add(f"| {name} | refused | {refused[str(path)]} |")
    page = (Path(__file__).parents[3] / "docs" / "dicom_headers.md").read_text()
    listed = {line for line in page.splitlines() if " | pydicom | " in line or " | refused" in line}
    assert listed == expected


def raw_value(dataset: Dataset, tag: int) -> bytes | None:
    """The bytes of a value as pydicom found them; None where it is absent."""
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    if isinstance(element, RawDataElement):
        return element.value or b""
    values = element.value if isinstance(element.value, MultiValue) else [element.value or ""]
    return "\\".join(map(str, values)).encode("latin-1")


def test_the_bytes_of_every_wanted_value_are_those_that_pydicom_finds():
    """Failing means that a value is cut, shifted, or taken for another, before it is decoded."""
    files = sample_files()
    windows = read_windows(files)
    found = scan(windows, TAGS)
    compared = 0
    for number in found.accepted.nonzero()[0]:
        dataset = pydicom.dcmread(files[number], stop_before_pixels=True, force=True)
        levels: list[Dataset | None] = [dataset.file_meta] * len(TAGS.meta)
        levels += [dataset] * len(TAGS.flat)
        for sequence, item in TAGS.items.items():
            items = dataset[sequence].value if sequence in dataset else []
            levels += [items[0] if items else None] * len(item)
        for row, (wanted, level) in enumerate(zip(found.columns, levels, strict=True)):
            begin, length = int(found.begin[row][number]), int(found.length[row][number])
            ours = None if length < 0 else windows.flat[begin : begin + length].tobytes()
            theirs = None if level is None else raw_value(level, wanted.tag)
            where = (files[number].name, wanted.column)
            assert (ours is None) == (theirs is None), where
            assert (ours or b"").rstrip(b" \0") == (theirs or b"").rstrip(b" \0"), where
            compared += 1
    assert compared > 5_000


def test_of_the_samples_that_pydicom_reads_whole_nearly_all_need_no_pydicom():
    """Failing means that an archive is read at the speed of the slowest reader."""
    whole = [path for path in sample_files() if complete(path) is not None]
    readers = Counter(read_headers(whole).accepted["reader"].to_list())
    assert readers["first_window"] > 0
    assert readers["pydicom"] <= len(whole) * 0.05


def private(length: int) -> Dataset:
    """A data set with a private value of so many bytes before the last wanted tags."""
    dataset = Dataset()
    block = dataset.private_block(0x0029, "MAKER", create=True)
    block.add_new(0x10, "OB", b"\0" * length)
    return dataset


@pytest.mark.parametrize("length", [200, 8_000, 80_000])
def test_a_header_behind_large_private_values_is_read_whole(tmp_path: Path, length: int):
    """Failing means that the end of the exam of a whole maker is missing."""
    path = with_private_value(tmp_path, "a.dcm", length, PerformedStationAETitle="CT1")
    row = read_headers([path]).accepted.row(0, named=True)
    assert (row["reader"], row["performed_station_ae_title"], row["rows"]) == (
        "first_window",
        "CT1",
        "512",
    )


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.4.95",
    ],
)
def test_every_transfer_syntax_is_read(tmp_path: Path, uid: str):
    """Failing means that the images of an older or unusual scanner are lost."""
    path = written(tmp_path, syntax=uid, StationName="CT1", Rows=512)
    row = read_headers([path]).accepted.row(0, named=True)
    assert (row["transfer_syntax_uid"], row["station_name"], row["rows"]) == (uid, "CT1", "512")


def with_private_value(folder: Path, name: str, length: int, **values) -> Path:
    path = written(folder, name=name, Rows=512, **values)
    dataset = pydicom.dcmread(path)
    dataset.update(private(length))
    dataset.PixelData = b"\0" * 1000
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)
    return path


def test_a_file_that_changes_between_two_windows_is_not_read_in_parts(tmp_path: Path):
    """Failing means that a row holds the values of two images."""
    path = with_private_value(tmp_path, "a.dcm", 20_000, PerformedStationAETitle="CT1")
    windows = read_windows([path])
    with_private_value(tmp_path, "a.dcm", 20_000, PerformedStationAETitle="CT2", StationName="X")
    assert not scan(windows, TAGS).accepted.any()
    unchanged = read_windows([path])
    assert scan(unchanged, TAGS).accepted.all()


@pytest.mark.parametrize("length", [2_000, 20_000])
def test_a_file_that_vanishes_between_two_looks_stops_nothing(tmp_path: Path, length: int):
    """Failing means that moving one file during a harvest stops it."""
    path = with_private_value(tmp_path, "a.dcm", 200, PerformedStationAETitle="CT1")
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00541001 if length > 8192 else 0x00291020, "OB", b"\0" * length)
    dataset.add_new(0x00720002 if length > 8192 else 0x00291021, "LO", "later")
    dataset.save_as(path)
    windows = read_windows([path])
    path.unlink()
    assert scan(windows, TAGS).accepted.tolist() == [length < 8192]


def test_without_room_for_further_windows_the_scanner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failing means that files with large private values are lost where many come at once."""
    monkeypatch.setattr(windows_module, "SPARE", 0)
    paths = [
        with_private_value(tmp_path, "a.dcm", 20_000, SOPInstanceUID="2.25.1"),
        written(tmp_path, name="b.dcm", SOPInstanceUID="2.25.2", syntax="1.2.840.10008.1.2.1.99"),
        written(tmp_path, name="c.dcm", SOPInstanceUID="2.25.3", syntax="1.2.840.10008.1.2.2"),
    ]
    assert read_headers(paths).accepted["reader"].to_list() == ["scanner"] * 3


def test_the_digest_of_a_header_behind_private_values_knows_its_end(tmp_path: Path):
    """Failing means that a correction of the end of an exam is taken for a copy and dropped."""
    paths = [
        with_private_value(tmp_path, name, 80_000, PerformedProcedureStepEndTime=time)
        for name, time in (("a.dcm", "101500"), ("b.dcm", "101500"), ("c.dcm", "101600"))
    ]
    digests = read_headers(paths).accepted["content_sha"].to_list()
    assert digests[0] == digests[1] != digests[2]


def deflated(folder: Path, zeros: int) -> Path:
    """A header that goes on, after its file meta, with a private value of so many megabytes."""
    path = written(folder, syntax="1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    head = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, zeros << 20)
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = b"\0" * (1 << 20)
    body = squeezed.compress(head) + b"".join(squeezed.compress(piece) for _ in range(zeros))
    path.write_bytes(data[:start] + body + squeezed.flush())
    assert path.stat().st_size < 1 << 20
    return path


def endless(folder: Path) -> Path:
    """A file of a few kilobytes on disk that claims a value of a quarter of a gigabyte."""
    path = written(folder)
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    value = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 1 << 28)
    path.write_bytes(data[:start] + value)
    os.truncate(path, start + (1 << 28) + 4096)
    return path


@pytest.mark.parametrize("make", [lambda folder: deflated(folder, 200), endless])
def test_a_small_file_that_claims_gigabytes_is_refused_and_memory_stays_bounded(
    tmp_path: Path, make
):
    """Failing means that one small file fills the memory of the harvest."""
    path = make(tmp_path)
    code = (
        "import resource, sys\n"
        "from pipelines.sources.dicom_headers import read_headers\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "batch = read_headers([sys.argv[1]])\n"
        "print(len(batch.rejected), peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120
    )
    rejected, grown = map(int, done.stdout.split())
    assert rejected == 1
    assert grown < 150_000, "kilobytes"


def test_a_pipe_under_the_name_of_an_image_is_refused(tmp_path: Path):
    """Failing means that a harvest waits for ever."""
    path = tmp_path / "a.dcm"
    os.mkfifo(path)
    assert read_headers([path]).rejected["reason"].to_list() == ["not a regular file"]


@pytest.mark.parametrize("name", ["utf_16", "cp037", "utf_7", "hz", "unicode_escape"])
def test_a_character_set_that_is_not_of_dicom_is_read_alike_by_every_reader(
    tmp_path: Path, name: str
):
    """Failing means that the name of a station depends on which reader came first."""
    path = written(tmp_path, StationName="CT1XXX", StudyDescription="CHEST ~{a+AGE-")
    dataset = pydicom.dcmread(path)
    dataset.PixelData = b"\0" * 1000
    dataset["PixelData"].VR = "OW"
    dataset.add_new(0x00080005, "CS", name)
    content = pydicom.filebase.DicomBytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.SpecificCharacterSet = "ISO_IR 100"
        pydicom.dcmwrite(content, dataset)
    padded = name.encode() + b" " * (len(name) % 2)
    head = struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
    changed = struct.pack("<HH2sH", 8, 5, b"CS", len(padded)) + padded
    path.write_bytes(content.getvalue().replace(head, changed))
    row = read_by_pydicom(path, TAGS)[0]
    assert row is not None and row["specific_character_set"] == name
    for found in (by_window([path]), by_scanner([path])):
        assert found.get(path, row) == row


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def test_an_item_that_runs_past_its_sequence_lends_it_no_value(tmp_path: Path):
    """Failing means that an image is linked to the order of somebody else."""
    path = written(tmp_path)
    for length in (12, 0xFFFFFFFF):
        sequence = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 8)
        sequence += struct.pack("<HHI", 0xFFFE, 0xE000, length)
        rest = element(0x00401001, b"SH", b"RP99") + element(0x00402016, b"LO", b"PL")
        damaged = path.with_name(f"{length}.dcm")
        damaged.write_bytes(path.read_bytes() + sequence + rest)
        for found in (by_window([damaged]), by_scanner([damaged])):
            assert found.get(damaged, {}).get("request_requested_procedure_id") is None


@pytest.mark.parametrize("vr", [b"OB", b"UT", b"OW", b"UN"])
def test_a_sequence_under_another_vr_is_read_as_pydicom_reads_it(tmp_path: Path, vr: bytes):
    """Failing means that an image is linked to an order by bytes that are no sequence."""
    item = Dataset()
    item.ScheduledProcedureStepID = "SPS1"
    path = written(tmp_path, RequestAttributesSequence=[item], Rows=1, PatientComments="x")
    head = struct.pack("<HH", 0x0040, 0x0275)
    path.write_bytes(path.read_bytes().replace(head + b"SQ", head + vr))
    for found in (by_window([path]), by_scanner([path])):
        assert differences(found) == []


def test_an_item_with_a_character_set_of_its_own_is_read_in_that(tmp_path: Path):
    """Failing means that the step of an order is hashed from garbled text, and nothing fits it."""
    item = Dataset()
    item.SpecificCharacterSet, item.ScheduledProcedureStepID = "ISO_IR 192", "\u00e91"
    path = written(
        tmp_path, SpecificCharacterSet="ISO_IR 100", RequestAttributesSequence=[item], Rows=1
    )
    row = read_headers([path]).accepted.row(0, named=True)
    assert row["request_scheduled_procedure_step_id"] == "\u00e91"


def test_text_in_an_unknown_character_set_stops_nothing(tmp_path: Path):
    """Failing means that one strange header stops the harvest of a whole archive."""
    good = written(tmp_path, name="a.dcm", StationName="CT1")
    strange = written(tmp_path, name="b.dcm", StationName="CT2")
    content = strange.read_bytes()
    strange.write_bytes(content.replace(b"2.25.8001", b"2.25.8009"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(strange)
        dataset.SpecificCharacterSet = "NO_SUCH_SET"
        dataset.StudyDescription = "x"
        dataset.save_as(strange)
    strange.write_bytes(strange.read_bytes().replace(b"NO_SUCH_SET", b"NO_SU\0H_SET"))
    batch = read_headers([good, strange])
    assert len(batch.accepted) + len(batch.rejected) == 2
    assert str(good) in batch.accepted["path"].to_list()
