"""Audit messages of image access in, one row per message and study out.

XML of RFC 3881 or DICOM PS3.15 A.5 (they differ in the names of attributes), bare or in RFC 5424
syslog frames: one after the other, a line each, or each with its length before it (RFC 5425).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import polars as pl

from pipelines.event_model import conform
from pipelines.sources.clock import parse_iso_times

# A message that lists every image of a large study has some hundred kilobytes.
LARGEST_MESSAGE = 4 << 20
BOM = b"\xef\xbb\xbf"

# Codes of DICOM PS3.16 (system DCM).
ACCESSED, TRANSFERRED, EXPORTED = "110103", "110104", "110106"
KNOWN_EVENTS = {
    "110100": "Application Activity",
    "110101": "Audit Log Used",
    "110102": "Begin Transferring DICOM Instances",
    ACCESSED: "DICOM Instances Accessed",
    TRANSFERRED: "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    EXPORTED: "Export",
    "110107": "Import",
    "110108": "Network Entry",
    "110109": "Order Record",
    "110110": "Patient Record",
    "110111": "Procedure Record",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
}
STUDY_UID, PERSON_ID, AE_TITLE, MACHINE_IDS = "110180", "113871", "110119", {"110182", "113877"}
APPLICATION, DESTINATION, SOURCE = "110150", "110152", "110153"
# What a patient's number is called in either list of codes (RFC 3881 and DICOM).
PATIENT_NUMBER = "2"
# Vendors' names of the time from launch to first image, in seconds.
FIRST_IMAGE_DETAILS = {"SecondsToFirstImage"}
LONGEST_SECONDS = 3600.0
# dcm4chee writes these where it does not know the study, or the patient.
UNKNOWN_STUDIES, UNKNOWN_PATIENT = {"1.2.40.0.13.1.15.110.3.165.1"}, "<none>"
UID = re.compile(r"^[0-9]+(?:\.[0-9]+){2,}$")
TITLE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_. \-]{0,15}$")
SOURCE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:\-]{0,63}$")
ORGANISATION = r"^[A-Z0-9]{3,8}$"
ROLE = re.compile(r"^[A-Za-z0-9_.\-]{1,16}$")

_HEADER = rb"<\d{1,3}>1 "
_LENGTH = re.compile(rb"([1-9]\d{0,9}) ")
_XML = rb"<\?xml[ \t]|<(?:[A-Za-z_][\w.\-]*:)?AuditMessage[\s>]"
_START = re.compile(rb"(?:[1-9]\d{0,9} )?" + _HEADER + rb"|(?:\xef\xbb\xbf)?(?:" + _XML + rb")")
_NEXT_LINE = re.compile(rb"\n(?=(?:[1-9]\d{0,9} )?" + _HEADER + rb")")
_NEXT_FRAME = re.compile(_NEXT_LINE.pattern + rb"|>(?=[1-9]\d{0,9} " + _HEADER + rb")")
_NEXT_XML = re.compile(rb"(?=" + _XML + rb")|</(?:[A-Za-z_][\w.\-]*:)?AuditMessage\s*>")
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.\-]*:)?AuditMessage[\s>]")
_INK = re.compile(rb"[^\s\x00]")

ROW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "message_no": pl.Int64,
    "study_set": pl.Int32,
    "dialect": pl.String,
    "sent_time": pl.String,
    "event_code": pl.String,
    "action": pl.String,
    "outcome": pl.String,
    "event_time": pl.String,
    "audit_source_id": pl.String,
    "audit_site_id": pl.String,
    "person_id": pl.String,
    "person_other_id": pl.String,
    "person_role": pl.String,
    "is_person_requestor": pl.Boolean,
    "is_person_destination": pl.Boolean,
    "source_aet": pl.String,
    "destination_aet": pl.String,
    "application_aet": pl.String,
    "study_uid": pl.String,
    "accession": pl.String,
    "instance_count": pl.Int64,
    "patient_number": pl.String,
    "patient_authority": pl.String,
    "seconds_to_first_image": pl.Float64,
    "content_sha": pl.Binary,
}
REJECT_SCHEMA = {"message_no": pl.Int64, "rule": pl.String, "detail": pl.String}


class Unreadable(ValueError):
    """A message that gives no row: the rule it breaks, and a detail without any value of it."""

    def __init__(self, rule: str, detail: str) -> None:
        """Keep rule and detail apart."""
        super().__init__(f"{rule}: {detail}")
        self.rule, self.detail = rule, detail


@dataclass(frozen=True)
class AuditBatch:
    """What a batch of bytes held.

    `rows`: one row per message and study (ROW_SCHEMA). `message_no` counts from 1; a message that
    names no study gives one row without it. `dialect` is dicom or rfc3881. `person_*` describe
    the person who acted, where there is one: `person_other_id` is the AlternativeUserID,
    `person_role` a local role code. AE titles are those of the systems that sent, received, or ran
    the viewer. `instance_count` is the sum over the classes of the study. `content_sha` is a digest
    of the XML alone: equal for a message sent again. Identities are raw, in memory only.
    `rejected`: one row per message that gave none (`message_no`, `rule`, `detail`).
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


@dataclass
class _Section:
    """One participant, object or source of a message: its attributes and those inside it."""

    attributes: dict[str, str]
    inner: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def coded(self, name: str) -> dict[str, str]:
        """Attributes of the first element of that name inside the section."""
        for found, attributes in self.inner:
            if found == name:
                return attributes
        return {}


def read_audit(data: bytes, *, machines: Collection[str] = ()) -> AuditBatch:
    """Read a batch of audit messages, whatever its framing and dialect.

    `machines` are user ids of services that call themselves persons. Never raises on content:
    what cannot be read is in `rejected`.
    """
    rows: list[tuple[Any, ...]] = []
    rejected: list[tuple[int, str, str]] = []
    names: dict[str, str] = {}
    for number, piece in enumerate(split_audit(data), start=1):
        try:
            rows += _read_message(piece, number, machines, names)
        except Unreadable as error:
            rejected.append((number, error.rule, error.detail))
    columns = list(zip(*rows, strict=True)) or [()] * len(ROW_SCHEMA)
    return AuditBatch(
        pl.DataFrame(dict(zip(ROW_SCHEMA, map(list, columns), strict=True)), schema=ROW_SCHEMA),
        pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
    )


def split_audit(data: bytes) -> list[bytes]:
    """Cut a batch into messages: each a syslog frame without its length, or bare XML.

    Bytes that nothing announces form a piece of their own, so that they are rejected and neither
    lost nor read as a part of another message.
    """
    return list(_pieces(data.removeprefix(BOM)))


def framed(messages: Iterable[bytes]) -> bytes:
    """Messages as one batch, each with its length before it, so that none runs into the next."""
    return b"".join(b"%d %s\n" % (len(one), one) for one in messages)


def _pieces(data: bytes) -> Iterator[bytes]:
    position, end = 0, len(data)
    while position < end:
        position = _after_space(data, position)
        if position == end:
            return
        counted = _LENGTH.match(data, position)
        if counted is not None:
            begin, stop = counted.end(), counted.end() + int(counted[1])
            if _may_follow(data, stop):
                yield data[begin:stop]
                position = stop
                continue
            # The length is wrong: the next message ends this one.
            position = begin
        start = _START.match(data, position)
        if start is None:
            found = _START.search(data, position)
            stop = end if found is None else found.start()
        elif data[position : position + 1] == b"<" and data[position + 1 : position + 2].isdigit():
            following = _NEXT_LINE if counted is None else _NEXT_FRAME
            found = following.search(data, position)
            stop = end if found is None else found.end()
        else:
            stop = _end_of_xml(data, position)
        piece = data[position:stop].strip()
        if piece:
            yield piece
        position = stop


def _after_space(data: bytes, position: int) -> int:
    """The first position from here on that is no white space; the end of the batch if none is."""
    found = _INK.search(data, position)
    return len(data) if found is None else found.start()


def _may_follow(data: bytes, position: int) -> bool:
    """Say whether a message can begin or the batch ends at a position."""
    if position >= len(data):
        return position == len(data)
    after = _after_space(data, position)
    return after == len(data) or any(form.match(data, after) for form in (_START, _LENGTH))


def _end_of_xml(data: bytes, position: int) -> int:
    """Where bare XML ends: after its closing tag, or where another document begins."""
    root = _ROOT.search(data, position)
    found = None if root is None else _NEXT_XML.search(data, root.end())
    return len(data) if found is None else found.end()


def _read_message(
    piece: bytes, number: int, machines: Collection[str], names: dict[str, str]
) -> Iterator[tuple[Any, ...]]:
    """Rows of one message; raises Unreadable."""
    if len(piece) > LARGEST_MESSAGE:
        raise Unreadable(
            "message_is_of_bounded_size", f"{len(piece)} bytes, {LARGEST_MESSAGE} at most"
        )
    root = _ROOT.search(piece)
    if root is None:
        raise Unreadable("has_audit_message", "no element AuditMessage; it may have been cut off")
    declared = piece.rfind(b"<?xml", 0, root.start())
    # Between declaration and root may stand what must not: a document type.
    begin = root.start() if declared < 0 else declared
    xml = piece[begin:].rstrip(b"\x00 \r\n\t")
    sections = _sections(xml, names)
    events = sections["EventIdentification"]
    if not events:
        raise Unreadable("has_event_identification", "no element EventIdentification")
    event, source = events[0], (sections["AuditSourceIdentification"] or [_Section({})])[0]
    kind = event.coded("EventID")
    persons, systems = _participants(sections["ActiveParticipant"], machines)
    person = next((one for one in persons if _is_requestor(one)), persons[0] if persons else None)
    studies, patient = _objects(sections["ParticipantObjectIdentification"])
    yield from (
        (
            number,
            study_set,
            "dicom" if "csd-code" in kind else "rfc3881",
            _sent(piece[:begin]),
            _code(kind),
            event.attributes.get("EventActionCode"),
            event.attributes.get("EventOutcomeIndicator"),
            event.attributes.get("EventDateTime"),
            _formed(source.attributes.get("AuditSourceID"), SOURCE_ID),
            _formed(source.attributes.get("AuditEnterpriseSiteID"), SOURCE_ID),
            *_person(person),
            *(systems.get(role) for role in (SOURCE, DESTINATION, APPLICATION)),
            *study,
            *patient,
            seconds,
            hashlib.sha256(xml).digest()[:16],
        )
        for study_set, (study, seconds) in enumerate(studies, start=1)
    )


_SECTIONS = {
    "EventIdentification",
    "ActiveParticipant",
    "AuditSourceIdentification",
    "ParticipantObjectIdentification",
}


def _sections(xml: bytes, names: dict[str, str]) -> dict[str, list[_Section]]:
    """Sections of a message by name; raises Unreadable.

    A document type ends the reading before anything in it takes effect: no entity is ever
    declared, expanded or fetched.
    """
    found: dict[str, list[_Section]] = {name: [] for name in _SECTIONS}
    inner: list[tuple[str, dict[str, str]]] = []

    def element(name: str, attributes: dict[str, str]) -> None:
        nonlocal inner
        if ":" in name:
            name = name.rpartition(":")[2]
        if name in found:
            section = _Section(attributes)
            found[name].append(section)
            inner = section.inner
        else:
            inner.append((name, attributes))

    def document_type(*_: object) -> None:
        raise Unreadable("has_no_document_type", "the message declares a document type")

    parser = expat.ParserCreate(intern=names)
    parser.StartElementHandler = element
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise _why(error, xml, parser.ErrorByteIndex) from None
    except (LookupError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("xml_is_well_formed", "its encoding is not known") from None
    return found


_CODES = expat.errors.codes
_CUT = {
    _CODES[expat.errors.XML_ERROR_NO_ELEMENTS],
    _CODES[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
    _CODES[expat.errors.XML_ERROR_PARTIAL_CHAR],
}


def _why(error: expat.ExpatError, xml: bytes, position: int) -> Unreadable:
    """Name what is wrong, and where; never what stands there."""
    place = f"line {error.lineno}, column {error.offset}"
    if error.code in _CUT:
        return Unreadable("message_is_whole", f"the XML ends at {place} before its end")
    around = xml[max(position - 1, 0) : position + 1]
    is_entity = error.code == _CODES[expat.errors.XML_ERROR_UNDEFINED_ENTITY]
    if is_entity or (
        error.code == _CODES[expat.errors.XML_ERROR_INVALID_TOKEN] and set(b"&<") & set(around)
    ):
        return Unreadable("text_is_escaped", f"a bare & or < at {place}")
    return Unreadable("xml_is_well_formed", f"{expat.ErrorString(error.code)} at {place}")


def _code(attributes: dict[str, str]) -> str | None:
    """Value of a coded element: csd-code of DICOM, code of RFC 3881."""
    return attributes.get("csd-code") or attributes.get("code")


def _formed(value: str | None, form: re.Pattern[str]) -> str | None:
    return value if value is not None and form.match(value) else None


def _is_requestor(participant: _Section) -> bool:
    return participant.attributes.get("UserIsRequestor", "").lower() == "true"


def _participants(
    participants: list[_Section], machines: Collection[str]
) -> tuple[list[_Section], dict[str | None, str]]:
    """Persons in order; AE titles of systems by their role (the first of each)."""
    persons: list[_Section] = []
    systems: dict[str | None, str] = {}
    for one in participants:
        if _is_person(one, machines):
            persons.append(one)
            continue
        role = _code(one.coded("RoleIDCode"))
        title = _title(one, role)
        # A person's id without a sign that it is a machine's is never taken for an AE title.
        if title is not None:
            systems.setdefault(role, title)
    return persons, systems


def _is_person(participant: _Section, machines: Collection[str]) -> bool:
    """UserTypeCode 1 that no kind of id contradicts; without it an id of the kind Person."""
    kind = _code(participant.coded("UserIDTypeCode"))
    user = participant.attributes.get("UserID", "")
    if not user or user in machines or kind == AE_TITLE or kind in MACHINE_IDS:
        return False
    return participant.attributes.get("UserTypeCode", "1" if kind == PERSON_ID else "") == "1"


def _title(system: _Section, role: str | None) -> str | None:
    kind = _code(system.coded("UserIDTypeCode"))
    is_machine = kind == AE_TITLE or (kind is None and system.attributes.get("UserTypeCode") == "2")
    if not is_machine or role not in (SOURCE, DESTINATION, APPLICATION):
        return None
    return _formed(system.attributes.get("UserID"), TITLE)


def _person(person: _Section | None) -> tuple[Any, ...]:
    if person is None:
        return (None, None, None, None, None)
    roles = [attributes for name, attributes in person.inner if name == "RoleIDCode"]
    local = [_code(one) for one in roles if one.get("codeSystemName") != "DCM"]
    return (
        person.attributes.get("UserID"),
        person.attributes.get("AlternativeUserID") or None,
        next((code for code in local if code and ROLE.match(code)), None),
        _is_requestor(person),
        any(_code(one) == DESTINATION for one in roles),
    )


def _objects(
    objects: list[_Section],
) -> tuple[list[tuple[tuple[Any, ...], float | None]], tuple[str | None, str | None]]:
    """Studies (at least one, perhaps empty) with seconds to first image, and the patient."""
    studies, patient = [], (None, None)
    for one in objects:
        kind = _code(one.coded("ParticipantObjectIDTypeCode"))
        number = one.attributes.get("ParticipantObjectID", "").strip()
        if one.attributes.get("ParticipantObjectTypeCode") == "1" and kind == PATIENT_NUMBER:
            parts = number.split("^")
            authority = parts[3].split("&")[0] if len(parts) > 3 else None
            if parts[0].strip() not in ("", UNKNOWN_PATIENT):
                patient = (parts[0].strip(), authority or None)
        elif kind == STUDY_UID:
            uid = number if UID.match(number) and number not in UNKNOWN_STUDIES else None
            studies.append(((uid, _accession(one), _instances(one)), _seconds(one)))
    return studies or [((None, None, None), None)], patient


def _accession(study: _Section) -> str | None:
    return study.coded("Accession").get("Number", "").strip() or None


def _instances(study: _Section) -> int | None:
    numbers = [
        int(attributes["NumberOfInstances"])
        for name, attributes in study.inner
        if name == "SOPClass"
        and attributes.get("NumberOfInstances", "").isdecimal()
        and len(attributes["NumberOfInstances"]) < 10
    ]
    return sum(numbers) if numbers else None


def _seconds(study: _Section) -> float | None:
    """Seconds to the first image, where the viewer notes them readably."""
    for name, attributes in study.inner:
        if name == "ParticipantObjectDetail" and attributes.get("type") in FIRST_IMAGE_DETAILS:
            try:
                value = float(base64.b64decode(attributes.get("value", ""), validate=True))
            except (binascii.Error, ValueError):
                return None
            return value if 0 <= value <= LONGEST_SECONDS else None
    return None


def _sent(header: bytes) -> str | None:
    """Time of a syslog header (RFC 5424); None for bare XML or `-`."""
    parts = header.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"<") or parts[1] == b"-":
        return None
    return parts[1].decode("ascii", "replace")


def events_from_audit(
    rows: pl.DataFrame, zone: str, issuers: Collection[str], tells_organisation: Collection[str]
) -> pl.DataFrame:
    """One row per event: what each audit row says (RAW_EVENT_SCHEMA), told from the row alone.

    `rows` are `AuditBatch.rows` with `source_sha` and `feed_id` beside them. Event types:
    `images_viewed` (a person read the images, or they were sent to a person),
    `image_view_failed` (the same, with an outcome other than success), `images_exported`,
    and `archive_activity` for all that archives and viewers note without a reader. Which activity
    is a transfer, a prefetch or routine is for the warehouse to say, which knows the systems.
    A patient's number and an accession belong to the assigning authority of the patient's number
    where it is one of `issuers`; a number of ten digits without one is an NHS number.
    `tells_organisation`: audit sources whose AlternativeUserID is the organisation of the person;
    others tell none but the site of the source.
    """
    times = parse_iso_times(rows["event_time"], zone)
    sent = parse_iso_times(rows["sent_time"], zone)["utc"]
    number = pl.col("patient_number").str.replace_all(r"[\s-]", "")
    is_national = number.str.contains(r"^\d{10}$") & pl.col("patient_authority").is_null()
    issuer = pl.when(pl.col("patient_authority").is_in(list(issuers))).then("patient_authority")
    is_shown = (pl.col("event_code") == ACCESSED) | (
        (pl.col("event_code") == TRANSFERRED) & pl.col("is_person_destination")
    )
    is_view = pl.col("person_id").is_not_null() & (pl.col("action") == "R") & is_shown
    is_success = pl.col("outcome") == "0"
    event_type = (
        pl.when(is_view & is_success)
        .then(pl.lit("images_viewed"))
        .when(is_view)
        .then(pl.lit("image_view_failed"))
        .when((pl.col("event_code") == EXPORTED) & is_success)
        .then(pl.lit("images_exported"))
        .otherwise(pl.lit("archive_activity"))
    )
    organisation = pl.when(
        pl.col("audit_source_id").is_in(list(tells_organisation))
        & pl.col("person_other_id").str.contains(ORGANISATION)
    ).then("person_other_id")
    attributes = pl.struct(
        audit_source=pl.col("audit_source_id"),
        audit_site=pl.col("audit_site_id"),
        dialect=pl.col("dialect"),
        source_aet=pl.col("source_aet"),
        application_aet=pl.col("application_aet"),
        instances=pl.col("instance_count"),
        seconds_to_first_image=pl.col("seconds_to_first_image"),
        role=pl.col("person_role"),
    )
    return conform(
        rows.with_columns(
            pl.col("message_no").alias("message_id"),
            pl.col("study_set").alias("obr_set"),
            pl.lit("audit").alias("source_kind"),
            issuer.alias("issuer_ods"),
            pl.when(issuer.is_not_null()).then("accession").alias("accession"),
            pl.when(pl.col("study_uid").is_not_null())
            .then(pl.lit("audit"))
            .alias("study_uid_source"),
            pl.when(issuer.is_not_null()).then("patient_number").alias("patient_id"),
            pl.when(is_national).then(number).alias("nhs_number"),
            event_type.fill_null("archive_activity").alias("event_type"),
            pl.lit(False).alias("carried"),
            pl.col("event_time").alias("event_ts_raw"),
            times["utc"].alias("event_ts_utc"),
            times["local"].alias("event_ts_local"),
            times["precision"].alias("ts_precision"),
            times["tz_source"],
            times["flag"].alias("ts_flag"),
            pl.lit("EventDateTime").alias("ts_source"),
            pl.Series("asserted_ts_utc", sent).fill_null(times["utc"]),
            pl.col("destination_aet").alias("aet"),
            pl.col("person_id").alias("actor_id"),
            pl.when(pl.col("person_id").is_not_null()).then(pl.lit("viewer")).alias("actor_role"),
            pl.when(pl.col("person_id").is_not_null())
            .then(pl.coalesce(organisation, "audit_site_id"))
            .alias("actor_org"),
            pl.format(
                "EventID={}|Action={}|Outcome={}",
                *(pl.col(name).fill_null("") for name in ("event_code", "action", "outcome")),
            ).alias("status_raw"),
            attributes.struct.json_encode().alias("attrs"),
        )
    )
