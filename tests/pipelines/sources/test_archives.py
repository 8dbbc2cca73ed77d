"""Archives of images: their members are read like files, and no archive can do harm."""

import gzip
import io
import stat
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.sources import archives
from pipelines.sources.archives import Archive, ArchiveRefused, Limits, is_archive
from pipelines.sources.dicom_headers import HeaderBatch, read_headers, read_members
from pipelines.sources.dicom_headers import read as reader
from tests.dicom_samples import sample_files, written

Contents = dict[str, bytes]


def zipped(path: Path, contents: Contents, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def tarred(path: Path, contents: Contents) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def packed(path: Path, contents: Contents) -> Path:
    return (zipped if path.suffix == ".zip" else tarred)(path, contents)


def read(path: Path, limits: Limits = archives.LIMITS) -> HeaderBatch:
    with Archive(path, limits) as archive:
        return HeaderBatch.of(read_members(archive, str(path), archive.members))


def reasons(batch: HeaderBatch) -> dict[str, str]:
    rows = batch.rejected.select("path", "reason").iter_rows()
    return {path.partition("!/")[2]: reason for path, reason in rows}


def image(folder: Path, number: int = 1, **values) -> bytes:
    path = written(folder, name="made.dcm", SOPInstanceUID=f"2.25.81{number:02d}", **values)
    data = path.read_bytes()
    path.unlink()
    return data


SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
every_kind = pytest.mark.parametrize("suffix", SUFFIXES)


@every_kind
def test_the_members_of_an_archive_give_what_the_files_themselves_give(tmp_path: Path, suffix: str):
    """Failing means that it depends on the wrapping what an image is."""
    files = [path for path in sample_files() if path.suffix != ".gz"][::8]
    contents = {f"{n:03d}/image.dcm": path.read_bytes() for n, path in enumerate(files)}
    batch = read(packed(tmp_path / f"a{suffix}", contents))
    expected = read_headers(files)
    columns = [name for name in expected.accepted.columns if name not in ("path", "reader")]
    digests = "content_sha"
    ours, theirs = (found.accepted.select(columns).sort(digests) for found in (batch, expected))
    assert len(ours) > 20
    assert ours.equals(theirs, null_equal=True)
    assert sorted(batch.rejected["reason"]) == sorted(expected.rejected["reason"])


@pytest.mark.parametrize("head", [200, 600, 1000, 2000])
def test_a_header_that_goes_on_behind_the_part_that_was_unpacked_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: int
):
    """Failing means that the end of a header is missing where it comes out of an archive."""
    monkeypatch.setattr(reader, "HEAD_OF_MEMBER", head)
    files = [path for path in sample_files() if path.suffix == ".dcm"][::9]
    contents = {f"{n:03d}.dcm": path.read_bytes() for n, path in enumerate(files)}
    batch, expected = read(zipped(tmp_path / "a.zip", contents)), read_headers(files)
    columns = [name for name in expected.accepted.columns if name not in ("path", "reader")]
    ours, theirs = (f.accepted.select(columns).sort("content_sha") for f in (batch, expected))
    assert ours.equals(theirs, null_equal=True)


@every_kind
def test_a_member_that_leads_out_of_the_archive_is_refused_and_the_others_are_read(
    tmp_path: Path, suffix: str
):
    """Failing means that an archive names files that are not its own."""
    good = image(tmp_path)
    bad = ("../up.dcm", "a/../../up.dcm", "/etc/passwd", "..\\up.dcm", "C:\\x.dcm")
    path = packed(tmp_path / f"a{suffix}", {"good.dcm": good} | dict.fromkeys(bad, good))
    batch = read(path)
    assert batch.accepted["path"].to_list() == [f"{path}!/good.dcm"]
    assert set(reasons(batch).values()) == {"the name of the member leads out of the archive"}
    assert len(reasons(batch)) == len(bad)


def test_links_and_devices_in_an_archive_are_refused(tmp_path: Path):
    """Failing means that an archive makes the harvest read a file of the machine."""
    path = tmp_path / "a.tar"
    good = image(tmp_path)
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("soft", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("disk", tarfile.BLKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("good.dcm")
        info.size = len(good)
        archive.addfile(info, io.BytesIO(good))
    batch = read(path)
    assert reasons(batch) == dict.fromkeys(("disk", "hard", "pipe", "soft"), "not a regular file")
    assert len(batch.accepted) == 1
    link = zipfile.ZipInfo("soft")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert reasons(read(tmp_path / "a.zip")) == {"soft": "not a regular file"}


def test_an_encrypted_member_is_refused(tmp_path: Path):
    """Failing means that one locked image stops all others."""
    good = image(tmp_path)
    path = zipped(tmp_path / "a.zip", {"a.dcm": good, "b.dcm": image(tmp_path, 2)})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(mark) + place
        data[at : at + 2] = struct.pack("<H", 1)
    path.write_bytes(data)
    batch = read(path)
    assert reasons(batch) == {"a.dcm": "the member is encrypted"}
    assert len(batch.accepted) == 1


@every_kind
def test_an_archive_within_an_archive_is_refused_whatever_its_name(tmp_path: Path, suffix: str):
    """Failing means that limits can be passed by packing twice."""
    good = image(tmp_path)
    inner = zipped(tmp_path / "inner.zip", {"a.dcm": good}).read_bytes()
    contents = {"a.zip": inner, "b.dcm": inner, "c.dcm": good}
    batch = read(packed(tmp_path / f"a{suffix}", contents))
    assert reasons(batch) == dict.fromkeys(("a.zip", "b.dcm"), "an archive within an archive")
    assert len(batch.accepted) == 1


@every_kind
def test_an_archive_that_was_cut_off_is_refused_whole(tmp_path: Path, suffix: str):
    """Failing means that the end of a broken transfer is missed by nobody."""
    contents = {f"{n}.dcm": image(tmp_path, n) for n in range(6)}
    path = packed(tmp_path / f"a{suffix}", contents)
    data = path.read_bytes()
    whole = 6 * (512 + -(-len(contents["0.dcm"]) // 512) * 512) if suffix == ".tar" else len(data)
    for length in (*range(0, whole, 479), whole - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ArchiveRefused):
            read(path)


@every_kind
def test_an_archive_of_damaged_bytes_ends_in_a_reason_and_no_error(tmp_path: Path, suffix: str):
    """Failing means that one damaged archive stops the harvest."""
    path = packed(tmp_path / f"a{suffix}", {f"{n}.dcm": image(tmp_path, n) for n in range(4)})
    data = path.read_bytes()
    outcomes = set()
    for at in range(0, len(data), 331 if suffix == ".tar" else 41):
        copy = bytearray(data)
        copy[at] ^= 0xFF
        path.write_bytes(copy)
        try:
            batch = read(path)
            outcomes.add(len(batch.accepted) + len(batch.rejected))
        except ArchiveRefused as error:
            outcomes.add(str(error))
    assert outcomes


@every_kind
def test_an_archive_that_swells_beyond_its_limits_is_refused_before_it_is_unpacked(
    tmp_path: Path, suffix: str
):
    """Failing means that a small file fills the memory or the disk."""
    path = packed(tmp_path / f"a{suffix}", {name: b"text" * (1 << 18) for name in "ab"})
    tight = {"total": Limits(total=1 << 20), "members": Limits(members=1)}
    if suffix != ".tar":
        tight["times its size"] = Limits(ratio=100, ratio_from=1 << 20)
    for word, limits in tight.items():
        with pytest.raises(ArchiveRefused, match="GiB" if word == "total" else word):
            read(path, limits)
    assert len(read(path).rejected) == 2


def test_a_stream_that_unpacks_to_more_than_it_lists_is_refused(tmp_path: Path):
    """Failing means that a bomb can hide behind the end of a tar file."""
    plain = tarred(tmp_path / "a.tar", {"a.dcm": image(tmp_path)}).read_bytes()
    path = tmp_path / "b.tgz"
    path.write_bytes(gzip.compress(plain + b"\0" * (4 << 20)))
    with pytest.raises(ArchiveRefused, match="times its size"):
        read(path, Limits(ratio=100, ratio_from=1 << 20))


def test_a_tar_header_of_gigabytes_is_never_read(tmp_path: Path):
    """Failing means that a file of a few bytes asks for all the memory there is."""
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    with pytest.raises(ArchiveRefused, match="larger than any"):
        read(path)


def test_a_zip_that_claims_a_list_of_gigabytes_is_refused(tmp_path: Path):
    """Failing means that the list of members alone fills the memory."""
    path = zipped(tmp_path / "a.zip", {"a.dcm": image(tmp_path)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x05\x06") + 12
    data[at : at + 4] = struct.pack("<I", 2 << 30)
    path.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="larger than any"):
        read(path)


def test_of_two_members_of_one_name_the_second_is_refused(tmp_path: Path):
    """Failing means that an image can hide behind another."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for number in (1, 2):
            data = image(tmp_path, number)
            info = tarfile.TarInfo("a.dcm")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    batch = read(path)
    assert batch.accepted["sop_instance_uid"].to_list() == ["2.25.8101"]
    assert reasons(batch) == {"a.dcm (2)": "a second member of this name"}


def test_hidden_members_and_folders_are_left_alone(tmp_path: Path):
    """Failing means that what a desktop adds to an archive is counted as damaged images."""
    contents = {"a/": b"", "a/.DS_Store": b"x", "__MACOSX/a/._i.dcm": b"x"}
    batch = read(zipped(tmp_path / "a.zip", contents | {"a/i.dcm": image(tmp_path)}))
    assert (len(batch.accepted), len(batch.rejected)) == (1, 0)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_nothing_of_a_member_is_left_on_disk(
    tmp_path: Path, make: Callable[[Path, Contents], Path], monkeypatch: pytest.MonkeyPatch
):
    """Failing means that names and numbers of patients lie about unencrypted."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    opened: list[str] = []
    path = make(tmp_path / ("a.zip" if make is zipped else "a.tar"), {"a.dcm": image(tmp_path)})
    before = sorted(tmp_path.rglob("*"))

    def noted(kind: str, arguments: tuple) -> None:
        if kind == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            opened.append(str(arguments[0]))

    watch.append(noted)
    try:
        assert len(read(path).accepted) == 1
    finally:
        watch.clear()
    assert sorted(tmp_path.rglob("*")) == before
    assert opened == []


watch: list[Callable[[str, tuple], None]] = []


def _hook(kind: str, arguments: tuple) -> None:
    for one in watch:
        one(kind, arguments)


sys.addaudithook(_hook)


def test_archives_are_known_by_their_names():
    """Failing means that an archive is taken for a damaged image."""
    assert all(is_archive(f"A{suffix.upper()}") for suffix in SUFFIXES)
    assert not any(is_archive(name) for name in ("a.dcm", "zip", "a.zip.part", "a.dcm.gz"))
