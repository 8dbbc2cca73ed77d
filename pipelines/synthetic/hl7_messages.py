"""Daily HL7 v2 batch files of the live weeks: orders, appointments, exams, reports.

All names and texts are invented. Segments end with a carriage return, characters are UTF-8; how
times are written is told in `hl7_clocks`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.synthetic import appointments, calendar
from pipelines.synthetic.calendar import DAY, HOUR
from pipelines.synthetic.clock_changes import NONEXISTENT
from pipelines.synthetic.dirt import MESSAGE_COUNTS, DirtLedger, files_of, scaled
from pipelines.synthetic.hl7_clocks import UTC, clock, moments, place_in_time, time_styles
from pipelines.synthetic.identity import TIMES as IDENTITY_TIMES
from pipelines.synthetic.identity import Identities, as_known
from pipelines.synthetic.joint_scans import SEVERAL_GROUPS
from pipelines.synthetic.period import Period, midnight

FEED = "hl7"
BAD_MESSAGES_A_FILE = 2
LONGEST_LATE_DAYS = 3
# The feed of the last party is silent for two of the live days.
SILENT_FROM_DAY, SILENT_DAYS = 30, 2
# Local codes of an order status; hl7_event_map.csv reads them.
VETTED, REFUSED = "VET", "REJ"

_CHEST_FILM = (
    "Heart size & mediastinal contours within normal limits.",
    "Lungs & pleural spaces clear. No effusion.",
    "Patchy consolidation in the right lower zone.",
)
_BONE_FILM = (
    "No fracture or dislocation. Joint spaces preserved.",
    "Degenerative change, worse in the medial compartment.",
    "Undisplaced fracture; alignment satisfactory.",
)
_CHEST_CT = (
    "Nodule of 4 mm in the right upper lobe, <5 mm, unchanged.",
    "No filling defect in the pulmonary arteries; RV|LV ratio normal.",
)
_ABDOMINAL_CT = (
    "Liver, spleen & pancreas appear normal. No free fluid.",
    "Simple cyst in the left kidney, 12 mm. No enlarged nodes.",
)
# By modality and region of the body; some hold characters that HL7 must escape.
_FINDINGS = {
    ("DX", "chest"): _CHEST_FILM,
    ("DX", "pelvis"): _BONE_FILM,
    ("DX", "upper limb"): _BONE_FILM,
    ("DX", "lower limb"): _BONE_FILM,
    ("CT", "head"): (
        "No intracranial haemorrhage. Grey/white differentiation preserved.",
        "Small vessel change of the white matter. No mass effect.",
    ),
    ("CT", "chest"): _CHEST_CT,
    ("CT", "abdomen"): _ABDOMINAL_CT,
    ("CT", "trunk"): (*_ABDOMINAL_CT, *_CHEST_CT),
    ("MR", "head"): (
        "Menière's disease queried: no mass in the internal auditory canal.",
        "No restricted diffusion. Ventricles of normal size.",
    ),
    ("MR", "spine"): (
        "L4/5 & L5/S1 disc bulges without nerve root contact.",
        "Conus ends at L1. No cord signal change.",
    ),
    ("MR", "lower limb"): (
        "Meniscal tear, grade 3, with a small effusion ^ see series 4.",
        "Cruciate & collateral ligaments intact.",
    ),
    ("MR", "pelvis"): (
        "Focal lesion of 9 mm in the peripheral zone, PI-RADS 4.",
        "Transition zone enlarged. No suspicious lesion, PI-RADS 2.",
    ),
    ("US", "abdomen"): (
        "Gallbladder thin walled, no calculi. CBD 3 mm.",
        "Both kidneys normal: right 10.4 cm & left 10.9 cm.",
        "Post-void residual 20 ml ~ not significant.",
    ),
    ("US", "obstetric"): (
        "Growth along the 50th centile; liquor normal.",
        "Placenta posterior & clear of the os.",
    ),
    ("BMD", "skeleton"): (
        "T-score \u2264 \u22122.5 at the hip & spine.",
        "Bone density within the range for the age.",
    ),
}
_OTHER_FINDINGS = (
    "Study completed without complication.",
    "No previous study for comparison.",
)
_CONCLUSIONS = (
    "No acute abnormality.",
    "Findings as above; clinical correlation advised.",
    "No significant change since the previous study.",
    "Suggest review in clinic & follow-up in 6\u201312 months.",
)
_TIMES = (
    "requested", "received", *appointments.TIMES, "started", "completed", "preliminary",
    "verified", "verified_delivered", "addendum", "corrected",
)  # fmt: skip
_CLASS_OF_SETTING = {"01": "I", "02": "I", "05": "E"}
_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})


@dataclass(frozen=True)
class Message:
    """One message before its header: when it was sent (a moment), its type and segments."""

    party: str
    sent: int
    event: str
    body: str
    accession: str | None
    second_accession: str | None = None
    version: str = "2.4"
    processing: str = "P"


def escape(text: str) -> str:
    """Replace the delimiters of HL7 by their escape sequences."""
    return text.translate(_ESCAPES)


def segment(name: str, fields: dict[int, str]) -> str:
    """A segment with the given fields (numbers as in the standard), the rest empty."""
    values = [""] * (max(fields) + 1)
    for number, value in fields.items():
        values[number] = value
    values[0] = name
    return "|".join(values)


_TOLD = (
    "received", "vetted", "first_booked", "dna_told", "moved_booked", "moved", "booked",
    "cancelled", "completed", "preliminary", "verified", "addendum", "corrected",
)  # fmt: skip


def exams_told_of(exams: pl.DataFrame, since: int, until: int) -> pl.DataFrame:
    """Exams with anything to say from one UTC second up to, not including, another."""
    return exams.filter(
        pl.any_horizontal(
            ((pl.col(name) >= since) & (pl.col(name) < until)).fill_null(False)
            for name in (*_TOLD, *IDENTITY_TIMES)
            if name in exams.columns
        )
    )


def exam_messages(
    exam: dict[str, Any], since: int, until: int, rng: np.random.Generator
) -> Iterator[Message]:
    """Messages of one exam within a span (UTC seconds), in the order of their events."""
    local: dict[str, Any] = {
        name: None if exam[name] is None else exam[f"{name}_local"]
        for name in (*_TIMES, *IDENTITY_TIMES)
    }

    def is_told(name: str) -> bool:
        return exam[name] is not None and since <= exam[name] < until

    def sent(name: str) -> int:
        """Sent some seconds after the event, on the same day."""
        moment = local[name]
        return min(moment + int(rng.integers(1, 45)), (moment // DAY + 1) * DAY - 1)

    parts = _shared_parts(exam, local)

    def message(event: str, moment: int, segments: list[str], version: str = "2.4") -> Message:
        body = "\r".join(segments) + "\r"
        accession = exam["accession_number"]
        return Message(exam["party_code"], moment, event, body, accession, version=version)

    if is_told("merged"):
        body = "\r".join(_merge(exam, parts, local)) + "\r"
        yield Message(exam["party_code"], sent("merged"), "ADT^A40^ADT_A39", body, None)
    if is_told("renumbered"):
        replaced = _shared_parts(exam | {"accession_number": exam["old_accession"]}, local)
        old = message("OMG^O19", sent("renumbered"), _replacement(replaced, local, "RU", "RP"))
        yield replace(old, accession=exam["old_accession"])
        yield message("OMG^O19", sent("renumbered"), _replacement(parts, local, "RO", "SC"))
    if is_told("received"):
        yield message("OMG^O19", sent("received"), _order(parts, local, "NW", "SC"))
    if is_told("vetted"):
        yield message("OMG^O19", sent("vetted"), _vetting(exam, parts, local))
    for moment, event, slot, number, status in _appointment_messages(exam, is_told):
        reason = _move_reason(exam) if event in ("S13", "S15") else "ROUTINE"
        body = _appointment(exam, parts, local[slot], number, status, reason)
        yield message(f"SIU^{event}", local[moment], body, "2.5.1")
    if is_told("cancelled"):
        told = _vetting if exam["is_refused_at_vetting"] else _cancellation
        yield message("OMG^O19", sent("cancelled"), told(exam, parts, local))
    if is_told("completed"):
        yield message("OMG^O19", sent("completed"), _order(parts, local, "SC", "CM"))
    if is_told("preliminary"):
        yield message("ORU^R01", sent("preliminary"), _report(exam, parts, local, "P"))
    if is_told("verified"):
        yield message("ORU^R01", sent("verified"), _report(exam, parts, local, "F"))
    if is_told("addendum"):
        yield message("ORU^R01", sent("addendum"), _report(exam, parts, local, "A"))
    if is_told("corrected"):
        yield message("ORU^R01", sent("corrected"), _report(exam, parts, local, "C"))


def _appointment_messages(
    exam: dict[str, Any], is_told: Callable[[str], bool]
) -> Iterator[tuple[str, str, str, int, str]]:
    """When, trigger event, slot, number of the appointment and its status (SCH-25).

    An appointment that the department moves at once keeps its number and is told once.
    """
    number, is_moved_at_once = 1, exam["moved"] is not None and exam["moved"] == exam["booked"]
    if exam["first_booked"] is not None and exam["first_booked"] != exam["booked"]:
        if is_told("first_booked"):
            yield "first_booked", "S12", "first_appointment", number, "Booked"
        if is_told("dna_told"):
            yield "dna_told", "S26", "first_appointment", number, "Noshow"
        number += exam["dna"] is not None
    elif is_told("dna_told"):
        yield "dna_told", "S26", "first_appointment", number, "Noshow"
    if is_told("moved_booked"):
        yield "moved_booked", "S12", "moved_appointment", number, "Booked"
    if is_moved_at_once:
        if is_told("moved"):
            yield "moved", "S13", "appointment", number, "Booked"
        return
    if is_told("moved"):
        yield "moved", "S15", "moved_appointment", number, "Cancelled"
    if is_told("booked"):
        yield "booked", "S12", "appointment", number + (exam["moved"] is not None), "Booked"


def _shared_parts(exam: dict[str, Any], local: dict[str, Any]) -> dict[str, str]:
    party, accession = exam["party_code"], exam["accession_number"]
    ids = f"{exam['patient_id']}^^^{party}^MR"
    if exam["nhs_number_delivered"] is not None:
        ids += f"~{exam['nhs_number_delivered']}^^^NHS^NH"
    sex = {"1": "M", "2": "F"}.get(exam["sex"], "U")
    snomed = exam["snomed_code"]
    name = escape(exam["exam_name"])
    code = f"{exam['exam_code_delivered']}^{name}^NICIP"
    if exam["exam_code_delivered"] is None:
        code = ""
    elif exam["exam_code_delivered"] != exam["exam_code"]:
        name = "Unlisted examination"
        code = f"{exam['exam_code_delivered']}^{name}^LOCAL"
    elif snomed:
        code += f"^{snomed}^^SCT"
    referrer = f"{exam['referrer_code']}^REFERRER^EXAMPLE^^^DR"
    setting = exam["source_setting_delivered"] or ""
    due = "" if exam["due_on"] is None else f"{exam['due_on']:%Y%m%d}"
    return {
        "placer": f"OC{accession[1:]}^EPR",
        "filler": f"{accession}^RIS",
        "code": code,
        "name": name,
        "exam_code": exam["exam_code_delivered"] or "",
        "referrer": referrer,
        "organisation": f"{exam['referring_org_code']}^Example organisation^ODS",
        "priority": f"^^^{due}^^{exam['priority_delivered'] or ''}",
        "accession": accession,
        "modality": exam["dicom_modality"],
        "site": exam["site_code_delivered"] or "",
        "resource": exam["station_name"] or "",
        "uid": exam["study_instance_uid"] or "",
        "radiographer": exam["radiographer_code"] or "",
        "PID": segment(
            "PID",
            {
                1: "1",
                3: ids,
                5: f"{escape(exam['surname']).upper()}^{escape(exam['given_name'])}",
                7: f"{exam['birth_on']:%Y%m%d}",
                8: sex,
                11: f"^^^^{exam['postcode']}",
                22: exam["ethnic_category"],
            },
        ),
        "PV1": segment(
            "PV1",
            {
                1: "1",
                2: _CLASS_OF_SETTING.get(setting or exam["source_setting"], "O"),
                3: f"LOC{setting}^^^{party}",
                8: referrer,
                18: setting,
                19: f"V{accession[1:]}^^^{party}^VN",
            },
        ),
    }


def _request_fields(parts: dict[str, str], local: dict[str, Any]) -> dict[int, str]:
    """OBR fields that every order and report message repeats."""
    fields = {
        1: "1",
        2: parts["placer"],
        3: parts["filler"],
        4: parts["code"],
        6: clock(local["requested"]),
        16: parts["referrer"],
        18: parts["accession"],
        20: parts["site"],
        21: parts["resource"],
        24: parts["modality"],
        27: parts["priority"],
    }
    if local["received"] is not None:
        fields[14] = clock(local["received"])
    return fields


def _performed_fields(parts: dict[str, str], local: dict[str, Any]) -> dict[int, str]:
    """OBR fields of a performed exam: start, end and radiographer."""
    start, end = clock(local["started"]), clock(local["completed"])
    radiographer = f"{parts['radiographer']}&RADIOGRAPHER&EXAMPLE^{start}^{end}"
    return {7: start, 8: end, 22: end, 34: radiographer}


def _order(parts: dict[str, str], local: dict[str, Any], control: str, status: str) -> list[str]:
    moment = local["requested"] if control == "NW" else local["completed"]
    common = {
        1: control,
        2: parts["placer"],
        3: parts["filler"],
        5: status,
        7: parts["priority"],
        9: clock(moment),
        12: parts["referrer"],
        21: parts["organisation"],
    }
    fields = _request_fields(parts, local)
    segments = [parts["PID"], parts["PV1"], segment("ORC", common)]
    if control == "NW":
        del fields[20], fields[21]
        return [*segments, segment("OBR", fields)]
    fields |= _performed_fields(parts, local)
    return [*segments, segment("OBR", fields), f"ZDS|{parts['uid']}^RIS^Application^DICOM"]


def _replacement(
    parts: dict[str, str], local: dict[str, Any], control: str, status: str
) -> list[str]:
    """The RIS replaces an order: RU names the old number, RO the new one."""
    common = {
        1: control,
        2: parts["placer"],
        3: parts["filler"],
        5: status,
        7: parts["priority"],
        9: clock(local["renumbered"]),
        12: parts["referrer"],
        21: parts["organisation"],
    }
    fields = _request_fields(parts, local)
    del fields[20], fields[21]
    return [parts["PID"], parts["PV1"], segment("ORC", common), segment("OBR", fields)]


def _merge(exam: dict[str, Any], parts: dict[str, str], local: dict[str, Any]) -> list[str]:
    """PID names the number that stays, MRG the one that is given up."""
    moment = clock(local["merged"])
    loser = f"{exam['merging_id']}^^^{exam['party_code']}^MR"
    return [segment("EVN", {1: "A40", 2: moment}), parts["PID"], segment("MRG", {1: loser})]


def _cancellation(exam: dict[str, Any], parts: dict[str, str], local: dict[str, Any]) -> list[str]:
    reason = exam["cancel_reason"]
    text = appointments.CANCEL_REASONS[reason]
    return _status_change(parts, local, "CA", "CA", local["cancelled"], f"{reason}^{text}^LOCAL")


def _vetting(exam: dict[str, Any], parts: dict[str, str], local: dict[str, Any]) -> list[str]:
    """Vetted or refused, told as a change of status with a local code (ORC-5)."""
    if not exam["is_refused_at_vetting"]:
        return _status_change(parts, local, "SC", VETTED, local["vetted"])
    reason = exam["cancel_reason"]
    text = appointments.reason_texts(appointments.REFUSAL)[reason]
    return _status_change(parts, local, "SC", REFUSED, local["cancelled"], f"{reason}^{text}^LOCAL")


def _status_change(
    parts: dict[str, str],
    local: dict[str, Any],
    control: str,
    status: str,
    moment: int,
    reason: str = "",
) -> list[str]:
    common = {
        1: control,
        2: parts["placer"],
        3: parts["filler"],
        5: status,
        7: parts["priority"],
        9: clock(moment),
        12: parts["referrer"],
        16: reason,
        21: parts["organisation"],
    }
    fields = _request_fields(parts, local)
    return [parts["PID"], parts["PV1"], segment("ORC", common), segment("OBR", fields)]


def _appointment(
    exam: dict[str, Any],
    parts: dict[str, str],
    start: int,
    number: int,
    status: str,
    reason: str,
) -> list[str]:
    begin, end = clock(start), clock(start + 20 * 60)
    appointment = f"APT{parts['accession'][1:]}-{number}"
    schedule = {
        1: f"{appointment}^EPR",
        2: f"{appointment}^RIS",
        6: reason,
        7: parts["code"],
        9: "20",
        10: "MIN",
        11: f"^^20^{begin}^{end}",
        16: "U314^CLERK^EXAMPLE",
        25: status,
        26: parts["placer"],
        27: parts["filler"],
    }
    party = exam["party_code"]
    return [
        segment("SCH", schedule),
        parts["PID"],
        parts["PV1"],
        "RGS|1|A",
        f"AIS|1|A|{parts['exam_code']}^{parts['name']}^NICIP|{begin}|||20|MIN",
        f"AIL|1|A|{parts['resource']}^^^{parts['site']}|RAD^{parts['modality']}^{party}",
    ]


def _move_reason(exam: dict[str, Any]) -> str:
    """Who cancelled, which decides on the clock of the wait, and why."""
    who, why = exam["moved_by"], exam["move_reason"]
    text = appointments.reason_texts(who)[why]
    return f"{who.upper()}^Cancelled by the {who}^LOCAL^{why}^{text}^LOCAL"


def _report(
    exam: dict[str, Any], parts: dict[str, str], local: dict[str, Any], kind: str
) -> list[str]:
    """Report message: kind P preliminary, F verified, A with an addendum section, C corrected."""
    first = clock(local["verified_delivered"]) if kind != "P" else clock(local["preliminary"])
    changed = {"A": "addendum", "C": "corrected"}.get(kind)
    moment = clock(local[changed]) if changed else first
    status = {"P": "P", "C": "C"}.get(kind, "F")
    org, reporter = exam["reporter_org"], exam["reporter_code"]
    fields = _request_fields(parts, local) | _performed_fields(parts, local)
    fields |= {22: moment, 25: status}
    if kind == "P":
        fields[33] = f"{reporter}&REPORTER&EXAMPLE&&&DR^{moment}"
    else:
        fields[32] = f"{reporter}&REPORTER&EXAMPLE&&&DR^{moment}"
    common = {
        1: "RE",
        2: parts["placer"],
        3: parts["filler"],
        5: "CM",
        9: moment,
        12: parts["referrer"],
        21: parts["organisation"],
    }
    findings = _FINDINGS.get((parts["modality"], exam["body_region"]), _OTHER_FINDINGS)
    pick = exam["exam_no"]
    lines = [
        ("GDT", findings[pick % len(findings)], first),
        ("GDT", findings[(pick // 7 + 1) % len(findings)], first),
    ]
    if kind != "P":
        text = _CONCLUSIONS[(pick + (kind == "C")) % len(_CONCLUSIONS)]
        lines.append(("IMP", text, moment if kind == "C" else first))
    if kind == "A":
        lines.append(("ADT", "Addendum: reviewed with an outside study & unchanged.", moment))
    segments = [parts["PID"], parts["PV1"], segment("ORC", common), segment("OBR", fields)]
    for number, (section, text, written) in enumerate(lines, start=1):
        observation = {
            1: str(number),
            2: "TX",
            3: f"{parts['exam_code']}&{section}^{parts['name']}^NICIP",
            5: escape(text),
            11: status,
            14: written,
            15: org,
            16: f"{reporter}^REPORTER^EXAMPLE",
        }
        segments.append(segment("OBX", observation))
    uid = f"OBX|{len(lines) + 1}|HD|110180^Study Instance UID^DCM||{parts['uid']}||||||{status}"
    return [*segments, uid]


def _with_joint_reports(messages: list[Message], second_of: dict[tuple[str, str], str]) -> None:
    """Put reports of two exams into one message: an OBR group for each; in place.

    `second_of` gives the accession of the second exam by party and accession of the first. Both
    have the same times, so each report of the one meets that of the other.
    """
    firsts = {(party, second): (party, first) for (party, first), second in second_of.items()}
    reports: dict[tuple[str, str], list[int]] = {}
    for number, message in enumerate(messages):
        key = (message.party, str(message.accession))
        if message.event.startswith("ORU") and (key in second_of or key in firsts):
            reports.setdefault(key, []).append(number)
    gone = []
    for second, numbers in reports.items():
        for number, other in zip(numbers, reports.get(firsts.get(second, second), []), strict=True):
            if number == other:
                continue
            groups = messages[number].body.split("\r")[2:]
            body = messages[other].body + "\r".join(groups).replace("OBR|1|", "OBR|2|", 1)
            messages[other] = replace(messages[other], body=body, second_accession=second[1])
            gone.append(number)
    for number in sorted(gone, reverse=True):
        del messages[number]


def _header(message: Message, control_id: str) -> str:
    return (
        f"MSH|^~\\&|RIS|{message.party}|GMDW|GM|{clock(message.sent)}||{message.event}|"
        f"{control_id}|{message.processing}|{message.version}|||AL|NE|GBR|UNICODE UTF-8\r"
    )


class MessageDays:
    """The messages of the live weeks, day by day, as the texts of one file per party."""

    def __init__(self, period: Period, scale: float, seed: int, ledger: DirtLedger) -> None:
        """Start before the first live day; what is spoiled is noted in `ledger`."""
        self.period, self.seed, self.ledger = period, seed, ledger
        self.wanted = scaled(MESSAGE_COUNTS, scale)
        self.given: Counter[str] = Counter()
        self.sent = 0
        self.identities = Identities(period, scale, seed)
        # Newest moment that an earlier file told of an exam, to know what is overtaken.
        self._newest: dict[tuple[str, str], int] = {}
        self._joint: dict[tuple[str, str], str] = {}
        self._awaited = 0
        self._silent_party = ""
        self._held: dict[int, list[Message]] = {}

    def days(self, exams: pl.DataFrame) -> Iterator[dict[str, list[str]]]:
        """Texts of the messages by file (relative to the inbox) for one live day after another."""
        live = exams_told_of(exams, self.period.cutoff, self.period.end)
        live = self.identities.choose(live, self.ledger)
        for name in (*_TIMES, *IDENTITY_TIMES):
            utc = live[name].fill_null(0).to_numpy()
            live = live.with_columns(pl.Series(f"{name}_local", moments(utc, live["party_code"])))
        # A clock that was not put forward.
        stood = (pl.col("clock_fault") == NONEXISTENT).fill_null(False).cast(pl.Int64) * HOUR
        names = ("verified_local", "verified_delivered_local")
        live = live.with_columns(pl.col(name) - stood for name in names)
        self._note_times(live)
        self._joint = _joint_reports(live)
        days = self.period.live_days
        self._silent_party = str(live["party_code"].max())
        for number, day in enumerate(days):
            rng = np.random.default_rng([self.seed, 9, number])
            since, until = midnight(day), midnight(day + timedelta(days=1))
            rows = exams_told_of(live, since, until)
            told = [
                message
                for exam in rows.iter_rows(named=True)
                for known, first, last in as_known(exam, since, until)
                for message in exam_messages(known, first, last, rng)
            ]
            _with_joint_reports(told, self._joint)
            share = (number + 1) / len(days)
            soon = exams_told_of(live, until, until + 2 * DAY)
            soon = set(soon.select("party_code", "accession_number").iter_rows())
            good = self._hold_back(told, number, soon, rng)
            held = self._held.pop(number, [])
            self._note_overtaken(held, day)
            good = self._with_repeats(good, day, self._due("repeated_message", share), rng)
            good = sorted([*good, *held], key=_order_of)
            self._remember(good)
            self._disorder(good, day, self._due("out_of_order", share), rng)
            files: dict[str, list[str]] = {}
            for message in good:
                self.sent += 1
                head = _header(message, f"{message.party}{self.sent:07d}")
                files.setdefault(_file_of(message.party, day), []).append(head + message.body)
            self._spoil(files, share, rng)
            yield files

    def _due(self, kind: str, share: float) -> int:
        """Pieces of one kind due when a share of the days has passed and not yet given."""
        return math.ceil(self.wanted[kind] * share) - self.given[kind]

    def _note(self, kind: str, file: str, accession: str | None) -> None:
        self.given[kind] += 1
        self.ledger.add(FEED, kind, file, accession)

    def _note_times(self, live: pl.DataFrame) -> None:
        """Feeds whose times state an offset, and those where it is not that of the zone."""
        told = [name for name in (*_TOLD, *IDENTITY_TIMES, "dna") if name != "dna_told"]
        summer = np.zeros(live.height, dtype=bool)
        for name in told:
            utc = live[name].fill_null(0).to_numpy()
            summer |= calendar.is_summer_time(utc) & (utc >= self.period.cutoff)
        for party, style in sorted(time_styles().items()):
            mine = (live["party_code"] == party).to_numpy()
            if mine.any():
                self.ledger.add(FEED, "stated_offset", files_of(FEED, party), None)
            if style == UTC and (mine & summer).any():
                self.ledger.add(FEED, "offset_of_no_zone", files_of(FEED, party), None)

    def _note_overtaken(self, held: list[Message], day: date) -> None:
        """Held messages of exams of which an earlier file told something later."""
        for message in held:
            place = place_in_time(message.sent)
            if any(self._newest.get(key, place) > place for key in _exams_of(message)):
                file = _file_of(message.party, day)
                self._note("overtaken_message", file, message.accession)

    def _remember(self, messages: list[Message]) -> None:
        """Keep the newest moment of each exam; no message is held back for so long as a week."""
        newest = 0
        for message in messages:
            place = place_in_time(message.sent)
            newest = max(newest, place)
            for key in _exams_of(message):
                self._newest[key] = max(place, self._newest.get(key, place))
        horizon = newest - 7 * DAY
        self._newest = {key: place for key, place in self._newest.items() if place > horizon}

    def _disorder(
        self, messages: list[Message], day: date, count: int, rng: np.random.Generator
    ) -> None:
        """Change the places of the first and last message of some exams in their file."""
        places: dict[tuple[str, str], list[int]] = {}
        joint = {*self._joint, *((party, second) for (party, _), second in self._joint.items())}
        for number, message in enumerate(messages):
            for key in _exams_of(message):
                if key not in joint and not message.event.startswith("SIU"):
                    places.setdefault(key, []).append(number)
        usable = [
            (found[0], found[-1])
            for found in places.values()
            if place_in_time(messages[found[0]].sent) < place_in_time(messages[found[-1]].sent)
        ]
        chosen = rng.permutation(len(usable))[: max(count, 0)].tolist()
        for first, last in (usable[number] for number in sorted(chosen)):
            messages[first], messages[last] = messages[last], messages[first]
            file = _file_of(messages[first].party, day)
            self._note("out_of_order", file, messages[first].accession)

    def _hold_back(
        self,
        messages: list[Message],
        number: int,
        soon: set[tuple[str, str]],
        rng: np.random.Generator,
    ) -> list[Message]:
        """The messages sent on their day; the others come with those of a later day.

        A few are late by some days, some of them while the files before tell what came after
        (of the exams in `soon`). For two days one party sends nothing at all: what it had to say
        comes on the third day, in one file with that day's messages.
        """
        days = self.period.live_days
        silent_until = SILENT_FROM_DAY + SILENT_DAYS
        if SILENT_FROM_DAY <= number < silent_until:
            silent = [m for m in messages if m.party == self._silent_party]
            self._held.setdefault(silent_until, []).extend(silent)
            self._note("silent_day", _file_of(self._silent_party, days[number]), None)
            messages = [m for m in messages if m.party != self._silent_party]
        if number + LONGEST_LATE_DAYS >= len(days):
            return messages
        share = (number + 1) / (len(days) - LONGEST_LATE_DAYS)
        count = min(max(self._due("late_message", share), 0), len(messages))
        late = (
            set(rng.choice(len(messages), size=count, replace=False).tolist()) if count else set()
        )
        awaited = [n for n, m in enumerate(messages) if soon.intersection(_exams_of(m))]
        wanted = math.ceil(self.wanted["overtaken_message"] * share) - self._awaited
        overtaken = set(rng.permutation(awaited)[: max(wanted, 0)].tolist())
        self._awaited += len(overtaken)
        for index in sorted(late | overtaken):
            message = messages[index]
            arrives = number + int(rng.integers(1, LONGEST_LATE_DAYS + 1))
            if index in overtaken:
                arrives = number + LONGEST_LATE_DAYS
            if message.party == self._silent_party and SILENT_FROM_DAY <= arrives < silent_until:
                arrives = silent_until
            self._held.setdefault(arrives, []).append(message)
            file = _file_of(message.party, days[arrives])
            self._note("late_message", file, message.accession)
        return [m for index, m in enumerate(messages) if index not in late | overtaken]

    def _with_repeats(
        self, messages: list[Message], day: date, count: int, rng: np.random.Generator
    ) -> list[Message]:
        """Add messages sent again later the same day under a new control id.

        Appointment messages are left alone: their time is the time of sending, so a repeat would
        be another fact.
        """
        usable = [n for n, m in enumerate(messages) if not m.event.startswith("SIU")]
        if not usable:
            return messages
        chosen = rng.choice(usable, size=min(count, len(usable)), replace=False).tolist()
        repeats = []
        for number in sorted(chosen):
            message = messages[number]
            latest = (message.sent // DAY + 1) * DAY - 1
            again = replace(message, sent=min(message.sent + int(rng.integers(60, 3600)), latest))
            self._note("repeated_message", _file_of(again.party, day), message.accession)
            repeats.append(again)
        return [*messages, *repeats]

    def _spoil(self, files: dict[str, list[str]], share: float, rng: np.random.Generator) -> None:
        """Add messages that must not be landed, at most two to a file.

        The broken ones are extra copies, so no fact is lost with them. One without header stands
        first in its file: anywhere else it would read as the end of the message before it.
        """
        bad = [
            kind
            for kind in ("no_msh", "truncated_message", "test_message")
            for _ in range(self._due(kind, share))
        ]
        names = sorted(files)
        order = rng.permutation(len(names)).tolist()
        for position, kind in enumerate(bad[: BAD_MESSAGES_A_FILE * len(names)]):
            name = names[order[position % len(names)]]
            texts = files[name]
            sample = texts[-1]
            if kind == "no_msh":
                texts.insert(0, sample.partition("\r")[2])
            elif kind == "truncated_message":
                texts.append(sample[: sample.index("||")] + "\r")
            else:
                texts.append(_test_message(name, self.given[kind]))
            self._note(kind, name, None)


def _order_of(message: Message) -> tuple[str, int]:
    return message.party, place_in_time(message.sent)


def _exams_of(message: Message) -> list[tuple[str, str]]:
    """Party and accession number of each exam that a message tells of."""
    numbers = (message.accession, message.second_accession)
    return [(message.party, number) for number in numbers if number is not None]


def _joint_reports(live: pl.DataFrame) -> dict[tuple[str, str], str]:
    """Accession number of the second exam of each joint report, by party and that of the first."""
    first = live.select(performed_with="exam_no", first="accession_number")
    both = live.filter(pl.col("report_sharing") == SEVERAL_GROUPS).join(first, on="performed_with")
    rows = both.sort("exam_no").select("party_code", "first", "accession_number").iter_rows()
    return {(party, first): second for party, first, second in rows}


def _file_of(party: str, day: date) -> str:
    return f"{FEED}/{day}/{party}_{day:%Y%m%d}.hl7"


def _test_message(file: str, number: int) -> str:
    """A message marked as not for production, about a patient who does not exist."""
    party, day = Path(file).stem.split("_")
    moment = f"{day}120000"
    header = (
        f"MSH|^~\\&|RIS|{party}|GMDW|GM|{moment}||OMG^O19|{party}T{number:06d}|T|2.4"
        "|||AL|NE|GBR|UNICODE UTF-8\r"
    )
    order = {1: "NW", 3: f"TEST{number:05d}^RIS", 5: "SC", 9: moment}
    fields = {1: "1", 3: f"TEST{number:05d}^RIS", 4: "XCHES^XR Chest^NICIP", 6: moment}
    fields |= {14: moment, 18: f"TEST{number:05d}", 24: "DX"}
    return (
        header
        + f"PID|1||TEST{number:05d}^^^{party}^MR||ZZZTEST^DO NOT USE||19000101|U\r"
        + segment("ORC", order)
        + "\r"
        + segment("OBR", fields)
        + "\r"
    )
