"""The cut: a spooled header says what the sent object said, and holds nothing that is not wanted."""

import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipelines.receivers.dicom_cut import (
    LAST_OF_REPORT,
    UNWALKED,
    HeaderTooLarge,
    cut,
    file_meta,
)
from pipelines.sources.dicom_headers import read_headers
from pipelines.sources.dicom_headers.tags import TagList
from tests.dicom_samples import sample_files, written
from tests.pipelines.receivers.conftest import CT, ct_object

LAST = TagList.load().last_tag
LARGEST = 16 << 20
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
# What depends on where a header was read, not on what it says.
OF_THE_FILE = ["path", "reader", "content_sha"]


def encoded(path: Path) -> tuple[pydicom.Dataset, bytes]:
    """File meta and the encoded data set of a file, as an association would carry it."""
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    return pydicom.filereader.read_file_meta_info(path), data[start:]


def is_proper(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(140)
    if begin[128:] != b"DICM\x02\0\0\0UL\x04\0":
        return False
    meta = pydicom.filereader.read_file_meta_info(path)
    return {"TransferSyntaxUID", "MediaStorageSOPInstanceUID"} <= set(meta.dir())


@pytest.mark.parametrize("kept", [LARGEST, 40_000], ids=["whole", "first_bytes_only"])
@pytest.mark.filterwarnings("ignore")
def test_headers_of_many_makers_say_the_same_after_the_cut(tmp_path: Path, kept: int):
    """Failing means that an object that was sent lands with other values than one delivered."""
    pairs, too_large = [], 0
    for number, path in enumerate(filter(is_proper, sample_files())):
        meta, data = encoded(path)
        # Once as an image, once as a dose report, which keeps its content.
        for last in (LAST, LAST_OF_REPORT):
            syntax = str(meta.TransferSyntaxUID)
            try:
                found = cut(data[:kept], len(data), syntax, last, largest=LARGEST)
            except HeaderTooLarge:
                too_large += 1
                continue
            sent = tmp_path / f"{number:04d}_{last:08x}.dcm"
            sop_class = str(meta.get("MediaStorageSOPClassUID", ""))
            instance = str(meta.MediaStorageSOPInstanceUID)
            sent.write_bytes(file_meta(syntax, sop_class, instance) + found.data_set)
            pairs.append((str(path), str(sent)))
    assert len(pairs) > 500
    assert too_large <= (0 if kept == LARGEST else 12)
    before, after = (read_headers(paths) for paths in zip(*pairs, strict=True))
    whole = before.accepted.drop(OF_THE_FILE)
    assert after.accepted.drop(OF_THE_FILE).equals(whole, null_equal=True)
    assert after.rejected["reason"].to_list() == before.rejected["reason"].to_list()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_pixels_and_whatever_else_is_not_wanted_stay_out(tmp_path: Path, syntax: str):
    """Failing means that pixels or report text rest on our disk."""
    path = written(
        tmp_path, syntax=syntax, TextValue="a finding of somebody", EncapsulatedDocument=b"%PDF"
    )
    meta, data = encoded(path)
    found = cut(data, len(data), str(meta.TransferSyntaxUID), LAST, largest=LARGEST)
    plain = found.data_set
    if syntax == DeflatedExplicitVRLittleEndian:
        plain = zlib.decompressobj(-15).decompress(plain)
    assert found.is_walked
    assert b"finding" not in plain
    assert b"PDF" not in plain
    sent = tmp_path / "sent.dcm"
    sent.write_bytes(file_meta(syntax, CT, "2.25.8001") + found.data_set)
    dataset = pydicom.dcmread(sent)
    assert dataset.StudyInstanceUID == "2.25.8002"
    assert dataset[0xFFFC, 0xFFFC].value == b"\0" * 4
    assert len(dataset) == 8


def test_the_content_of_a_dose_report_is_kept_whole(tmp_path: Path):
    """Failing means that doses cannot be read from what was received."""
    path = Path(pydicom.data.get_testdata_file("test-SR.dcm", download=False))
    meta, data = encoded(path)
    syntax = str(meta.TransferSyntaxUID)
    found = cut(data, len(data), syntax, LAST_OF_REPORT, largest=LARGEST)
    sent = tmp_path / "sent.dcm"
    sent.write_bytes(
        file_meta(syntax, str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID))
        + found.data_set
    )
    assert pydicom.dcmread(sent).ContentSequence == pydicom.dcmread(path).ContentSequence


def test_a_header_that_does_not_end_is_refused(tmp_path: Path):
    """Failing means that a sender can fill the memory, or that half a header is spooled."""
    path = written(tmp_path, StudyDescription="x" * 60_000)
    meta, data = encoded(path)
    with pytest.raises(HeaderTooLarge):
        cut(data[:1000], len(data), str(meta.TransferSyntaxUID), LAST, largest=1000)


def test_a_deflated_bomb_is_inflated_no_further_than_the_limit():
    """Failing means that a few bytes of a sender become gigabytes here."""
    value = b"\x08\0\x08\0UC\0\0\xfe\xff\xff\x7f"
    squeeze = zlib.compressobj(9, wbits=-15)
    bomb = squeeze.compress(value + b"\0" * (64 << 20)) + squeeze.flush()
    with pytest.raises(HeaderTooLarge):
        cut(bomb, len(bomb), DeflatedExplicitVRLittleEndian, LAST, largest=1 << 16)


@settings(max_examples=80)
@given(damage=st.data())
def test_a_damaged_data_set_is_judged_like_a_damaged_file(
    tmp_path_factory: pytest.TempPathFactory, damage: st.DataObject
):
    """Failing means that damage lands with values from a receiver, and is refused from a folder."""
    folder = tmp_path_factory.mktemp("damaged")
    ct_object(folder)
    path = folder / "1.dcm"
    whole = path.read_bytes()
    start = 144 + struct.unpack_from("<I", whole, 140)[0]
    header_end = whole.index(b"\xe0\x7f\x10\0")
    content = bytearray(whole)
    place = damage.draw(st.integers(start, header_end + 8))
    content[place] ^= damage.draw(st.integers(1, 255))
    path.write_bytes(content)
    data = bytes(content[start:])
    found = cut(data, len(data), ExplicitVRLittleEndian, LAST, largest=LARGEST)
    sent = folder / "sent.dcm"
    sent.write_bytes(file_meta(ExplicitVRLittleEndian, CT, "2.25.9001") + found.data_set)
    before, after = read_headers([path]), read_headers([sent])
    assert after.rejected["reason"].to_list() == before.rejected["reason"].to_list()
    assert after.accepted.drop(OF_THE_FILE).equals(before.accepted.drop(OF_THE_FILE))


def test_what_cannot_be_walked_is_kept_for_the_readers_but_never_long(tmp_path: Path):
    """Failing means that an unreadable object is acknowledged and lost, or kept with its pixels."""
    rubbish = b"no DICOM " * 100_000
    found = cut(rubbish, len(rubbish), ExplicitVRLittleEndian, LAST, largest=LARGEST)
    assert not found.is_walked
    assert found.data_set == rubbish[:UNWALKED]


def test_the_same_instance_gives_the_same_bytes():
    """Failing means that an object sent twice counts twice."""
    assert file_meta("1.2", CT, "2.25.1") == file_meta("1.2", CT, "2.25.1")
    assert file_meta("1.2", CT, "2.25.1") != file_meta("1.2", CT, "2.25.2")
