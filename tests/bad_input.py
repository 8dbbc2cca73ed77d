"""Bad input by kind, named as docs/bad_input.md names it: the bytes, and the rule they break."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl
from openpyxl import Workbook

from tests.hl7_sender import NHS_NUMBER, message

ED = b"OBX|2|ED|PDF^Document||RIS^application^pdf^Base64^JVBERi0xLjQK\r\nJcOkw7zDtsOfCjIg\rAAAA||||||F\r"
VERIFIED_AT = b"20260611100900"


@dataclass(frozen=True)
class Kind:
    """One kind: its bytes, the rule that rejects or refuses it, and how many records that are.

    `rule` None: it lands. `warned`: the rule that only says so on the receipt. `shows`: what the
    landed rows must be for it to have been read as the page says.
    """

    data: bytes
    rule: str | None = None
    records: int = 1
    warned: str | None = None
    shows: Callable[[pl.DataFrame], object] = lambda rows: True
    name: str = ""


def _report(number: int, *changes: tuple[bytes, bytes], **header: Any) -> bytes:
    """A verified report with some of its bytes replaced; each must be there."""
    data = message(number, **header)
    for old, new in changes:
        assert old in data
        data = data.replace(old, new)
    return data


def _words(count: int) -> Callable[[pl.DataFrame], object]:
    return lambda rows: rows["report_words"].to_list() == [count]


def _flag(flag: str, instant: str) -> Callable[[pl.DataFrame], object]:
    def shows(rows: pl.DataFrame) -> bool:
        found = rows.select("ts_flag", pl.col("event_ts_utc").dt.to_string("%Y-%m-%d %H:%M"))
        return found.rows() == [(flag, instant)]

    return shows


def _cut_to(number: int, end: bytes) -> bytes:
    data = message(number)
    return data[: data.index(end)]


LUNGS = b"Lungs clear."
# Each is a message in a frame of its own between sound ones.
MESSAGES: dict[str, Kind] = {
    "bytes of another character set than MSH-18 states": Kind(
        _report(1, (b"AURELIA", "ZOË".encode("latin-1")), header_end="||||||UNICODE UTF-8"),
        warned="character_set_is_as_stated",
    ),
    "a character set that nobody knows": Kind(
        _report(2, (b"AURELIA", "ZOË".encode("latin-1")), header_end="||||||KLINGON"),
        warned="character_set_is_as_stated",
    ),
    "a document (ED) with line breaks in its base64": Kind(message(3) + ED, shows=_words(2)),
    "unescaped `^`, `&`, `~` or `\\` in a report": Kind(
        _report(4, (LUNGS, b"T2 ^ FLAIR & free ~ of C:\\temp fluid.")), shows=_words(8)
    ),
    "an unescaped `|` in a report": Kind(_report(5, (LUNGS, b"Lungs | clear.")), shows=_words(1)),
    "a line break in a report": Kind(_report(6, (LUNGS, b"Lungs\rclear.")), shows=_words(1)),
    "an unescaped `|` in a name": Kind(
        _report(7, (b"AURELIA", b"AURE|LIA")),
        shows=lambda rows: rows.select("age_band", "sex").rows() == [(None, None)],
    ),
    "an hour that never was (March)": Kind(
        _report(8, (VERIFIED_AT, b"20260329013000")), shows=_flag("nonexistent", "2026-03-29 01:30")
    ),
    "an hour that was twice (October)": Kind(
        _report(9, (VERIFIED_AT, b"20251026013000")), shows=_flag("ambiguous", "2025-10-26 00:30")
    ),
    "two study UIDs that disagree": Kind(
        message(10)
        + b"ZDS|2.25.1^RIS^Application^DICOM\rOBX|2|HD|110180^Study^DCM||2.25.2||||||F\r",
        warned="study_uids_agree",
    ),
    "broken off in its last segment": Kind(message(11)[:-60]),
    "a message of two bytes a character without a mark": Kind(
        message(12).decode().encode("utf-16-le"), "has_message_header"
    ),
    "no MSH segment": Kind(_report(13, (b"MSH|", b"MSX|")), "has_message_header"),
    "what is no message (an archive, XML)": Kind(b"PK\x03\x04" + bytes(100), "has_message_header"),
    "an MSH-2 that names one sign": Kind(
        _report(14, (b"MSH|^~\\&", b"MSH|^")), "has_message_header"
    ),
    "one sign for two separators": Kind(
        _report(15, (b"MSH|^~\\&", b"MSH|^^\\&")), "has_distinct_separators"
    ),
    "two patients in one message": Kind(
        _report(16, (b"\rORC", b"\rPID|1||B2^^^RMC^MR\rORC")), "has_one_patient"
    ),
    "broken off in its header": Kind(_cut_to(17, b"|ORU^R01"), "message_code_is_given"),
    "broken off before its order": Kind(_cut_to(18, b"ORC|RE"), "subject_id_is_given"),
    "a broken segment id (`OBR1`)": Kind(
        _report(19, (b"\rOBR|", b"\rOBR1|")), "status_is_mapped"
    ),
    "an unescaped `|` in the name of an exam": Kind(
        _report(20, (b"XR Chest^NICIP|||", b"XR|Chest^NICIP|||")), "status_is_mapped"
    ),
    "a status without a rule in the event map": Kind(
        _report(21, (b"|F|||||||R1", b"|Q|||||||R1")), "status_is_mapped"
    ),
    "30 February": Kind(_report(22, (VERIFIED_AT, b"20260230101500")), "event_time_is_readable"),
    "hour 25": Kind(_report(23, (VERIFIED_AT, b"20260611256100")), "event_time_is_readable"),
    "an offset beyond 14 hours": Kind(
        _report(24, (VERIFIED_AT, b"20260611101500+9900")), "event_time_is_readable"
    ),
    "words for a time": Kind(_report(25, (VERIFIED_AT, b"yesterday")), "event_time_is_readable"),
    "no time, as databases write it (1900, 1970)": Kind(
        _report(38, (VERIFIED_AT, b"19000101000000")), "event_time_is_readable"
    ),
    "a year of two digits": Kind(
        _report(26, (VERIFIED_AT, b"26061110")), "event_is_not_in_the_future"
    ),
    "an event later than a day after its delivery": Kind(
        _report(27, (VERIFIED_AT, b"20261231235959")), "event_is_not_in_the_future"
    ),
    "30 February in MSH-7": Kind(
        _report(28, (b"|20260611101500|", b"|20260230101500|")), "message_time_exists"
    ),
    "an MSH-7 that is no time": Kind(
        _report(29, (b"|20260611101500|", b"|yesterday|")), "message_time_is_an_hl7_time"
    ),
    "no MSH-7": Kind(_report(30, (b"|20260611101500|", b"||")), "message_time_is_given"),
    "a message for training (MSH-11 T)": Kind(
        message(31, processing="T"), "message_is_for_production"
    ),
    "a message for debugging (MSH-11 D)": Kind(
        message(32, processing="D"), "message_is_for_production"
    ),
    "no MSH-11": Kind(message(33, processing=""), "processing_id_is_given"),
    "no number of the patient (PID-3)": Kind(
        _report(34, (b"A34^^^RMC^MR~", b""), (NHS_NUMBER.encode(), b"")), "patient_id_is_given"
    ),
    "no sender (MSH-4)": Kind(message(35, facility=""), "sending_facility_is_given"),
    "a sender that is not registered (MSH-4)": Kind(
        message(36, facility="NOBODY"), "issuer_ods_is_given"
    ),
    "a message of another subject (ACK, ADT^A08)": Kind(
        _report(37, (b"ORU^R01", b"ADT^A08")), "message_code_is_imaging"
    ),
}  # fmt: skip
# Each is a delivery of its own.
MESSAGE_FILES: dict[str, Kind] = {
    "another number of messages than BTS-1 states": Kind(
        b"BHS|^~\\&|RIS\r" + message(50) + b"BTS|3\r", "batch_count_agrees"
    ),
    "a file without a message": Kind(b"\r\n\r\n", "is_not_empty", records=0),
    "a file that no feed of the registry claims": Kind(
        message(51), "feed_is_registered", name="XYZ_20260611.hl7"
    ),
}

HEADER = (
    b"party_code,month_on,staff_group,establishment_wte,in_post_wte,leavers_wte,agency_hours,"
    b"bank_hours\n"
)
STAFF = b"RBV,2026-01-01,radiographer,40,36.5,0.5,12,30\n"


def _staff(old: bytes, new: bytes) -> bytes:
    assert old in STAFF
    return STAFF.replace(old, new)


# Each is a line of a file of the feed workforce.
TABLE_ROWS: dict[str, Kind] = {
    "a text that begins with `=`, `+`, `-` or `@`": Kind(
        _staff(b"radiographer", b"=cmd|' /C calc'!A0"), "cell_is_no_formula"
    ),
    "the same behind blanks": Kind(_staff(b"radiographer", b"\t @SUM(A1)"), "cell_is_no_formula"),
    "a NUL byte in a value": Kind(
        _staff(b"radiographer", b"radio\x00grapher"), "staff_group_is_known"
    ),
    "a line with too few fields": Kind(
        b"RBV,2026-01-01,radiographer\n", "establishment_wte_is_given"
    ),
    "a day that does not exist": Kind(_staff(b"2026-01-01", b"2026-02-30"), "month_on_is_a_date"),
    "an infinite number (`inf`, `1e400`)": Kind(
        _staff(b"36.5", b"1e400"), "in_post_wte_is_a_number"
    ),
    "`NaN` for a number": Kind(_staff(b"36.5", b"NaN"), "in_post_wte_is_a_number"),
}
TABLE_FILES: dict[str, Kind] = {
    "another character set than UTF-8": Kind(
        HEADER + _staff(b"radiographer", "radiogräpher".encode("latin-1")), "is_readable"
    ),
    "two bytes a character (UTF-16)": Kind(
        (HEADER + STAFF).decode().encode("utf-16"), "is_readable", records=2
    ),
    "a zip, a workbook or a PDF in place of a list": Kind(
        b"PK\x03\x04" + HEADER + STAFF, "is_readable"
    ),
    "a line with too many fields": Kind(
        HEADER + STAFF[:-1] + b",9,9,9\n", "is_readable"
    ),
    "a quotation mark that is never closed": Kind(HEADER + b'"' + STAFF, "is_readable"),
    "another delimiter": Kind((HEADER + STAFF).replace(b",", b";"), "has_all_columns"),
    "a missing column": Kind(HEADER.replace(b",bank_hours", b"") + _staff(b",30", b""), "has_all_columns"),
    "a page of a web server in place of a file": Kind(
        b"<html><body>sign in</body></html>\n", "has_all_columns", records=0
    ),
    "an empty file": Kind(b"", "is_not_empty", records=0),
}  # fmt: skip

_DOCTYPE = b'<?xml version="1.0"?><!DOCTYPE AuditMessage '
_BOMB = b'[<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
_WHO = f'<AuditMessage><ActiveParticipant UserID="{NHS_NUMBER}"/>'.encode()
AUDIT: dict[str, Kind] = {
    "audit XML with entities that swell": Kind(
        _DOCTYPE + _BOMB + _WHO + b"&b;</AuditMessage>", "has_no_document_type"
    ),
    "audit XML with an entity outside": Kind(
        _DOCTYPE + b'SYSTEM "file:///etc/passwd">' + _WHO + b"</AuditMessage>",
        "has_no_document_type",
    ),
    "audit XML that includes a file": Kind(
        _WHO + b'<xi:include href="file:///etc/passwd"/></AuditMessage>', "has_event_identification"
    ),
    "audit XML that breaks off": Kind(_WHO, "message_is_whole"),
    "audit XML with a bare `&`": Kind(_WHO.replace(b'="', b'="A & B ') + b"</AuditMessage>", "text_is_escaped"),
    "an audit message of no time, as programs write it (1970)": Kind(
        b'<AuditMessage><EventIdentification EventActionCode="R" EventDateTime="1970-01-01T00:00:00Z" EventOutcomeIndicator="0">'
        b'<EventID csd-code="110103" codeSystemName="DCM"/></EventIdentification></AuditMessage>',
        "event_time_is_readable",
    ),
}  # fmt: skip
_NHS = "https://fhir.nhs.uk/Id/nhs-number"
_RESOURCE = {"resourceType": "DiagnosticReport", "status": "final"}
RESOURCES: dict[str, Kind] = {
    "FHIR as XML": Kind(
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><Bundle/>\n', "line_is_a_resource"
    ),
    "JSON nested without end": Kind(b"[" * 200_000 + b"\n", "line_is_a_resource"),
    "JSON of another character set": Kind(
        '{"resourceType": "DiagnosticReport", "status": "fin\xe4l"}\n'.encode("latin-1"),
        "line_is_a_resource",
    ),
    "a number of 10,000 digits": Kind(
        b'{"resourceType": "DiagnosticReport", "x": ' + b"9" * 10_000 + b"}\n",
        "line_is_a_resource",
    ),
    "a list of resources in one line": Kind(
        json.dumps([_RESOURCE]).encode() + b"\n", "line_is_a_resource"
    ),
    "a Bundle": Kind(
        json.dumps({"resourceType": "Bundle", "entry": [{"resource": _RESOURCE}]}).encode() + b"\n",
        "resource_is_imaging",
    ),
    "a resource of no time, as programs write it (1970)": Kind(
        json.dumps(
            _RESOURCE
            | {
                "issued": "1970-01-01T00:00:00Z",
                "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "RMC7700012"}],
                "subject": {"identifier": {"system": _NHS, "value": NHS_NUMBER}},
            }
        ).encode()
        + b"\n",
        "event_time_is_readable",
    ),
}
SUBMISSIONS: dict[str, Kind] = {
    "a submission as XML with a document type": Kind(
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">]><x>&a;</x>',
        "dids_076_xml_has_the_structure_of_dids",
        records=0,
    ),
    "a submission with a value of endless length": Kind(
        b"accession\n" + b"x" * 200_000, "is_readable"
    ),
}


def workbook(change: Callable[[Workbook], object] = lambda _: None) -> bytes:
    """A monthly workbook of one sheet with one row, signed off, with something changed in it."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = "workforce"
    sheet.append(HEADER.decode().strip().split(","))
    sheet.append(["RBV", date(2026, 1, 1), "radiographer", 40, 36.5, 0.5, 12, 30])
    cover = book.create_sheet("sign_off")
    for line in (
        ("party_code", "RBV"),
        ("month_on", date(2026, 1, 1)),
        ("signed_off_by_role", "imaging services manager"),
        ("signed_off_on", date(2026, 2, 1)),
        ("sheet", "rows"),
        ("workforce", 1),
    ):
        cover.append(line)
    change(book)
    # Equal bytes whenever they are made.
    book.properties.created = book.properties.modified = datetime(2026, 2, 1)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def in_another_part(data: bytes, change: Callable[[bytes], bytes] = lambda part: part) -> bytes:
    """The same workbook with its first sheet, changed, in a part that is not named as XML."""
    old, new, out = "sheet1.xml", "sheet1.dat", io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            part = before.read(name)
            part = change(part) if name.endswith(old) else part.replace(old.encode(), new.encode())
            after.writestr(name.replace(old, new), part, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _with_document_type(part: bytes) -> bytes:
    entity = b"<!DOCTYPE worksheet [<!ENTITY a '99'>]><worksheet"
    return part.replace(b"<worksheet", entity, 1).replace(b"<v>36.5</v>", b"<v>&a;</v>")


_MERGED = workbook(lambda book: book["workforce"].merge_cells("A2:A3"))
_QUOTED = (b'ref="A2:A3"', b"ref = 'A2:A3'")
WORKBOOKS: dict[str, Kind] = {
    "a workbook with a document type in any part": Kind(
        in_another_part(workbook(), _with_document_type), "is_readable"
    ),
    "merged cells": Kind(_MERGED, "sheet_has_no_merged_cells"),
    "merged cells in a part of another name": Kind(
        in_another_part(_MERGED, lambda part: part.replace(*_QUOTED)), "sheet_has_no_merged_cells"
    ),
}
