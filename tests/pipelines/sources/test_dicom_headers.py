"""DICOM headers as rows: real files of many makers, compared with pydicom's own reading."""

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipelines.sources.dicom_headers import (
    HeaderBatch,
    acquisition_ends,
    acquisition_starts,
    read_headers,
)
from pipelines.sources.dicom_headers import read as reader
from pipelines.sources.dicom_headers.tags import TagList, snake_case
from tests.dicom_samples import sample_files, written

LONDON = "Europe/London"
COMPARED = (
    "SOPInstanceUID",
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "AccessionNumber",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "ContentDate",
    "ContentTime",
    "TimezoneOffsetFromUTC",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "ExposureTime",
    "AcquisitionDuration",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
)


@pytest.fixture(scope="module")
def samples() -> HeaderBatch:
    return read_headers(sample_files())


def own_reading(dataset: Dataset, keyword: str) -> str | None:
    if keyword not in dataset:
        return None
    value = dataset[keyword].value
    if value is None or value == "":
        return ""
    values = value if isinstance(value, MultiValue | list) else [value]
    return "\\".join("" if part is None else str(part).strip(" \0") for part in values)


def test_every_sample_file_gives_a_row_or_a_reason(samples: HeaderBatch):
    """Failing means that one strange file stops the harvest of a whole archive, or is lost."""
    files = sample_files()
    assert len(files) > 280
    paths = samples.accepted["path"].to_list() + samples.rejected["path"].to_list()
    assert sorted(paths) == [str(path) for path in files]
    assert samples.rejected["reason"].str.len_chars().min() > 5
    assert len(samples.accepted) > 200


@pytest.mark.filterwarnings("ignore")
def test_the_text_of_every_attribute_is_what_pydicom_itself_reads(samples: HeaderBatch):
    """Failing means that a station, a time or an identity differs from what the file says."""
    different = []
    for row in samples.accepted.iter_rows(named=True):
        dataset = pydicom.dcmread(row["path"], stop_before_pixels=True, force=True)
        for keyword in COMPARED:
            ours, theirs = row[snake_case(keyword)], own_reading(dataset, keyword)
            if ours != theirs:
                different.append((Path(row["path"]).name, keyword, ours, theirs))
    assert not different


def test_an_accepted_header_is_complete(samples: HeaderBatch):
    """Failing means that an image lands that belongs to no study."""
    required = [snake_case(keyword) for keyword in reader.REQUIRED]
    assert samples.accepted.select(required).null_count().sum_horizontal().item() == 0
    stated = samples.accepted.filter(pl.col("media_storage_sop_instance_uid") != "")
    assert (stated["media_storage_sop_instance_uid"] == stated["sop_instance_uid"]).all()


@pytest.mark.parametrize("keyword", reader.REQUIRED)
def test_a_header_without_a_required_attribute_is_refused_by_name(tmp_path: Path, keyword: str):
    """Failing means that a truncated header passes for a whole one."""
    path = written(tmp_path, **{keyword: None})
    batch = read_headers([path])
    assert batch.accepted.is_empty()
    assert keyword in batch.rejected["reason"].item()


def test_a_file_that_names_two_instances_is_refused(tmp_path: Path):
    """Failing means that a damaged copy replaces a good image."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"2.25.8001", b"2.25.9999", 1))
    batch = read_headers([path])
    assert batch.rejected["reason"].item() == "file meta and header name different SOP instances"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, this is text\n" * 20, "not a DICOM header"),
        (b"\0" * 400, "not a DICOM header"),
        (b"\0" * 128 + b"DICM", "not a DICOM header"),
    ],
)
def test_what_is_no_dicom_file_is_refused_with_a_reason(
    tmp_path: Path, content: bytes, reason: str
):
    """Failing means that a stray file stops the harvest, or lands."""
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    assert read_headers([path]).rejected["reason"].to_list() == [reason]


def test_a_header_cut_anywhere_is_refused_or_whole_but_never_an_error(tmp_path: Path):
    """Failing means that a broken transfer stops the harvest."""
    data = written(tmp_path, Manufacturer="EXAMPLE").read_bytes()
    (tmp_path / "a.dcm").unlink()
    for length in range(0, len(data), 7):
        (tmp_path / f"{length:04d}.dcm").write_bytes(data[:length])
    batch = read_headers([tmp_path])
    assert len(batch.accepted) + len(batch.rejected) == len(range(0, len(data), 7))
    assert len(batch.rejected) > len(batch.accepted)


def test_a_file_that_vanished_is_a_reject_and_no_error(tmp_path: Path):
    """Failing means that moving one file during a harvest stops it."""
    assert read_headers([tmp_path / "gone.dcm"]).rejected["reason"].str.contains("No such").all()


def test_files_still_in_transfer_are_left_alone(tmp_path: Path):
    """Failing means that half an image is rejected and then never looked at again."""
    written(tmp_path)
    (tmp_path / "b.dcm.part").write_bytes(b"half")
    (tmp_path / ".c.dcm").write_bytes(b"hidden")
    batch = read_headers([tmp_path])
    assert (len(batch.accepted), len(batch.rejected)) == (1, 0)


def test_empty_and_absent_are_told_apart(tmp_path: Path):
    """Failing means that nobody can say whether a scanner leaves a field out or empty."""
    row = read_headers([written(tmp_path, StationName="", Manufacturer=None)]).accepted
    assert row["station_name"].item() == ""
    assert row["manufacturer"].item() is None


def test_a_duration_keeps_every_digit_of_its_double(tmp_path: Path):
    """Failing means that scanner minutes are rounded to six digits before they are summed."""
    row = read_headers([written(tmp_path, AcquisitionDuration=1234.56789)]).accepted
    assert float(row["acquisition_duration"].item()) == 1234.56789


def test_siemens_durations_are_read_as_the_file_holds_them(samples: HeaderBatch):
    """Failing means that the end of a series of a whole maker is wrong or missing."""
    found = 0
    for row in samples.accepted.filter(pl.col("acquisition_duration") != "").iter_rows(named=True):
        raw = pydicom.dcmread(row["path"], stop_before_pixels=True).get_item("AcquisitionDuration")
        (expected,) = struct.unpack("<d" if raw.is_little_endian else ">d", raw.value)
        assert float(row["acquisition_duration"]) == expected
        found += 1
    assert found >= 1


def test_two_workers_read_what_one_reads(monkeypatch: pytest.MonkeyPatch):
    """Failing means that the result depends on how many processors a machine has."""
    monkeypatch.setattr(reader, "CHUNK", 40)
    monkeypatch.setattr(reader, "CHUNKS_PER_PROCESS", 1)
    files = sample_files()[::4]
    one, two = read_headers(files), read_headers(files, workers=2)
    assert two.accepted.equals(one.accepted, null_equal=True)
    assert two.rejected.equals(one.rejected, null_equal=True)
    assert len(one.accepted) > 40


def test_a_moved_file_keeps_its_digest_and_a_changed_header_has_another(tmp_path: Path):
    """Failing means that a copy counts as another image, or a correction is ignored."""
    paths = [
        written(tmp_path, name="a.dcm"),
        written(tmp_path, name="b.dcm"),
        written(tmp_path, name="c.dcm", StationName="OTHER"),
    ]
    digests = read_headers(paths).accepted["content_sha"].to_list()
    assert digests[0] == digests[1] != digests[2]


TIMES = (
    "acquisition_date_time",
    "acquisition_date",
    "acquisition_time",
    "series_date",
    "series_time",
    "performed_procedure_step_start_date",
    "performed_procedure_step_start_time",
    "study_date",
    "study_time",
    "timezone_offset_from_utc",
)


def start(**values: str) -> dict[str, object]:
    frame = pl.DataFrame(
        [{name: values.get(name) for name in TIMES}], schema=dict.fromkeys(TIMES, pl.String)
    )
    return acquisition_starts(frame, LONDON).row(0, named=True)


LADDER = (
    (1, {"acquisition_date_time": "20260611100000"}),
    (2, {"acquisition_date": "20260611", "acquisition_time": "110000"}),
    (3, {"series_date": "2026.06.11", "series_time": "12:00:00"}),
    (
        4,
        {
            "performed_procedure_step_start_date": "20260611",
            "performed_procedure_step_start_time": "1300",
        },
    ),
    (5, {"study_date": "20260611", "study_time": "140000.25"}),
)


@pytest.mark.parametrize("first", range(5))
def test_the_first_usable_rung_of_the_ladder_wins(first: int):
    """Failing means that the start of an exam is taken from the wrong clock."""
    values = {name: value for _, rung in LADDER[first:] for name, value in rung.items()}
    found = start(**values)
    assert found["start_rung"] == LADDER[first][0]
    assert found["start_local"].hour == 10 + first
    assert found["start_utc"].hour == 9 + first


def test_date_and_time_of_different_levels_are_never_combined():
    """Failing means that an exam after midnight is moved by a day."""
    found = start(acquisition_time="001000", series_date="20260611", study_date="20260611")
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    "broken",
    [
        {"acquisition_date_time": "20260611"},
        {"acquisition_date_time": "2026061110000"},
        {"acquisition_date_time": "20260611100000garbage"},
        {"acquisition_date_time": "20261311100000"},
        {"acquisition_date": "2026061", "acquisition_time": "110000"},
        {"acquisition_date": "20260611", "acquisition_time": "9.30"},
        {"acquisition_date": "20260611", "acquisition_time": "256161"},
        {"acquisition_date": "11/06/2026", "acquisition_time": "110000"},
        {"acquisition_date": "", "acquisition_time": ""},
    ],
)
def test_an_unreadable_rung_is_stepped_over_and_never_guessed(broken: dict[str, str]):
    """Failing means that a damaged date becomes a plausible wrong one."""
    assert start(**broken)["start_utc"] is None
    assert start(**broken, study_date="20260611", study_time="140000")["start_rung"] == 5


@pytest.mark.parametrize(
    ("values", "instant", "source"),
    [
        ({"acquisition_date_time": "20260611100000"}, 9, "assumed"),
        ({"acquisition_date_time": "20260111100000"}, 10, "assumed"),
        ({"acquisition_date_time": "20260611100000+0200"}, 8, "own"),
        (
            {"acquisition_date_time": "20260611100000+0200", "timezone_offset_from_utc": "+0000"},
            8,
            "own",
        ),
        (
            {"acquisition_date_time": "20260611100000", "timezone_offset_from_utc": "+0000"},
            10,
            "header",
        ),
        (
            {"acquisition_date_time": "20260611100000", "timezone_offset_from_utc": "-0330"},
            13,
            "header",
        ),
        (
            {"study_date": "20260611", "study_time": "1000", "timezone_offset_from_utc": "+0100"},
            9,
            "header",
        ),
    ],
)
def test_the_offset_of_the_value_comes_before_that_of_the_header_and_that_before_london(
    values: dict[str, str], instant: int, source: str
):
    """Failing means that a scanner with a fixed offset is an hour or more off."""
    found = start(**values)
    assert (found["start_utc"].hour, found["tz_source"]) == (instant, source)
    assert found["start_utc"].tzinfo is not None


def test_precision_and_doubtful_times_are_marked():
    """Failing means that a rounded, repeated or default time enters a measure of minutes."""
    assert start(study_date="20260611", study_time="1400")["ts_precision"] == "minute"
    assert start(study_date="20260611", study_time="140000")["ts_precision"] == "second"
    found = start(study_date="20260611", study_time="140000.25")
    assert found["ts_precision"] == "fraction" and found["start_utc"].microsecond == 250_000
    assert start(study_date="20261025", study_time="013000")["ts_flag"] == "ambiguous"
    spring = start(study_date="20260329", study_time="013000")
    assert spring["ts_flag"] == "nonexistent"
    assert spring["start_utc"] == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert start(study_date="19800101", study_time="000000")["ts_flag"] == "implausible"
    exact = start(study_date="20261025", study_time="013000", timezone_offset_from_utc="+0000")
    assert exact["ts_flag"] is None and exact["start_utc"].hour == 1


@pytest.mark.parametrize(
    ("series_time", "acquisition_time", "day", "flag"),
    [
        ("101500", "101530", 11, None),
        # An image made before its series is said to begin, but not half a day before.
        ("101500", "101400", 11, None),
        ("235800", "001000", 12, "next_day"),
        ("235800", "240000", 12, None),
    ],
)
def test_an_acquisition_time_without_its_date_takes_that_of_its_series(
    series_time: str, acquisition_time: str, day: int, flag: str | None
):
    """Failing means that an exam over midnight lasts a day, or ends before it began."""
    found = start(
        acquisition_time=acquisition_time, series_date="20260611", series_time=series_time
    )
    assert found["start_rung"] == 2
    assert (found["start_local"].day, found["ts_flag"]) == (day, flag)


def test_midnight_at_the_end_of_a_day_is_that_of_the_next():
    """Failing means that the last exam of a day is lost or a day too early."""
    for time in ("24", "2400", "24:00", "240000", "24:00:00", "240000.000"):
        found = start(study_date="20261231", study_time=time)
        assert found["start_local"] == datetime(2027, 1, 1), time
    assert start(acquisition_date_time="20261231240000")["start_local"] == datetime(2027, 1, 1)
    assert start(study_date="20261231", study_time="240001")["start_utc"] is None


def test_a_leap_second_is_read_as_the_second_before_and_marked():
    """Failing means that a legal time is dropped, or moves an exam into the next minute."""
    found = start(study_date="20161231", study_time="235960")
    assert found["start_local"] == datetime(2016, 12, 31, 23, 59, 59)
    assert (found["ts_flag"], found["ts_precision"]) == ("clamped", "second")
    assert start(study_date="20161231", study_time="235960.5")["start_local"].microsecond == 0
    assert start(study_date="20161231", study_time="235961")["start_utc"] is None


def test_a_time_after_the_arrival_is_implausible():
    """Failing means that a wrong scanner clock fills the days to come."""
    frame = pl.DataFrame(
        [{name: None for name in TIMES} | {"study_date": "20260611", "study_time": "140000"}] * 2,
        schema=dict.fromkeys(TIMES, pl.String),
    ).with_columns(
        latest_allowed=pl.Series(
            [datetime(2026, 6, 11, 12, tzinfo=UTC), datetime(2026, 6, 12, tzinfo=UTC)],
            dtype=pl.Datetime("us", "UTC"),
        )
    )
    assert acquisition_starts(frame, LONDON)["ts_flag"].to_list() == ["implausible", None]


OF_ENDS = (
    "acquisition_duration",
    "actual_frame_duration",
    "number_of_frames",
    "exposure_time",
    "image_type",
    "modality",
    "performed_procedure_step_end_date",
    "performed_procedure_step_end_time",
)
STEP = {
    "performed_procedure_step_end_date": "20260611",
    "performed_procedure_step_end_time": "103000",
}


def end(**values: str) -> tuple[object, object]:
    names = (*TIMES, *OF_ENDS)
    frame = pl.DataFrame(
        [{name: values.get(name) for name in names}], schema=dict.fromkeys(names, pl.String)
    )
    starts = acquisition_starts(frame, LONDON)
    found = acquisition_ends(frame, starts, LONDON).row(0, named=True)
    if found["end_utc"] is None:
        assert found == dict.fromkeys(found)
        return None, None
    assert found["end_local"] == found["end_utc"].replace(tzinfo=None) + timedelta(hours=1)
    return found["end_method"], (found["end_utc"] - starts["start_utc"][0]).total_seconds()


OWN = {"acquisition_date_time": "20260611100000"}
LATE = {"study_date": "20260611", "study_time": "100000"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (OWN, (None, None)),
        (OWN | {"acquisition_duration": "12.5"}, ("duration", 12.5)),
        (OWN | {"acquisition_duration": "12.5", "exposure_time": "500"} | STEP, ("duration", 12.5)),
        (OWN | {"exposure_time": "500"} | STEP, ("exposure", 0.5)),
        (OWN | {"exposure_time": "500\\700"}, ("exposure", 0.5)),
        (
            OWN | {"modality": "NM", "actual_frame_duration": "20000", "number_of_frames": "64"},
            ("frames", 1280.0),
        ),
        # Both detectors take theirs at the same time.
        (
            OWN
            | {"modality": "NM", "actual_frame_duration": "900000", "number_of_frames": "2"}
            | {"image_type": "ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION"},
            ("frames", 900.0),
        ),
        (OWN | {"modality": "PT", "actual_frame_duration": "120000"}, ("frames", 120.0)),
        (OWN | {"modality": "CT", "actual_frame_duration": "120000"}, (None, None)),
        (OWN | STEP, ("step_end", 1800.0)),
        # A duration belongs to the acquisition, not to the study as a whole.
        (LATE | {"acquisition_duration": "12.5"}, (None, None)),
        (LATE | {"acquisition_duration": "12.5"} | STEP, ("step_end", 1800.0)),
        # Nobody has filled these.
        (OWN | STEP | {"performed_procedure_step_end_time": "000000"}, (None, None)),
        (OWN | STEP | {"performed_procedure_step_end_time": "00:00:00.000"}, (None, None)),
        (OWN | STEP | {"performed_procedure_step_end_time": ""}, (None, None)),
        (OWN | STEP | {"performed_procedure_step_end_date": ""}, (None, None)),
        (OWN | {"acquisition_duration": "0", "exposure_time": "0"} | STEP, ("step_end", 1800.0)),
        # These cannot be.
        (OWN | STEP | {"performed_procedure_step_end_time": "093000"}, (None, None)),
        (OWN | {"acquisition_duration": "-5"}, (None, None)),
        (OWN | {"acquisition_duration": "nan"}, (None, None)),
        (OWN | {"acquisition_duration": "inf", "exposure_time": "-inf"}, (None, None)),
        (OWN | {"acquisition_duration": "900000000"}, (None, None)),
        (OWN | {"exposure_time": "1e12"}, (None, None)),
        (OWN | {"modality": "NM", "actual_frame_duration": "nan"}, (None, None)),
        (OWN | {"acquisition_duration": "1e300"}, (None, None)),
        (OWN | {"acquisition_duration": "long"}, (None, None)),
        ({"acquisition_duration": "12.5"} | STEP, (None, None)),
    ],
)
def test_the_end_is_what_the_header_tells_best_and_nothing_is_invented(
    values: dict[str, str], expected: tuple[object, object]
):
    """Failing means that scanner minutes are counted that nobody has measured."""
    assert end(**values) == expected


def test_issuers_devices_and_the_other_times_of_a_header_are_read(tmp_path: Path):
    """Failing means that an accession number of one trust is taken for another's."""
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "RMC"
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "2.16.840.1.1", "ISO"
    values = {
        "InstanceCreationDate": "20260612",
        "InstanceCreationTime": "120000",
        "IssuerOfPatientID": "NW",
        "IrradiationEventUID": ["2.25.5", "2.25.6"],
        "DeviceUID": "2.25.77",
        "PerformedStationName": "ROOM 1",
        "PresentationIntentType": "FOR PRESENTATION",
        "ConversionType": "WSD",
        "DateOfSecondaryCapture": "20260613",
        "TimeOfSecondaryCapture": "130000",
        "InstitutionalDepartmentName": "Radiology",
        "ActualFrameDuration": "20000",
        "CommentsOnThePerformedProcedureStep": "x" * 300,
        "RequestedProcedureComments": "none",
    }
    for syntax in (pydicom.uid.ExplicitVRLittleEndian, "1.2.840.10008.1.2.2"):
        path = written(tmp_path, syntax=syntax, IssuerOfAccessionNumberSequence=[issuer], **values)
        row = read_headers([path]).accepted.row(0, named=True)
        assert row["accession_issuer"] == "RMC"
        assert row["accession_issuer_universal"] == "2.16.840.1.1"
        assert row["accession_issuer_type"] == "ISO"
        for keyword, value in values.items():
            if "Comments" not in keyword:
                expected = "\\".join(value) if isinstance(value, list) else value
                assert row[snake_case(keyword)] == expected, keyword


def test_column_names_are_the_keywords_in_snake_case():
    """Failing means that a landing column silently stays empty."""
    columns = TagList.load().columns()
    assert len(columns) == len(set(columns))
    for keyword, name in {
        "SOPInstanceUID": "sop_instance_uid",
        "TimezoneOffsetFromUTC": "timezone_offset_from_utc",
        "PerformedStationAETitle": "performed_station_ae_title",
        "CTDIvol": "ctdivol",
        "PatientID": "patient_id",
    }.items():
        assert snake_case(keyword) == name and name in columns
