"""Dose reports: every event of the truth is read, and no bad tree stops a harvest or is guessed."""

import os
import random
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pydicom
import pytest
from pydicom.data import get_testdata_file

from pipelines.sources import dose_reports as dose
from pipelines.sources.dose_reports import DoseBatch, Limits, read_dose_reports
from pipelines.synthetic.dicom_encoding import EXPLICIT, IMPLICIT, part10_file

DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
DEFLATED = "1.2.840.10008.1.2.1.99"
Item = dict[str, Any]
NUMBERS = ["exposure_seconds", "ctdi_vol_mgy", "dlp_mgy_cm", "dap_gy_m2", "agd_mgy"]


def code(value: str, scheme: str = "DCM") -> dict[str, Any]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": "invented"}


def item(kind: str, concept: str, scheme: str = "DCM", **values: Any) -> Item:
    named = {"RelationshipType": "CONTAINS", "ValueType": kind}
    return named | {"ConceptNameCodeSequence": [code(concept, scheme)]} | values


def number(concept: str, value: str | None, unit: str = "mGy", scheme: str = "UCUM") -> Item:
    measured = {"NumericValue": value, "MeasurementUnitsCodeSequence": [code(unit, scheme)]}
    return item("NUM", concept, MeasuredValueSequence=[] if value is None else [measured])


def container(concept: str, *items: Item, scheme: str = "DCM") -> Item:
    return item("CONTAINER", concept, scheme, ContentSequence=list(items))


def event(uid: str | None, *items: Item, kind: str = "113819") -> Item:
    named = [] if uid is None else [item("UIDREF", "113769", UID=uid)]
    return container(kind, *named, *items)


def report(
    *items: Item,
    title: str = "113701",
    sop_class: str = DOSE_SR,
    syntax: str = EXPLICIT,
    **header: Any,
) -> bytes:
    given = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": "2.25.1",
        "StudyInstanceUID": "2.25.2",
        "ContentDate": "20260711",
        "ContentTime": "101500",
    }
    return part10_file(container(title, *items) | given | header, transfer_syntax=syntax)


def read(*sources: Path | bytes, **options: Any) -> DoseBatch:
    return read_dose_reports(sources, zone="Europe/London", **options)


def rows(*items: Item, **options: Any) -> list[dict[str, Any]]:
    """Rows of one report, the same in both ways to write it."""
    batch = read(report(*items, **options))
    assert batch.rejected.is_empty(), batch.rejected
    implicit = read(report(*items, syntax=IMPLICIT, **options))
    assert implicit.events.equals(batch.events)
    return batch.events.to_dicts()


def reason(source: Path | bytes, **options: Any) -> str:
    batch = read(source, **options)
    assert batch.events.is_empty()
    return batch.rejected["reason"].item()


@pytest.fixture(scope="module")
def told(delivered: Path) -> pl.DataFrame:
    """Every event of every report of the small network."""
    batch = read(*sorted((delivered / "inbox").glob("dicom/*/*/*/SR*.dcm")))
    assert batch.rejected.is_empty()
    return batch.events


@pytest.fixture(scope="module")
def truth(delivered: Path) -> pl.DataFrame:
    return pl.read_parquet(delivered / "truth" / "dose_events.parquet")


def test_every_event_of_the_truth_is_read_with_its_dose_from_every_report(
    told: pl.DataFrame, truth: pl.DataFrame
):
    """Failing means that doses are lost, doubled or wrong."""
    both = truth.join(told, on="irradiation_event_uid", how="full", suffix="_read")
    assert len(both) == truth["report_count"].sum() > len(truth)
    for name in (*NUMBERS, "study_instance_uid"):
        assert both[name].equals(both[f"{name}_read"], null_equal=True), name
    kinds = both.select(is_ct=pl.col("modality") == "CT", told=pl.col("event_kind") == "ct")
    assert kinds["is_ct"].equals(kinds["told"])
    assert told["value_flags"].null_count() == len(told)


def test_an_event_has_its_start_where_the_report_tells_it_and_no_other(
    told: pl.DataFrame, truth: pl.DataFrame
):
    """Failing means that the best clock of ionising modalities is wrong."""
    both = truth.join(told, on="irradiation_event_uid")
    start = both["event_start_local"].dt.truncate("1s")
    expected = both["started_at_device"].set(~both["is_time_told"], None)
    assert start.equals(expected.cast(start.dtype), null_equal=True)
    assert set(both["is_time_told"]) == {True, False}
    ct = both.filter(pl.col("modality") == "CT")
    first = ct.group_by("sop_instance_uid").agg(
        (pl.col("irradiation_start_local") == pl.col("started_at_device").min())
        .all()
        .alias("starts"),
        (pl.col("irradiation_end_local") > pl.col("started_at_device").max()).all().alias("ends"),
    )
    assert first["starts"].all() and first["ends"].all() and len(first) > 0


def test_the_totals_of_a_report_are_those_of_its_events(told: pl.DataFrame):
    """Failing means that a total is taken from another place of the tree."""
    reports = told.group_by("sop_instance_uid").agg(
        pl.col("dlp_mgy_cm", "dap_gy_m2").sum(),
        pl.col("event_kind", "total_event_count", "total_dlp_mgy_cm", "total_dap_gy_m2").first(),
        pl.len(),
    )
    ct = reports.filter(pl.col("event_kind") == "ct")
    assert ct["total_event_count"].to_list() == ct["len"].to_list()
    assert ct["total_dlp_mgy_cm"].to_list() == pytest.approx(ct["dlp_mgy_cm"].to_list())
    films = reports.filter(pl.col("event_kind") == "projection")
    assert films["total_dap_gy_m2"].to_list() == pytest.approx(films["dap_gy_m2"].to_list())


def test_a_report_names_the_device_that_made_it(told: pl.DataFrame, truth: pl.DataFrame):
    """Failing means that dose cannot be brought to a scanner."""
    both = truth.join(told, on="irradiation_event_uid")
    assert both["device_observer_name"].equals(both["station_name"])
    for name in ("uid", "manufacturer", "model_name", "serial_number"):
        column = f"device_observer_{name}" if name == "uid" else f"device_{name}"
        assert both[column].null_count() == 0


def test_values_are_found_by_their_code_in_any_order_and_below_any_container():
    """Failing means that the report of another maker is misread."""
    dose_of = container("113829", number("113838", "12.5", "mGy.cm"), number("113830", "3.5"))
    in_order = event("2.25.7", container("113822", number("113824", "2", "s")), dose_of)
    below = container("x", container("y", dose_of, scheme="99MAKER"), scheme="99MAKER")
    uid = item("UIDREF", "113769", UID="2.25.7")
    turned = container("z", event(None, below, number("113824", "2", "s"), uid), scheme="99MAKER")
    totals = container("113811", number("113813", "12.5", "mGy.cm"))
    expected = {"dlp_mgy_cm": 12.5, "ctdi_vol_mgy": 3.5, "exposure_seconds": 2.0}
    for tree in ([totals, in_order], [turned, totals]):
        (row,) = rows(*tree)
        assert {name: row[name] for name in expected} == expected
        assert (row["irradiation_event_uid"], row["event_no"]) == ("2.25.7", 1)
        assert row["total_dlp_mgy_cm"] == 12.5
        assert row["value_flags"] is None


def test_a_code_of_a_private_scheme_is_not_the_code_of_dicom():
    """Failing means that a maker's own number passes for a dose."""
    private = number("113838", "99", "mGy.cm") | {
        "ConceptNameCodeSequence": [code("113838", "99MAKER")]
    }
    (row,) = rows(event("2.25.7", private, number("113830", "3")))
    assert (row["dlp_mgy_cm"], row["ctdi_vol_mgy"]) == (None, 3.0)


@pytest.mark.parametrize(
    ("items", "column", "value", "flag"),
    [
        ([number("113838", "1.5", "Gy.cm")], "dlp_mgy_cm", 1500.0, None),
        ([number("122130", "12.5", "dGy.cm2")], "dap_gy_m2", 0.000125, None),
        ([number("113738", "0.25", "Gy")], "rp_dose_mgy", 250.0, None),
        ([number("113824", "250", "ms")], "exposure_seconds", 0.25, None),
        ([number("113742", "2", "min")], "irradiation_seconds", 120.0, None),
        ([number("113838", "10", "mGycm")], "dlp_mgy_cm", None, "unknown_unit"),
        ([number("113838", "10", "mGy")], "dlp_mgy_cm", None, "unknown_unit"),
        ([number("113838", "10", "mGy.cm", "99MAKER")], "dlp_mgy_cm", None, "unknown_unit"),
        ([number("113830", "ten")], "ctdi_vol_mgy", None, "not_a_number"),
        ([number("113830", "1e999")], "ctdi_vol_mgy", None, "not_a_number"),
        ([number("113830", "NaN")], "ctdi_vol_mgy", None, "not_a_number"),
        ([number("113830", "-1")], "ctdi_vol_mgy", None, "negative"),
        ([number("113830", "1"), number("113830", "2")], "ctdi_vol_mgy", None, "several_values"),
        ([number("113830", "1"), number("113830", "1000", "uGy")], "ctdi_vol_mgy", 1.0, None),
        ([number("113830", None)], "ctdi_vol_mgy", None, None),
        ([number("113830", "")], "ctdi_vol_mgy", None, None),
        ([number("113830", "0")], "ctdi_vol_mgy", 0.0, None),
    ],
)
def test_a_number_is_converted_or_empty_and_flagged(items, column, value, flag):
    """Failing means that a dose is guessed, or that a doubtful one leaves no trace."""
    (row,) = rows(event("2.25.7", *items, kind="113706"))
    assert row[column] == (None if value is None else pytest.approx(value))
    assert row["value_flags"] == (flag and f"{column}:{flag}")


@pytest.mark.parametrize(
    ("text", "header", "utc", "source", "flag"),
    [
        ("20260711101500", None, datetime(2026, 7, 11, 9, 15), "assumed", None),
        ("20260111101500.25", None, datetime(2026, 1, 11, 10, 15, 0, 250_000), "assumed", None),
        ("20260711101500+0100", None, datetime(2026, 7, 11, 9, 15), "own", None),
        ("20260711101500+0000", None, datetime(2026, 7, 11, 10, 15), "own", "offset_unexpected"),
        ("20260111101500+0000", "+0200", datetime(2026, 1, 11, 10, 15), "own", None),
        ("20260711101500", "+0100", datetime(2026, 7, 11, 9, 15), "header", None),
        ("20260711101500", "-0330", datetime(2026, 7, 11, 13, 45), "header", "offset_unexpected"),
        ("20261025013000", None, datetime(2026, 10, 25, 0, 30), "assumed", "ambiguous"),
        ("20260329013000", None, datetime(2026, 3, 29, 1, 30), "assumed", "nonexistent"),
        ("19800101000500", None, datetime(1980, 1, 1, 0, 5), "assumed", "implausible"),
        ("20260711", None, None, None, None),
        ("half past ten", None, None, None, None),
    ],
)
def test_a_time_keeps_its_own_offset_and_a_doubtful_one_is_flagged(text, header, utc, source, flag):
    """Failing means that beam-on times are an hour out for a part of the year."""
    (row,) = rows(
        event("2.25.7", item("DATETIME", "111526", DateTime=text)), TimezoneOffsetFromUTC=header
    )
    found = row["event_start_utc"]
    assert row["event_start_raw"] == text
    assert (found and found.astimezone(UTC)) == (utc and utc.replace(tzinfo=UTC))
    assert (row["event_start_tz_source"], row["event_start_flag"]) == (source, flag)


def test_totals_of_two_planes_are_added_and_those_of_one_plane_told_twice_are_not():
    """Failing means that the dose of a biplane system is halved, or of another one doubled."""

    def total(plane: str, value: str) -> Item:
        named = item("CODE", "113764", ConceptCodeSequence=[code(plane)])
        return container("113702", named, number("113722", value, "Gy.m2"))

    one = event("2.25.7", number("122130", "3", "Gy.m2"), kind="113706")
    (row,) = rows(total("113620", "1"), total("113621", "2"), one)
    assert row["total_dap_gy_m2"] == 3.0
    (row,) = rows(total("113622", "1"), total("113622", "2"), one)
    assert row["total_dap_gy_m2"] is None
    assert "total_dap_gy_m2:several_values" in row["value_flags"]


def test_a_report_of_totals_alone_keeps_one_row_without_an_event():
    """Failing means that the dose of an old scanner is dropped without a word."""
    (row,) = rows(container("113811", number("113813", "12.5", "mGy.cm")))
    assert (row["event_no"], row["irradiation_event_uid"]) == (0, None)
    assert (row["total_dlp_mgy_cm"], row["report_row_count"]) == (12.5, 1)


def test_an_enhanced_report_is_a_dose_report_when_its_title_says_so():
    """Failing means that older systems' doses are missed, or a finding is read for a dose."""
    one = event("2.25.7", number("113838", "1", "mGy.cm"))
    assert rows(one, sop_class=ENHANCED_SR)[0]["dlp_mgy_cm"] == 1.0
    batch = read(report(one, sop_class=ENHANCED_SR, title="126000"))
    assert batch.rejected.select("reason", "is_dose_report").rows() == [
        (dose.NOT_A_DOSE_REPORT, False)
    ]


def test_an_event_that_one_report_repeats_with_the_same_values_is_one_row():
    """Failing means that a maker's repetition doubles a dose."""
    one = event("2.25.7", number("113838", "1", "mGy.cm"))
    assert len(rows(one, event("2.25.8"), one)) == 2
    other = event("2.25.7", number("113838", "2", "mGy.cm"))
    assert reason(report(one, other)) == dose.EVENT_TWICE


def test_names_and_texts_of_a_report_are_not_read():
    """Failing means that a name or a remark goes into the warehouse."""
    remarks = [
        item("TEXT", "121106", TextValue="remark Marwood"),
        item("PNAME", "121008", PersonName="Marwood^Ada"),
        item("TEXT", "125203", TextValue="protocol Marwood"),
    ]
    batch = read(report(*remarks, event("2.25.7", *remarks), PatientName="Marwood^Ada"))
    assert len(batch.events) == 1
    assert "Marwood" not in str(batch.events.to_dicts())


def nested(depth: int) -> Item:
    tree = event("2.25.7")
    for _ in range(depth):
        tree = container("x", tree, scheme="99MAKER")
    return tree


GOOD = report(event("2.25.7", number("113838", "1", "mGy.cm")))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"", f"{dose.NOT_WHOLE}: no preamble"),
        (b"plain text" * 100, f"{dose.NOT_WHOLE}: no preamble"),
        (report(sop_class="1.2.840.10008.5.1.4.1.1.2"), dose.NOT_A_REPORT),
        (report(event("2.25.7"), SOPInstanceUID=None), dose.NO_UID),
        (report(event("2.25.7"), StudyInstanceUID=None), dose.NO_UID),
        (report(event("2.25.7"), title="113500"), dose.NOT_A_DOSE_REPORT),
        (report(item("TEXT", "121106", TextValue="no dose")), dose.NO_DOSE),
        (report(event(None, number("113838", "1", "mGy.cm"))), dose.NO_EVENT_UID),
        (report(event("not a uid")), dose.NO_EVENT_UID),
        (report(nested(30)), dose.TOO_DEEP),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_used_is_rejected_with_its_reason(source: bytes, expected: str):
    """Failing means that a bad report stops a harvest, or a part of it passes for the whole."""
    assert reason(source) == expected


def test_a_report_larger_than_its_limits_is_rejected_before_it_fills_the_memory():
    """Failing means that one file can stop the harvest of a night."""
    assert reason(GOOD, limits=Limits(content_bytes=100)) == dose.TOO_LARGE
    assert reason(GOOD, limits=Limits(items=1)) == dose.TOO_LARGE
    blown_up = report(event("2.25.7"), syntax=DEFLATED, EncapsulatedDocument=b"\0" * 1_000_000)
    start = blown_up.index(b"\x08\x00\x16\x00")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = blown_up[:start] + packer.compress(blown_up[start:]) + packer.flush()
    assert len(packed) < 10_000
    assert reason(packed, limits=Limits(content_bytes=100_000)) == dose.TOO_LARGE
    assert len(read(packed).events) == 1


def test_undefined_lengths_nested_without_end_are_too_deep():
    """Failing means that a file made to be nested overflows the stack."""
    start = GOOD.index(b"\x40\x00\x30\xa7")
    level = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert reason(GOOD[:start] + level * 5000) == dose.TOO_DEEP


def test_a_missing_file_a_folder_and_other_reports_are_rejected(tmp_path: Path):
    """Failing means that a harvest stops on what is not a dose report."""
    assert reason(tmp_path / "gone.dcm").startswith(dose.NOT_READABLE)
    assert reason(tmp_path).startswith(dose.NOT_READABLE)
    oddly_named = tmp_path / os.fsdecode(b"\xff.dcm")
    oddly_named.write_bytes(GOOD)
    assert len(read(oddly_named).events) == 1
    samples = ["test-SR.dcm", "reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "CT_small.dcm"]
    batch = read(*[Path(str(get_testdata_file(name, download=False))) for name in samples])
    assert batch.events.is_empty()
    assert not batch.rejected["is_dose_report"].any()
    other_title, *others = batch.rejected.sort("source_no")["reason"]
    assert (other_title, set(others)) == (dose.NOT_A_DOSE_REPORT, {dose.NOT_A_REPORT})


def undefined_lengths(source: bytes) -> bytes:
    """The same report with every sequence and item closed by a delimiter."""
    dataset = pydicom.dcmread(BytesIO(source))

    def opened(found: pydicom.Dataset) -> None:
        for element in found:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for part in element.value:
                    part.is_undefined_length_sequence_item = True
                    opened(part)

    opened(dataset)
    file = BytesIO()
    pydicom.dcmwrite(file, dataset)
    return file.getvalue()


THREE = [event(f"2.25.{n}", number("113838", "1", "mGy.cm")) for n in (7, 8, 9)]


@pytest.mark.parametrize(
    "source",
    [report(*THREE), report(*THREE, syntax=IMPLICIT), undefined_lengths(report(*THREE))],
    ids=["explicit", "implicit", "undefined lengths"],
)
def test_a_report_cut_short_is_rejected_and_never_read_in_part(source: bytes):
    """Failing means that the events behind the cut are missing and the rest passes for the dose."""
    assert len(read(source).events) == 3
    cut = [source[:length] for length in range(0, len(source), 5)]
    assert read(*cut).events.is_empty()
    assert len(read(source + b"\0" * 10).events) == 3


def test_a_report_that_tells_more_events_than_it_holds_is_flagged():
    """Failing means that a report with a missing event passes for whole."""
    totals = container("113811", number("113812", "4", "{events}"))
    assert {row["value_flags"] for row in rows(totals, *THREE)} == {"total_event_count:not_as_told"}


def test_damage_anywhere_in_a_report_never_stops_a_harvest(delivered: Path):
    """Failing means that one broken report stops a night's harvest."""
    files = sorted((delivered / "inbox").glob("dicom/*/*/*/SR*.dcm"))
    rng = random.Random(20261126)
    sound = read(*files).events
    known = set(sound["sop_instance_uid"])
    damaged = []
    for number_of_copy in range(240):
        data = bytearray(rng.choice(files).read_bytes())
        if number_of_copy % 3 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(number_of_copy % 3 * 3):
            data[rng.randrange(len(data))] = rng.randrange(256)
        damaged.append(bytes(data))
    batch = read(*damaged)
    found = set(batch.events["source_no"]) | set(batch.rejected["source_no"])
    assert found == set(range(len(damaged)))
    assert not set(batch.events["source_no"]) & set(batch.rejected["source_no"])
    assert len(batch.rejected) > 0 and known & set(batch.events["sop_instance_uid"])


@pytest.mark.parametrize(("title", "is_dose"), [("113701", True), ("126000", False)])
def test_a_report_of_a_general_class_that_is_cut_short_still_says_whether_it_told_a_dose(
    title: str, is_dose: bool
):
    """Failing means that a lost dose of an older scanner leaves no trace."""
    whole = report(event("2.25.9", number("113830", "5")), title=title, sop_class=ENHANCED_SR)
    batch = read(whole[:-20])
    assert batch.rejected["reason"].item().startswith(dose.NOT_WHOLE)
    assert batch.rejected["is_dose_report"].item() is is_dose


@pytest.mark.parametrize(
    ("told", "read_as"),
    [("1.2.840.9", "1.2.840.9"), ("Heppenstall", None), ("1." * 40 + "1", None)],
)
def test_the_uid_of_a_device_is_a_uid_or_nothing(told: str, read_as: str | None):
    """Failing means that a text of somebody lands readable where only a machine's UID may."""
    device = item("UIDREF", "121012", UID=told)
    (row,) = rows(device, event("2.25.9", number("113830", "5")))
    assert row["device_observer_uid"] == read_as
