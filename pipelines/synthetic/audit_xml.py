"""Audit messages of image access: XML of DICOM PS3.15 A.5 or RFC 3881 in RFC 5424 syslog lines.

One file per party and day of the live weeks, one message a line, as an audit repository exports
them: views by people between the housekeeping of archives and transfers between them.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.dirt import AUDIT_COUNTS, DirtLedger, scaled
from pipelines.synthetic.period import Period, midnight
from pipelines.synthetic.writer import write_bytes

FEED = "image_access"
# A larger network would write gigabytes of XML.
LARGEST_SCALE = 0.05

LONDON = ZoneInfo("Europe/London")
_EVENTS = {
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110112": "Query",
}
_OBJECTS = {"110180": "Study Instance UID", "110181": "SOP Class UID"}
_ROLES = {"110150": "Application", "110152": "Destination Role ID", "110153": "Source Role ID"}
_SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
}
_OTHER_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.12.2"
_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
# System that writes the audit of each route, and its AE title after the party code.
_VIEWERS = {
    "own_record": ("epr-viewer", "EPR"),
    "shared_record": ("shared-record", "SHR"),
    "gp": ("gp-portal", "GPV"),
    "meeting": ("mdt-viewer", "MDT"),
    "archive_viewer": ("pacs", "PACS"),
}
# Share of exams with each piece of housekeeping; further accesses in one sitting. Assumed.
_HOUSEKEEPING = {"attributes": 0.4, "retention": 0.1, "prefetch": 0.25, "query": 0.3, "check": 0.1}
_MORE_ACCESSES = 0.5
_MOST_ACCESSES = 4
_LONGEST_PAUSE = 10 * MINUTE  # within one sitting; a gap of 30 minutes begins another
_RELAYED = 0.5


@dataclass(frozen=True)
class Sender:
    """How one party writes: dialect (dicom, rfc3881), zone (local, utc), a byte order mark."""

    party: str
    dialect: str
    zone: str
    has_mark: bool

    @classmethod
    def of(cls, party: str, number: int) -> Sender:
        """Habits by the party's place in the list, so that every combination occurs."""
        return cls(
            party,
            "dicom" if number % 2 == 0 else "rfc3881",
            "local" if number // 2 % 2 == 0 else "utc",
            number % 4 == 3,
        )

    def clock(self, milliseconds: int) -> str:
        """ISO 8601 of a UTC instant with an offset of the London wall clock, or Z."""
        instant = datetime.fromtimestamp(milliseconds // 1000, tz=UTC)
        zoned = instant.astimezone(LONDON) if self.zone == "local" else instant
        offset = zoned.isoformat()[-6:] if self.zone == "local" else "Z"
        return f"{zoned:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}{offset}"

    def code(self, value: str, system: str, meaning: str) -> str:
        """Attributes of one coded value in the dialect of the party."""
        names = ("csd-code", "originalText") if self.dialect == "dicom" else ("code", "displayName")
        return f'{names[0]}="{value}" codeSystemName="{system}" {names[1]}="{meaning}"'


@dataclass(frozen=True)
class Participant:
    """A person or a system: id, is requestor, is person, role code, other id, place."""

    user: str
    is_requestor: bool
    is_person: bool
    role: str | None = None
    other: str | None = None
    place: str = ""


@dataclass(frozen=True)
class Study:
    """The study of a message; accession as the acquiring party knows it."""

    uid: str
    accession: str
    patient: str
    sop_class: str
    instances: int


@dataclass(frozen=True)
class Message:
    """One audit event before it is written; `at` in UTC milliseconds."""

    party: str
    at: int
    event: str
    action: str
    outcome: int
    source: str
    participants: tuple[Participant, ...]
    study: Study | None
    seconds_to_first_image: float | None = None


def message_xml(message: Message, sender: Sender) -> str:
    """The AuditMessage on one line, well-formed."""
    event = sender.code(message.event, "DCM", _EVENTS[message.event])
    participants = "".join(_participant(p, sender) for p in message.participants)
    kind = "csd-code" if sender.dialect == "dicom" else "code"
    return (
        '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>'
        f'<EventIdentification EventActionCode="{message.action}" '
        f'EventDateTime="{sender.clock(message.at)}" '
        f'EventOutcomeIndicator="{message.outcome}"><EventID {event}/></EventIdentification>'
        f"{participants}"
        f'<AuditSourceIdentification AuditEnterpriseSiteID="{message.party}" '
        f'AuditSourceID="{message.party.lower()}-{message.source}">'
        f'<AuditSourceTypeCode {kind}="4"/></AuditSourceIdentification>'
        f"{_study(message, sender) if message.study else _query(message, sender)}"
        "</AuditMessage>"
    )


def _participant(who: Participant, sender: Sender) -> str:
    place = who.place or f"{who.user.lower()}.{sender.party.lower()}.example"
    kind = "2" if place[0].isdigit() else "1"
    other = f" AlternativeUserID={quoteattr(who.other)}" if who.other else ""
    role = f"<RoleIDCode {sender.code(who.role, 'DCM', _ROLES[who.role])}/>" if who.role else ""
    # A person's id, or an AE title.
    id_kind = ("113871", "Person ID") if who.is_person else ("110119", "Station AE Title")
    return (
        f"<ActiveParticipant UserID={quoteattr(who.user)}{other} "
        f'UserIsRequestor="{"true" if who.is_requestor else "false"}" '
        f'UserTypeCode="{1 if who.is_person else 2}" '
        f'NetworkAccessPointID="{place}" NetworkAccessPointTypeCode="{kind}">'
        f"{role}<UserIDTypeCode {sender.code(id_kind[0], 'DCM', id_kind[1])}/></ActiveParticipant>"
    )


def _study(message: Message, sender: Sender) -> str:
    study = message.study
    assert study is not None
    images = f'<SOPClass UID="{study.sop_class}" NumberOfInstances="{study.instances}"/>'
    accession = f"<Accession Number={quoteattr(study.accession)}/>"
    # RFC 3881 knows no accession number; the warehouse has to join on the study.
    inner = (
        f"<ParticipantObjectDescription>{accession}{images}</ParticipantObjectDescription>"
        if sender.dialect == "dicom"
        else images
    )
    waited = ""
    if message.seconds_to_first_image is not None:
        value = base64.b64encode(f"{message.seconds_to_first_image}".encode()).decode()
        waited = f'<ParticipantObjectDetail type="SecondsToFirstImage" value="{value}"/>'
    return (
        f'<ParticipantObjectIdentification ParticipantObjectID="{study.uid}" '
        'ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="3">'
        f"<ParticipantObjectIDTypeCode {sender.code('110180', 'DCM', _OBJECTS['110180'])}/>"
        f"{waited}{inner}</ParticipantObjectIdentification>"
        f"<ParticipantObjectIdentification ParticipantObjectID={quoteattr(study.patient)} "
        'ParticipantObjectTypeCode="1" ParticipantObjectTypeCodeRole="1">'
        f"<ParticipantObjectIDTypeCode {sender.code('2', 'RFC-3881', 'Patient Number')}/>"
        "</ParticipantObjectIdentification>"
    )


def _query(message: Message, sender: Sender) -> str:
    text = base64.b64encode(f"QUERY {message.at}".encode()).decode()
    return (
        f'<ParticipantObjectIdentification ParticipantObjectID="{_STUDY_ROOT_FIND}" '
        'ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="24">'
        f"<ParticipantObjectIDTypeCode {sender.code('110181', 'DCM', _OBJECTS['110181'])}/>"
        f"<ParticipantObjectQuery>{text}</ParticipantObjectQuery>"
        "</ParticipantObjectIdentification>"
    )


def syslog_line(message: Message, sender: Sender, xml: str, sent: int) -> str:
    """One RFC 5424 line without its end; `sent` in UTC milliseconds."""
    host = f"{message.source}.{sender.party.lower()}.example"
    kind = "DICOM+RFC3881" if sender.dialect == "dicom" else "IHE+RFC-3881"
    mark = "\ufeff" if sender.has_mark else ""
    return f"<85>1 {sender.clock(sent)} {host} {message.source} - {kind} - {mark}{xml}"


def _view_messages(views: pl.DataFrame, rng: np.random.Generator) -> Iterator[Message]:
    """Every view as one to four accesses by the same person within minutes of each other."""
    count = views.height
    more = np.minimum(rng.poisson(_MORE_ACCESSES, count), _MOST_ACCESSES - 1)
    pauses = rng.integers(20_000, _LONGEST_PAUSE * 1000, size=(count, _MOST_ACCESSES))
    fraction = rng.integers(0, 1000, count)
    relayed = rng.random(count) < _RELAYED
    for number, row in enumerate(views.iter_rows(named=True)):
        party, owner = row["viewer_party"], row["party_code"]
        source, title = _VIEWERS[row["route"]]
        study = _study_of(row, row["nhs_number"] if row["route"] == "shared_record" else None)
        is_shared = row["route"] == "shared_record"
        at = row["viewed_at"] * 1000 + int(fraction[number])
        if is_shared and relayed[number]:
            yield _transferred(owner, at - 4_000, "vna", (owner, "VNA"), (party, "PACS"), study)
        person = Participant(
            row["staff_code"],
            True,
            True,
            "110152" if is_shared else None,
            row["viewer_org"],
            f"ws{int(row['staff_code'][-2:]):02d}.{party.lower()}.example",
        )
        role = "110153" if is_shared else "110150"
        system = Participant(f"{party}{title}", False, False, role)
        times = 1 if row["launch_failed"] else 1 + int(more[number])
        for access in range(times):
            yield Message(
                party,
                at,
                "110104" if is_shared else "110103",
                "R",
                4 if row["launch_failed"] else 0,
                source,
                (person, system) if not is_shared else (system, person),
                study,
                row["seconds_to_first_image"] if access == 0 else None,
            )
            at += int(pauses[number, access])


def _transferred(
    party: str,
    at: int,
    source: str,
    sender: tuple[str, str],
    receiver: tuple[str, str],
    study: Study,
    action: str = "R",
) -> Message:
    """Instances that one system sends to another; systems are (party, end of the AE title)."""
    return Message(
        party,
        at,
        "110104",
        action,
        0,
        source,
        (
            Participant("".join(sender), False, False, "110153", "4312"),
            Participant("".join(receiver), True, False, "110152", None, "192.0.2.41"),
        ),
        study,
    )


def _housekeeping(exams: pl.DataFrame, rng: np.random.Generator) -> Iterator[Message]:
    """What archives note without any reader: storing, calculations, retention, prefetch, queries."""
    draws = rng.random((exams.height, len(_HOUSEKEEPING)))
    later = rng.integers(60_000, 6 * HOUR * 1000, size=(exams.height, len(_HOUSEKEEPING) + 1))
    for number, row in enumerate(exams.iter_rows(named=True)):
        party, study = row["party_code"], _study_of(row, None)
        done = row["completed"] * 1000
        times = [done + int(seconds) for seconds in later[number]]
        scanner = (party, row["dicom_modality"])
        stored = done + 30_000 + int(later[number, 5]) % 300_000
        yield _transferred(party, stored, "vna", scanner, (party, "VNA"), study, "C")
        chosen = dict(zip(_HOUSEKEEPING, draws[number] < [*_HOUSEKEEPING.values()], strict=True))
        scheduler = (Participant(f"{party}VNA", True, False, "110150", "scheduler"),)
        if chosen["attributes"]:
            yield Message(party, times[0], "110103", "R", 0, "vna", scheduler, study)
        if chosen["retention"]:
            yield Message(party, times[1], "110103", "U", 0, "vna", scheduler, study)
        if chosen["prefetch"]:
            yield _transferred(party, times[2], "vna", (party, "VNA"), (party, "PREF"), study)
        if chosen["query"]:
            asker = Participant(f"{party}PACS", True, False, "110153")
            archive = Participant(f"{party}VNA", False, False, "110152")
            yield Message(party, times[3], "110112", "E", 0, "vna", (asker, archive), None)
        if chosen["check"]:
            yield _transferred(party, times[4], "vna", (party, "VNA"), (party, "VNA"), study)


def _portal_messages(transfers: pl.DataFrame) -> Iterator[Message]:
    """Pushes through the exchange portal, as the sending archive notes them."""
    for row in transfers.iter_rows(named=True):
        study = _study_of(row, None)
        party, other = row["from_party"], row["to_party"]
        at = row["sent_at"] * 1000 + row["exam_no"] % 1000
        yield _transferred(party, at, "vna", (party, "VNA"), (other, "PACS"), study)


def _nightly(parties: list[str], period: Period) -> Iterator[Message]:
    """Every archive's own query of each night: a small network's audit is quiet, never silent."""
    for number, party in enumerate(parties):
        scheduler = Participant(f"{party}VNA", True, False, "110150", "scheduler")
        for day in period.live_days:
            at = (midnight(day) + 2 * HOUR + number * MINUTE) * 1000
            yield Message(party, at, "110112", "E", 0, "vna", (scheduler,), None)


def _study_of(row: dict, nhs_number: str | None) -> Study:
    modality = row["dicom_modality"]
    return Study(
        row["study_instance_uid"],
        row["accession_number"],
        nhs_number or f"{row['patient_id']}^^^{row['party_code']}",
        _SOP_CLASSES.get(modality, _OTHER_SOP_CLASS),
        {"CT": 120, "MR": 90, "US": 20}.get(modality, 2) + row["exam_no"] % 50,
    )


def write_audit(
    views: pl.DataFrame,
    transfers: pl.DataFrame,
    exams: pl.DataFrame,
    parties: list[str],
    period: Period,
    scale: float,
    inbox: Path,
    rng: np.random.Generator,
    ledger: DirtLedger,
) -> dict[str, int]:
    """Write the messages of the live weeks; returns lines by file, spoiled ones included.

    `exams` are the completed ones with nhs_number. Above LARGEST_SCALE nothing is written.
    Repeats and spoiled messages are further copies, so that no fact is lost with them.
    """
    if scale > LARGEST_SCALE:
        return {}

    def live(frame: pl.DataFrame, column: str) -> pl.DataFrame:
        return frame.filter(pl.col(column).is_between(period.cutoff, period.end - 1))

    facts = exams.select(
        "exam_no", "party_code", "dicom_modality", "study_instance_uid", "accession_number",
        "patient_id", "nhs_number", "completed",
    )  # fmt: skip
    seen = live(views, "viewed_at").join(facts, on="exam_no", maintain_order="left")
    pushed = live(transfers, "sent_at").filter(pl.col("method") == "portal")
    pushed = pushed.join(facts, on="exam_no", maintain_order="left")
    messages = [
        *_view_messages(seen, rng),
        *_housekeeping(live(facts, "completed"), rng),
        *_portal_messages(pushed),
    ]
    senders = {party: Sender.of(party, number) for number, party in enumerate(parties)}
    first, last = period.cutoff * 1000, period.end * 1000
    messages = sorted(
        (m for m in messages if first <= m.at < last), key=lambda m: (m.at, m.party, m.event)
    )
    lines: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for message in _nightly(parties, period):
        sender = senders[message.party]
        line = syslog_line(message, sender, message_xml(message, sender), message.at)
        lines[_file_of(message)].append((message.at, line))
    for message, delay in zip(messages, rng.integers(20, 900, len(messages)).tolist(), strict=True):
        sender = senders[message.party]
        sent = message.at + delay
        line = syslog_line(message, sender, message_xml(message, sender), sent)
        lines[_file_of(message)].append((sent, line))
    _spoil(lines, messages, senders, scaled(AUDIT_COUNTS, scale), rng, ledger)
    for file, content in sorted(lines.items()):
        text = "".join(f"{line}\n" for _, line in sorted(content, key=lambda pair: pair[0]))
        write_bytes(inbox / file, text.encode("utf-8"))
    return {file: len(content) for file, content in sorted(lines.items())}


def _file_of(message: Message) -> str:
    local = calendar.utc_to_local(np.array([message.at // 1000]))[0]
    day = calendar.day_of_number(local // DAY)
    return f"{FEED}/{day}/{message.party}_{day:%Y%m%d}.log"


def _spoil(
    lines: dict[str, list[tuple[int, str]]],
    messages: list[Message],
    senders: dict[str, Sender],
    wanted: dict[str, int],
    rng: np.random.Generator,
    ledger: DirtLedger,
) -> None:
    """Add copies: sent again unchanged, cut off, or with a name that is not escaped."""
    kinds = [kind for kind, number in wanted.items() for _ in range(number)]
    usable = [n for n, message in enumerate(messages) if message.study is not None]
    chosen = rng.choice(usable, size=min(len(kinds), len(usable)), replace=False).tolist()
    for number, kind in zip(chosen, kinds, strict=False):
        message = messages[number]
        sender, study = senders[message.party], message.study
        xml = message_xml(message, sender)
        if kind == "truncated_message":
            xml = xml[: xml.index("<AuditSourceIdentification") + int(rng.integers(5, 120))]
        elif kind == "unescaped_text":
            xml = xml.replace("<ActiveParticipant ", '<ActiveParticipant UserName="A & <B>" ', 1)
        sent = message.at + int(rng.integers(1_000, 600_000))
        file = _file_of(message)
        lines[file].append((sent, syslog_line(message, sender, xml, sent)))
        ledger.add(FEED, kind, file, study.accession if study else None)
