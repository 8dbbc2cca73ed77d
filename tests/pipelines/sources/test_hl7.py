"""HL7 v2 messages as events: what a radiology system says must be read as it was meant."""

from datetime import UTC, datetime
from pathlib import Path

import hl7
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.event_model import RAW_EVENT_SCHEMA
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import pseudonymise_events
from pipelines.network import Network
from pipelines.sources.hl7 import (
    events_from_messages,
    read_batches,
    read_event_map,
    read_messages,
    split_messages,
    unescape,
)
from pipelines.synthetic import generate

LONDON = "Europe/London"
UID = "2.25.60410022998877665544332211"


def header(
    event: str,
    sent: str,
    control: str,
    *,
    version: str = "2.4",
    charset: str = "UNICODE UTF-8",
    facility: str = "ZZC",
) -> str:
    return (
        f"MSH|^~\\&|RIS|{facility}|HUB|NET|{sent}||{event}|{control}|P|{version}"
        f"|||AL|NE|GBR|{charset}"
    )


PATIENT = (
    "PID|1||C0700311^^^ZZC^MR~9990001235^^^NHS^NH||EXAMPLEPERSON^RENÉE^^^MRS||19470305|F|||"
    "^^^^BL4 0JR|||||||||||A"
)
VISIT = "PV1|1|O|WARD9^^^ZZC|||||G9900555^ASKER^EXAMPLE^^^DR||||||||||03|V71^^^ZZC^VN"
CODE = r"CTHOR^CT Thorax \T\ upper abdomen^NICIP^241541005^Computed tomography^SCT"
ORC = (
    "ORC|{control}|PL7001^EPR|C26007001^RIS||{status}||^^^^^U||{at}|||G9900555^ASKER^EXAMPLE^^^DR"
    "|||||||||ZZC^Example Trust C^ODS"
)
OBR = (
    f"OBR|1|PL7001^EPR|C26007001^RIS|{CODE}||20260603100500|{{start}}|{{end}}||||||"
    "20260603101730||G9900555^ASKER^EXAMPLE^^^DR||C26007001||{site}|{room}|{changed}||CT|{result}"
    "||^^^^^U|||||{people}"
)
ASKED = OBR.format(start="", end="", site="", room="", changed="", result="", people="")
DONE = {
    "start": "20260611142012",
    "end": "20260611143358",
    "site": "ZZC01",
    "room": "ZZCCT1",
}
TECHNICIAN = "RG0044&TAKER&EXAMPLE^20260611142012^20260611143358"
READERS = "RP0088&WRITER&EXAMPLE&&&DR^{at}|RP0099&LEARNER&EXAMPLE&&&DR^20260611170000|" + TECHNICIAN

ORDER = [
    header("OMG^O19", "20260603101735", "C1"),
    PATIENT,
    VISIT,
    ORC.format(control="NW", status="SC", at="20260603100500"),
    ASKED,
]
BOOKING = [
    header("SIU^S12", "20260604090140", "C2", version="2.5.1"),
    f"SCH|AP900^EPR|AP900^RIS||||ROUTINE|{CODE}||20|MIN|^^20^20260611141000^20260611143000|||||"
    "U1^CLERK^EXAMPLE|||||||||Booked|PL7001^EPR|C26007001^RIS",
    PATIENT,
    VISIT,
    "RGS|1|A",
    r"AIS|1|A|CTHOR^CT Thorax \T\ upper abdomen^NICIP|20260611141000|||20|MIN",
    "AIL|1|A|ZZCCT1^^^ZZC01|RAD^CT",
]
PERFORMED = [
    header("OMG^O19", "20260611143500", "C3"),
    PATIENT,
    VISIT,
    ORC.format(control="SC", status="CM", at="20260611143430"),
    OBR.format(**DONE, changed="20260611143430", result="", people=f"||{TECHNICIAN}"),
    f"ZDS|{UID}^RIS^Application^DICOM",
]


def report(
    control: str,
    sent: str,
    at: str,
    lines: list[str],
    status: str = "F",
    changed: str | None = None,
) -> list[str]:
    people = READERS.format(at=at)
    body = [
        header("ORU^R01", sent, control),
        PATIENT,
        VISIT,
        ORC.format(control="RE", status="CM", at=changed or at),
        OBR.format(**DONE, changed=changed or at, result=status, people=people),
        *lines,
    ]
    uid = f"OBX|{len(lines) + 1}|HD|110180^Study Instance UID^DCM||{UID}||||||{status}"
    return [*body, uid]


def line(
    number: int, section: str, text: str, at: str = "20260612101500", status: str = "F"
) -> str:
    return (
        f"OBX|{number}|TX|CTHOR&{section}^CT Thorax^NICIP||{text}||||||{status}|||{at}|ZZD|"
        "RP0088^WRITER^EXAMPLE"
    )


FINDINGS = [
    line(1, "GDT", r"Heart \T\ great vessels of normal size."),
    line(2, "GDT", "Two small nodules, right base."),
    line(3, "IMP", "Repeat in one year."),
]
VERIFIED = report("C4", "20260612101520", "20260612101500", FINDINGS)
ADDENDUM = report(
    "C5",
    "20260613083005",
    "20260613083000",
    [*FINDINGS, line(4, "ADT", "Addendum: nodules known since May.", "20260613083000")],
)
CANCELLED = [
    header("OMI^O23^OMI_O23", "20260605120010+0100", "D9", version="2.5.1", facility="ZZE"),
    "PID|1||E0001100^^^ZZE^MR~9990001243^^^NHS^NH||EXAMPLEPERSON^ZOË^^^MX||19990101|F",
    "PV1|1|E|ED^^^ZZE",
    "ORC|CA|PL3100^EPR|E26003100^RIS||CA||||20260605120000+0100|||G9900777^ASKER^OTHER^^^DR||||"
    "NLR^No longer required^ZZERSN|||||Example Trust E^^ZZE",
    "TQ1|1||||||20260605160000+0100||S",
    "OBR|1|PL3100^EPR|E26003100^RIS|XANKL^XR Ankle^NICIP||||||||||||G9900777^ASKER^OTHER^^^DR"
    "||||||||DX",
    "IPC|E26003100^RIS|RP31|2.25.555^RIS|SP31|DX|XANKL^XR Ankle^NICIP|ZZEDX2|ZZE01|AE_ZZEDX2",
]


def joined(*messages: list[str], end: str = "\r") -> bytes:
    return "".join(text + end for message in messages for text in message).encode()


def events(data: bytes, issuer: str = "ZZC") -> pl.DataFrame:
    rows = read_messages(data, feed="hl7_ZZC").rows.with_columns(
        source_sha=pl.lit("s"), feed_id=pl.lit("hl7_ZZC"), issuer_ods=pl.lit(issuer)
    )
    return events_from_messages(rows, read_event_map(), LONDON)


def by_type(data: bytes) -> dict[str, dict[str, object]]:
    return {row["event_type"]: row for row in events(data).iter_rows(named=True)}


def event_ids(data: bytes, network: Network) -> set[bytes]:
    keys = Keys(b"p" * 32, b"e" * 32, b"")
    landed = pseudonymise_events(
        events(data), keys, network.postcode_deprivation, network.event_ranks()
    )
    return set(landed["event_id"])


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_an_order_places_a_request_and_says_when_it_was_received():
    """Failing means that the clock of a waiting time starts at the wrong moment or not at all."""
    found = by_type(joined(ORDER))
    assert set(found) == {"order_placed", "order_received"}
    placed = found["order_placed"]
    assert placed["event_ts_utc"] == utc(2026, 6, 3, 9, 5)
    assert (placed["event_ts_raw"], placed["ts_source"]) == ("20260603100500", "ORC-9")
    assert not placed["carried"] and found["order_received"]["carried"]
    assert found["order_received"]["event_ts_utc"] == utc(2026, 6, 3, 9, 17, 30)
    assert (placed["proc_code"], placed["proc_system"], placed["proc_snomed"]) == (
        "CTHOR",
        "NICIP",
        "241541005",
    )
    assert (placed["priority"], placed["source_setting"], placed["modality"]) == ("U", "03", "CT")
    assert (placed["patient_id"], placed["nhs_number"]) == ("C0700311", "9990001235")
    assert (placed["sex"], placed["postcode"], placed["ethnic_category"]) == ("2", "BL4 0JR", "A")
    assert (placed["actor_id"], placed["actor_org"]) == ("G9900555", "ZZC")
    assert placed["scheduled_for"] is None
    assert (placed["accession"], placed["filler_id"]) == ("C26007001", "C26007001")


def test_a_request_is_wanted_for_the_time_it_asks_and_never_for_that_of_a_booking():
    """Failing means that a planned test that was booked too late is overdue for nobody."""
    booked = [*ORDER[:-1], ORDER[-1] + "|" * (36 - ORDER[-1].count("|")) + "20260901090000"]
    assert booked[-1].split("|")[36] == "20260901090000"
    asked = [*booked, "TQ1|1||||||20260801"]
    changed = [text.replace("ORC|NW|", "ORC|XO|") for text in booked]
    for message, wanted in ((booked, None), (asked, utc(2026, 7, 31, 23)), (changed, None)):
        told = events(joined(message))
        assert len(told) and set(told["scheduled_for"]) == {wanted}


def test_an_appointment_is_booked_when_it_is_told_for_the_slot_that_it_names():
    """Failing means that the day of an appointment is taken for the day it was made."""
    found = by_type(joined(BOOKING))
    assert set(found) == {"appointment_booked"}
    booked = found["appointment_booked"]
    assert (booked["event_ts_utc"], booked["ts_source"]) == (utc(2026, 6, 4, 8, 1, 40), "MSH-7")
    assert booked["scheduled_for"] == utc(2026, 6, 11, 13, 10)
    assert (booked["appt_id"], booked["resource"], booked["site_ods"]) == (
        "AP900",
        "ZZCCT1",
        "ZZC01",
    )
    assert (booked["accession"], booked["filler_id"]) == (None, "C26007001")
    assert (booked["proc_code"], booked["proc_snomed"]) == ("CTHOR", "241541005")


def test_a_patient_who_did_not_attend_missed_the_slot_and_not_the_message():
    """Failing means that a waiting list clock is reset on the wrong day."""
    missed = [text.replace("S12", "S26").replace("Booked", "Noshow") for text in BOOKING]
    found = by_type(joined(missed))
    assert set(found) == {"patient_dna"}
    assert found["patient_dna"]["event_ts_utc"] == utc(2026, 6, 11, 13, 10)


@pytest.mark.parametrize(
    ("trigger", "event_type", "reason"),
    [("S13", "appointment_moved", "PATIENT"), ("S15", "appointment_cancelled", "PATIENT")],
)
def test_a_moved_appointment_names_the_new_slot_and_both_say_who_gave_up_the_old_one(
    trigger: str, event_type: str, reason: str
):
    """Failing means that a patient waits for a slot that is gone, or on the wrong clock."""
    told = [
        text.replace("S12", trigger).replace("||||ROUTINE|", "||||PATIENT^By the patient^LOCAL|")
        for text in BOOKING
    ]
    found = by_type(joined(told))
    assert set(found) == {event_type}
    row = found[event_type]
    assert (row["event_ts_utc"], row["reason"]) == (utc(2026, 6, 4, 8, 1, 40), reason)
    assert row["scheduled_for"] == utc(2026, 6, 11, 13, 10)


@pytest.mark.parametrize(
    ("status", "reason", "event_type"),
    [("VET", "", "protocolled"), ("REJ", "NOTIND^Not indicated^LOCAL", "protocol_rejected")],
)
def test_a_local_status_tells_that_a_request_was_vetted_or_refused(
    status: str, reason: str, event_type: str
):
    """Failing means that a refused request waits for ever, or that vetting times are lost."""
    order = ORC.format(control="SC", status=status, at="20260604090000")
    order = order.replace("|||||||||ZZC^", f"||||{reason}|||||ZZC^")
    message = [header("OMG^O19", "20260604090007", "C8"), PATIENT, VISIT, order, ASKED]
    found = by_type(joined(message))
    assert set(found) == {event_type, "order_received"}
    row = found[event_type]
    assert row["event_ts_utc"] == utc(2026, 6, 4, 8)
    assert row["reason"] == (reason.partition("^")[0] or None)


def test_a_completed_exam_tells_its_start_and_end_from_the_order():
    """Failing means that scanner time is measured from plans or from sending times."""
    found = by_type(joined(PERFORMED))
    assert set(found) == {"order_received", "exam_started", "exam_completed"}
    assert found["exam_started"]["event_ts_utc"] == utc(2026, 6, 11, 13, 20, 12)
    assert found["exam_started"]["carried"]
    assert found["exam_completed"]["event_ts_utc"] == utc(2026, 6, 11, 13, 33, 58)
    assert found["exam_completed"]["actor_id"] == "RG0044"
    assert found["exam_completed"]["study_uid"] == UID
    assert found["exam_completed"]["study_uid_source"] == "ZDS"
    planned = [text.replace("||CM||", "||SC||") for text in PERFORMED]
    assert set(by_type(joined(planned))) == {"order_received"}


def test_an_exam_told_as_a_change_of_the_order_is_done_all_the_same():
    """Failing means that senders who use ORC-1 XO seem to perform no exams."""
    changed = [text.replace("ORC|SC|", "ORC|XO|") for text in PERFORMED]
    assert {"exam_started", "exam_completed", "order_changed"} == set(by_type(joined(changed)))


def test_a_verified_report_has_its_time_its_author_and_the_words_of_its_lines():
    """Failing means that turnaround ends at the wrong time or is credited to another employer."""
    found = by_type(joined(VERIFIED))
    assert set(found) == {"report_verified"}
    verified = found["report_verified"]
    assert (verified["event_ts_utc"], verified["ts_source"]) == (
        utc(2026, 6, 12, 9, 15),
        "OBR-32.2",
    )
    assert (verified["actor_id"], verified["actor_org"]) == ("RP0088", "ZZD")
    assert verified["report_text"] == (
        "Heart & great vessels of normal size.\nTwo small nodules, right base.\nRepeat in one year."
    )
    assert verified["study_uid_source"] == "OBX" and verified["study_uid_conflict"] is False


def test_an_addendum_is_an_event_of_its_own_and_moves_no_verification():
    """Failing means that every addendum makes its report look late."""
    found = by_type(joined(ADDENDUM))
    assert set(found) == {"report_addendum"}
    assert found["report_addendum"]["event_ts_utc"] == utc(2026, 6, 13, 7, 30)
    assert found["report_addendum"]["report_text"].count("\n") == 3


@pytest.mark.parametrize(
    ("status", "line_status", "event_type"),
    [
        ("P", "P", "report_preliminary"),
        ("R", "R", "dictated"),
        ("C", "C", "report_corrected"),
        ("F", "C", "report_corrected"),
        ("F", "D", "report_withdrawn"),
        ("F", "W", "report_withdrawn"),
        ("X", "X", "report_withdrawn"),
    ],
)
def test_the_status_of_a_report_and_of_its_lines_decides_what_happened(
    status: str, line_status: str, event_type: str
):
    """Failing means that a draft, a correction or a withdrawal counts as a verified report."""
    lines = [line(1, "GDT", "Normal.", status=line_status)]
    assert set(
        by_type(joined(report("C6", "20260612101520", "20260612101500", lines, status)))
    ) == {event_type}


def test_a_cancellation_with_an_offset_and_an_accession_only_in_ipc_is_read():
    """Failing means that a cancelled request stays on the waiting list."""
    found = events(joined(CANCELLED), issuer="ZZE")
    assert found["event_type"].to_list() == ["order_cancelled"]
    row = found.row(0, named=True)
    assert row["event_ts_utc"] == utc(2026, 6, 5, 11)
    assert (row["tz_source"], row["ts_flag"]) == ("explicit", None)
    assert (row["accession"], row["filler_id"], row["reason"]) == ("E26003100", "E26003100", "NLR")
    assert row["scheduled_for"] == utc(2026, 6, 5, 15)
    assert (row["study_uid"], row["study_uid_source"]) == ("2.25.555", "IPC")
    assert (row["aet"], row["resource"], row["site_ods"], row["priority"]) == (
        "AE_ZZEDX2",
        "ZZEDX2",
        "ZZE01",
        "S",
    )


ALL = (ORDER, BOOKING, PERFORMED, VERIFIED, ADDENDUM)
FRAMINGS = {
    "carriage returns": joined(*ALL),
    "line feeds": joined(*ALL, end="\n"),
    "both": joined(*ALL, end="\r\n"),
    "blank lines between": b"\r\r".join(joined(m) for m in ALL),
    "byte order mark": b"\xef\xbb\xbf" + joined(*ALL),
    "byte order mark of every joined file": b"".join(b"\xef\xbb\xbf" + joined(m) for m in ALL),
    "leading return and blanks": b"\r\n  " + joined(*ALL),
    "mllp": b"".join(b"\x0b" + joined(m) + b"\x1c\r" for m in ALL),
    "mllp with marks": b"".join(b"\x0b\xef\xbb\xbf" + joined(m) + b"\x1c\r" for m in ALL),
    "envelope": b"FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r" + joined(*ALL) + b"BTS|5\rFTS|1\r",
    "last return missing": joined(*ALL).rstrip(b"\r"),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_framing_of_a_file_changes_no_event(framing: str):
    """Failing means that the same messages count differently by the engine that wrote them."""
    found, expected = events(FRAMINGS[framing]), events(joined(*ALL))
    assert read_messages(FRAMINGS[framing], feed="x").rejected.is_empty()
    assert found.equals(expected, null_equal=True)


def test_a_frame_without_a_header_is_rejected_and_not_read_into_its_neighbour():
    """Failing means that one patient's exam is given to another."""
    frames = [joined(ORDER), joined(PERFORMED[1:]), joined(VERIFIED)]
    batch = read_messages(b"".join(b"\x0b" + f + b"\x1c\r" for f in frames), feed="x")
    assert batch.rejected.rows() == [
        (2, "has_message_header", "the message does not begin with an MSH segment")
    ]
    assert batch.rows["message_no"].to_list() == [1, 3]
    assert batch.rows["message_code"].to_list() == ["OMG", "ORU"]


def test_a_message_that_runs_into_one_of_another_patient_is_rejected():
    """Failing means that one patient's exam is given to another."""
    other = PATIENT.replace("C0700311", "C0700999")
    batch = read_messages(joined([*ORDER, other, *PERFORMED[2:]]), feed="x")
    assert batch.rows.is_empty()
    assert batch.rejected["rule"].to_list() == ["has_one_patient"]


@pytest.mark.parametrize(
    "data", [b"", b"\r\n", b"MSH", b"MSH|", b"MSH\rPID|1|2", b"hello", b"\x0b"]
)
def test_a_file_without_a_message_is_no_error(data: bytes):
    """Failing means that one empty file stops every other delivery of the night."""
    batch = read_messages(data, feed="x")
    assert batch.rows.is_empty()
    assert len(batch.rejected) == bool(data.strip(b"\r\n\x0b"))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"MSH",
                b"|",
                b"^~\\&",
                b"\r",
                b"\n",
                b"\x0b",
                b"\x1c",
                b"OBR|",
                b"ORC|1",
                b"\\X",
                b"\xc3",
            ]
        )
        | st.binary(max_size=6),
        max_size=30,
    ).map(b"".join)
)
def test_no_bytes_whatever_stop_the_reader(data: bytes):
    """Failing means that one damaged message stops every other delivery of the night."""
    batch = read_messages(data, feed="x")
    numbers = set(batch.rows["message_no"]) | set(batch.rejected["message_no"])
    assert len(numbers) == len(split_messages(data))


def test_separators_of_the_message_are_used_and_not_the_usual_ones():
    """Failing means that messages with other separators lose every field."""
    usual = [*VERIFIED[:5], line(1, "ADT", r"A\F\B\S\C\T\D\R\E\E\F"), VERIFIED[-1]]
    table = str.maketrans("|^~\\&", "#@!%$")
    custom = [text.translate(table) for text in usual]
    found, expected = events(joined(custom)), events(joined(usual))
    names = [name for name in RAW_EVENT_SCHEMA if name not in ("content_sha", "report_text")]
    assert found.select(names).equals(expected.select(names), null_equal=True)
    assert expected["report_text"].to_list() == ["A|B^C&D~E\\F"]
    assert found["report_text"].to_list() == ["A#B@C$D!E%F"]


@pytest.mark.parametrize("sign", ["MSH|^~\\&#|", "MSH|^~|", "MSH|^~\\|"])
def test_a_longer_or_shorter_list_of_separators_is_read(sign: str):
    """Failing means that messages of HL7 2.7 or of an old sender are refused."""
    message = [ORDER[0].replace("MSH|^~\\&|", sign), *ORDER[1:]]
    assert set(by_type(joined(message))) == {"order_placed", "order_received"}


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"),
        ("", "utf-8"),
        ("8859/1", "latin-1"),
        ("8859/15", "iso8859-15"),
        ("8859/1~UNICODE UTF-8", "latin-1"),
        ("unknown", "utf-8"),
    ],
)
def test_the_character_set_is_the_one_that_the_message_states(charset: str, codec: str):
    """Failing means that names and codes with accents differ between two feeds of one patient."""
    message = [header("ORU^R01", "20260612101520", "C7", charset=charset), *VERIFIED[1:5]]
    message.append(line(1, "GDT", "Menière, 5 µm"))
    data = "\r".join(message).encode(codec)
    batch = read_messages(data, feed="x")
    assert batch.rows["report_text"].to_list() == ["Menière, 5 µm"]
    assert batch.rows["charset_fallback"].to_list() == [False]


def test_bytes_against_the_stated_character_set_are_read_and_marked():
    """Failing means that a sender who lies about its character set loses its messages."""
    message = [*VERIFIED[:5], line(1, "GDT", "Menière")]
    batch = read_messages("\r".join(message).encode("latin-1"), feed="x")
    assert batch.rows["report_text"].to_list() == ["Menière"]
    assert batch.rows["charset_fallback"].to_list() == [True]


ESCAPES = [
    (r"\F\ \S\ \T\ \R\ \E\ ", "utf-8", "| ^ & ~ \\ "),
    (r"one\.br\two\.sp\three\.ce\four", "utf-8", "one\ntwo\nthree\nfour"),
    (r"\H\loud\N\ quiet", "utf-8", "loud quiet"),
    (r"\XC3A9\ ", "utf-8", "é "),
    (r"\XC3\\XA9\ ", "utf-8", "é "),
    (r"\XC7\\XC3\ ", "latin-1", "ÇÃ "),
    (r"\XC3A9\ ", "latin-1", "Ã© "),
    (r"\XE9\ ", "utf-8", "é "),
    (r"\X4\ \Xzz\ ", "utf-8", r"\X4\ \Xzz\ "),
    (r"C:\temp\x.y", "utf-8", r"C:\temp\x.y"),
    (r"\Zfoo\bar", "utf-8", r"\Zfoo\bar"),
    (r"\Zfoo\E\F\ ", "utf-8", r"\Zfoo\E| "),
    (r"end\F", "utf-8", r"end\F"),
    (r"a \ b \T\ c", "utf-8", r"a \ b & c"),
    (r"\.brx\ \T\ ", "utf-8", r"\.brx\ & "),
    (r"\E\T\E\ ", "utf-8", r"\T\ "),
]


@pytest.mark.parametrize(("text", "charset", "expected"), ESCAPES)
def test_escapes_are_resolved_and_what_is_none_stays(text: str, charset: str, expected: str):
    """Failing means that a code or text is not what the sender meant."""
    assert unescape(text, "^~\\&", charset) == expected
    turned = text.replace("\\", "%")
    assert unescape(turned, "^~%&", charset) == expected.replace("\\", "%")


def test_unescaped_signs_in_a_report_do_not_cut_it():
    """Failing means that reports of careless senders look shorter than they are."""
    message = [*VERIFIED[:5], line(1, "GDT", r"T2 & FLAIR ^ normal~no mass \ none")]
    found = read_messages(joined(message), feed="x").rows["report_text"].to_list()
    assert found == ["T2 & FLAIR ^ normal\nno mass \\ none"]


def test_every_exam_of_a_message_gets_a_row_with_its_own_order():
    """Failing means that a second exam of one request is never counted."""
    second = [text.replace("C26007001", "C26007002").replace(UID, "2.25.9") for text in PERFORMED]
    rows = read_messages(joined([*PERFORMED, *second[3:]]), feed="x").rows
    assert rows["obr_set"].to_list() == [1, 2]
    assert rows["accession"].to_list() == ["C26007001", "C26007002"]
    assert rows["study_uid"].to_list() == [UID, "2.25.9"]
    assert rows["order_status"].to_list() == ["CM", "CM"]


def test_an_order_without_an_exam_segment_still_gives_its_row():
    """Failing means that requests of a terse sender vanish."""
    orders = [ORDER[3], ORDER[3].replace("C26007001", "C26007005")]
    rows = read_messages(joined([*ORDER[:3], *orders]), feed="x").rows
    assert rows["filler_id"].to_list() == ["C26007001", "C26007005"]
    assert rows["exam_code"].to_list() == [None, None]
    mixed = read_messages(joined([*ORDER, orders[1]]), feed="x").rows
    assert mixed["filler_id"].to_list() == ["C26007001", "C26007005"]


def test_a_broken_segment_id_is_not_taken_for_the_segment():
    """Failing means that fields of a damaged line are believed."""
    broken = [*PERFORMED[:4], PERFORMED[4].replace("OBR|", "OBR1|", 1), PERFORMED[5]]
    rows = read_messages(joined(broken), feed="x").rows
    assert rows["accession"].to_list() == [None] and rows["started_time"].to_list() == [None]


def test_a_message_that_breaks_off_gives_no_event():
    """Failing means that half a message counts as a whole one."""
    found = read_messages(joined(ORDER)[: joined(ORDER).index(b"||")] + b"\r", feed="x")
    assert found.rows["message_code"].to_list() == [None]
    assert events(joined(ORDER)[: joined(ORDER).index(b"||")]).is_empty()


@pytest.mark.parametrize(
    "numbers",
    [
        "9990001235^^^NHS^NH~C0700311^^^ZZC^MR",
        "C0700311^^^ZZC^MR~999 000 1235^^^NHS^NHS",
        " C0700311 ^^^ZZC^PI~9990001235^^^NHS^NH",
    ],
)
def test_the_type_of_a_number_and_not_its_place_says_whose_it_is(numbers: str):
    """Failing means that one person is two patients, by the order in which numbers are sent."""
    patient = PATIENT.replace("C0700311^^^ZZC^MR~9990001235^^^NHS^NH", numbers)
    rows = read_messages(joined([ORDER[0], patient, *ORDER[2:]]), feed="x").rows
    assert rows["patient_id"].to_list() == ["C0700311"]
    assert rows["nhs_number"].to_list() == ["9990001235"]


def test_two_study_uids_in_one_message_are_noticed():
    """Failing means that images are linked to the wrong exam without a trace."""
    both = [*VERIFIED, "ZDS|2.25.1^RIS^Application^DICOM"]
    row = read_messages(joined(both), feed="x").rows.row(0, named=True)
    assert row["study_uid_conflict"] and row["study_uid_source"] == "ZDS"


@pytest.mark.parametrize("message", ALL, ids=["order", "booking", "done", "report", "addendum"])
def test_a_message_sent_again_is_the_same_event(message: list[str], network: Network):
    """Failing means that a replay by the engine counts everything twice."""
    fields = message[0].split("|")
    fields[6], fields[9] = "20260701000000", "AGAIN1"
    again = ["|".join(fields), *message[1:]]
    expected = event_ids(joined(message), network)
    assert event_ids(joined(again), network) == expected
    enveloped = b"BHS|^~\\&|RIS\r" + joined(again) + b"BTS|1\r"
    assert event_ids(enveloped, network) == expected


def test_a_snapshot_of_a_known_fact_is_the_same_event(network: Network):
    """Failing means that a fact told in three messages counts three times."""
    told = event_ids(joined(ORDER), network) & event_ids(joined(PERFORMED), network)
    assert len(told) == 1


def test_a_time_that_cannot_be_read_leaves_an_event_without_a_time():
    """Failing means that an unreadable time is replaced by another and believed."""
    broken = [text.replace("20260603100500", "45321.5") for text in ORDER]
    found = {r["event_type"]: r for r in events(joined(broken)).iter_rows(named=True)}
    assert found["order_placed"]["event_ts_utc"] is None
    assert found["order_received"]["event_ts_utc"] == utc(2026, 6, 3, 9, 17, 30)


def test_a_merge_names_the_number_that_stays_and_the_one_given_up():
    """Failing means that a patient registered twice cannot be told from two patients."""
    merge = [
        header("ADT^A40^ADT_A39", "20260603110005", "C9"),
        "EVN|A40|20260603110000",
        "PID|1||A0012345^^^ZZA^MR",
        "MRG|A0099999^^^ZZA^MR",
    ]
    found = events(joined(merge)).row(0, named=True)
    assert found["event_type"] == "patient_merged"
    assert (found["patient_id"], found["prior_patient_id"]) == ("A0012345", "A0099999")
    assert found["event_ts_utc"] == utc(2026, 6, 3, 10)
    assert found["filler_id"] is None


@pytest.mark.parametrize(
    ("kept", "given_up", "is_one"),
    [
        ("A0012345^^^ZZA^MR", "A0099999^^^ZZA^MR", True),
        ("9990001235^^^NHS^NH~A0012345^^^ZZA^MR", "A0099999^^^ZZA^MR", True),
        ("A0012345^^^ZZA^MR~9990001235^^^NHS^NH", "A0099999^^^ZZB^MR", False),
        ("A0012345^^^ZZA^MR~9990001235^^^NHS^NH", "9990001243^^^NHS^NH", False),
        ("9990001235^^^NHS^NH", "A0099999^^^ZZA^MR", False),
        ("A0012345", "A0099999^^^ZZA^MR", None),
        ("A0012345^^^ZZA^MR", "A0099999", None),
    ],
)
def test_a_merge_says_whether_both_numbers_are_of_one_authority(
    kept: str, given_up: str, is_one: bool | None
):
    """Failing means that numbers of two trusts, or an NHS number, join two patients."""
    merge = [
        header("ADT^A40^ADT_A39", "20260603110005", "C9"),
        "EVN|A40|20260603110000",
        f"PID|1||{kept}",
        f"MRG|{given_up}",
    ]
    found = read_messages(joined(ORDER, merge, ORDER), feed="hl7_ZZC").rows
    assert found["merges_one_authority"].to_list() == [None, is_one, None]


@pytest.mark.parametrize(
    ("message", "words"),
    [(VERIFIED, 16), (ADDENDUM, 21)],
)
def test_the_words_of_a_report_are_counted_and_its_text_is_not_kept(
    network: Network, message: list[str], words: int
):
    """Failing means that the length of a report is wrong, or that its text reaches the disk."""
    keys = Keys(b"p" * 32, b"e" * 32, b"")
    landed = pseudonymise_events(
        events(joined(message)), keys, network.postcode_deprivation, network.event_ranks()
    )
    told = landed.filter(pl.col("report_words").is_not_null())
    assert told["report_words"].unique().to_list() == [words]
    assert "nodules" not in repr(landed.rows())


def test_a_replaced_order_ends_and_the_new_number_keeps_the_time_of_the_request():
    """Failing means that a renumbered request waits twice, or that its clock starts anew."""
    old, new = (
        [text.replace("ORC|NW|", f"ORC|{control}|") for text in ORDER] for control in ("RU", "RO")
    )
    ended = events(joined(old))
    assert ended["event_type"].to_list() == ["exam_reidentified", "order_cancelled"]
    assert ended["status_raw"][0].startswith("ORC1=RU|")
    begun = events(joined(new))
    assert "exam_reidentified" in begun["event_type"].to_list()
    placed = begun.filter(pl.col("event_type") == "order_placed")
    assert placed["ts_source"].to_list() == ["OBR-6"]
    assert ended["placer_id"][0] == begun["placer_id"][0]


def test_a_pair_of_codes_without_a_rule_gives_no_event():
    """Failing means that an unknown status is guessed."""
    unknown = [text.replace("ORC|NW|", "ORC|ZZ|") for text in ORDER]
    assert events(joined(unknown)).is_empty()


# Field paths that python-hl7 reads for us: segment, field, component, sub-component.
PATHS = {
    "message_code": ("MSH", 9, 1, 1),
    "trigger_event": ("MSH", 9, 2, 1),
    "sending_facility": ("MSH", 4, 1, 1),
    "message_time": ("MSH", 7, 1, 1),
    "recorded_time": ("EVN", 2, 1, 1),
    "prior_patient_id": ("MRG", 1, 1, 1),
    "control_id": ("MSH", 10, 1, 1),
    "processing_id": ("MSH", 11, 1, 1),
    "birth_date": ("PID", 7, 1, 1),
    "sex": ("PID", 8, 1, 1),
    "postcode": ("PID", 11, 5, 1),
    "ethnic_category": ("PID", 22, 1, 1),
    "patient_class": ("PV1", 2, 1, 1),
    "source_setting": ("PV1", 18, 1, 1),
    "order_control": ("ORC", 1, 1, 1),
    "order_status": ("ORC", 5, 1, 1),
    "order_transaction_time": ("ORC", 9, 1, 1),
    "cancel_reason": ("ORC", 16, 1, 1),
    "accession": ("OBR", 18, 1, 1),
    "requested_time": ("OBR", 6, 1, 1),
    "started_time": ("OBR", 7, 1, 1),
    "completed_time": ("OBR", 8, 1, 1),
    "received_time": ("OBR", 14, 1, 1),
    "status_time": ("OBR", 22, 1, 1),
    "modality": ("OBR", 24, 1, 1),
    "result_status": ("OBR", 25, 1, 1),
    "interpreter_id": ("OBR", 32, 1, 1),
    "interpreted_time": ("OBR", 32, 2, 1),
    "first_reader_id": ("OBR", 33, 1, 1),
    "technician_id": ("OBR", 34, 1, 1),
    "scheduling_status": ("SCH", 25, 1, 1),
    "appointment_id": ("SCH", 1, 1, 1),
}
WITH_FALLBACK = {
    "patient_id": [("PID", 3, 1, 1)],
    "filler_id": [("OBR", 3, 1, 1), ("SCH", 27, 1, 1)],
    "placer_id": [("OBR", 2, 1, 1), ("SCH", 26, 1, 1)],
    "exam_code": [("OBR", 4, 1, 1), ("AIS", 3, 1, 1), ("SCH", 7, 1, 1)],
    "site_code": [("OBR", 20, 1, 1), ("AIL", 3, 4, 1)],
    "resource": [("OBR", 21, 1, 1), ("AIL", 3, 1, 1)],
}


def oracle(message: hl7.Message, path: tuple[str, int, int, int]) -> str | None:
    segment, field, component, sub = path
    try:
        found = message.segments(segment)[0]
        value = found.extract_field(1, field, 1, component, sub)
    except (KeyError, IndexError):
        return None
    return message.unescape(value) or None if value else None


def group_of(text: str, number: int) -> str:
    """The message with one of its order groups only; a group begins with ORC."""
    head, *groups = text.split("\rORC|")
    return "\rORC|".join([head, *groups[number - 1 : number]])


def report_of(message: hl7.Message) -> str | None:
    try:
        lines = message.segments("OBX")
    except KeyError:
        return None
    return "\n".join(message.unescape(str(o[5])) for o in lines if str(o[2]) == "TX") or None


def test_an_independent_reader_finds_the_same_values(network: Network, tmp_path: Path):
    """Failing means that our reading of a field is our own invention."""
    generate(network, tmp_path / "inbox", tmp_path / "truth", scale=0.0008)
    compared = 0
    files = sorted(tmp_path.glob("inbox/hl7/*/*.hl7"))
    batches = read_batches([file.read_bytes() for file in files], feed="x")
    for file, batch in zip(files, batches, strict=True):
        pieces = split_messages(file.read_bytes())
        assert batch.rows["message_no"].n_unique() + len(batch.rejected) == len(pieces)
        for row in batch.rows.iter_rows(named=True):
            piece = pieces[row["message_no"] - 1].decode()
            message = hl7.parse(group_of(piece, row["obr_set"]))
            for name, path in PATHS.items():
                assert row[name] == oracle(message, path), (file.name, row["message_no"], name)
            for name, paths in WITH_FALLBACK.items():
                found = next((v for v in (oracle(message, p) for p in paths) if v), None)
                assert row[name] == found, (file.name, row["message_no"], name)
            assert row["report_text"] == report_of(message)
            compared += 1
    assert compared > 1_400
