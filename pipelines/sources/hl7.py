"""HL7 v2 bytes in, one row per OBR group out; then rows to imaging events by a rule table.

Format rules are those of HL7 v2.3.1 to 2.5.1: separators come from MSH, the character set from
MSH-18; a segment counts only when its id is followed by the field separator.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import polars as pl

from pipelines.event_model import conform
from pipelines.sources.clock import parse_hl7_times

DEFAULT_EVENT_MAP = Path(__file__).parent / "hl7_event_map.csv"
BOM = b"\xef\xbb\xbf"
MESSAGE_START = re.compile(rb"(?:^|[\r\n])[ \t]*(?:\xef\xbb\xbf)?(MSH)(?=[!-/:-@\[-`{-~])")
FRAME_END = re.compile(rb"\x1c[\r\n]*(?:\x0b|$)")
ENVELOPE = (b"FHS", b"BHS", b"BTS", b"FTS")
DEFAULT_SEPARATORS = "^~\\&"
GROUP_SEGMENTS = {"OBR", "OBX", "NTE", "TQ1", "IPC", "ZDS"}
CHARSETS = {
    "": "utf-8",
    "ASCII": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "8859/1": "latin-1",
    "8859/15": "iso8859-15",
}
# Bytes (directly neighbouring ones together), or one named sequence, or one of the standard that
# is kept as sent: \C..\, \M..\, \Z..\ and the other formatting commands.
ESCAPE = re.compile(
    r"\\(?P<bytes>X(?:[0-9A-Fa-f]{2})+(?:\\\\X(?:[0-9A-Fa-f]{2})+)*)\\"
    r"|\\(?P<named>[FSTREHN]|\.br|\.sp|\.ce)\\"
    r"|\\[CMXZ.][^\\\s]*\\"
)

# name, then the places to look, best first (field-component.sub-component); first repetition.
FIELDS: tuple[tuple[str, str], ...] = (
    ("message_code", "MSH-9.1"),
    ("trigger_event", "MSH-9.2"),
    ("sending_facility", "MSH-4.1"),
    ("message_time", "MSH-7.1"),
    ("control_id", "MSH-10.1"),
    ("processing_id", "MSH-11.1"),
    ("recorded_time", "EVN-2.1 EVN-6.1"),
    ("prior_patient_id", "MRG-1.1"),
    ("patient_authority", "PID-3.4"),
    ("birth_date", "PID-7.1"),
    ("sex", "PID-8.1"),
    ("postcode", "PID-11.5"),
    ("ethnic_category", "PID-22.1"),
    ("patient_class", "PV1-2.1"),
    ("source_setting", "PV1-18.1"),
    ("order_control", "ORC-1.1"),
    ("order_status", "ORC-5.1"),
    ("order_transaction_time", "ORC-9.1"),
    ("cancel_reason", "ORC-16.1"),
    ("appointment_reason", "SCH-6.1"),
    ("placer_id", "OBR-2.1 ORC-2.1 SCH-26.1"),
    ("filler_id", "OBR-3.1 ORC-3.1 SCH-27.1"),
    ("appointment_id", "SCH-1.1 SCH-2.1"),
    ("accession", "OBR-18.1 IPC-1.1"),
    ("requester_id", "OBR-16.1 ORC-12.1"),
    ("requester_org", "ORC-21.1 ORC-21.10 ORC-17.1"),
    ("priority", "TQ1-9.1 ORC-7.6 OBR-27.6 OBR-5.1"),
    ("exam_code", "OBR-4.1 AIS-3.1 SCH-7.1"),
    ("exam_code_system", "OBR-4.3 AIS-3.3 SCH-7.3"),
    ("snomed_code", "OBR-4.4 AIS-3.4 SCH-7.4"),
    ("requested_time", "OBR-6.1"),
    ("started_time", "OBR-7.1"),
    ("completed_time", "OBR-8.1"),
    ("received_time", "OBR-14.1"),
    ("site_code", "OBR-20.1 AIL-3.4 IPC-8.1"),
    ("resource", "OBR-21.1 AIL-3.1 IPC-7.1"),
    ("station_ae_title", "IPC-9.1"),
    ("status_time", "OBR-22.1"),
    ("modality", "OBR-24.1 IPC-5.1"),
    ("result_status", "OBR-25.1"),
    ("interpreter_id", "OBR-32.1.1"),
    ("interpreted_time", "OBR-32.2"),
    ("first_reader_id", "OBR-33.1.1"),
    ("technician_id", "OBR-34.1.1"),
    ("scheduled_time", "TQ1-7.1 OBR-27.4 ORC-7.4 OBR-36.1 SCH-11.4 AIS-4.1"),
    ("scheduling_status", "SCH-25.1"),
)
# Names that the rule table's ts_paths may use.
TIME_COLUMNS = {
    "ORC-9": "order_transaction_time",
    "OBR-6": "requested_time",
    "OBR-7": "started_time",
    "OBR-8": "completed_time",
    "OBR-14": "received_time",
    "OBR-22": "status_time",
    "OBR-32.2": "interpreted_time",
    "OBX-14": "observation_time",
    "SCH-11.4": "scheduled_time",
    "AIS-4": "scheduled_time",
    "MSH-7": "message_time",
    "EVN-2": "recorded_time",
}
ACTOR_COLUMNS = {
    "requester": "requester_id",
    "radiographer": "technician_id",
    "first_reader": "first_reader_id",
    "verifier": "interpreter_id",
}
COLLECTED = {
    "patient_id": pl.String,
    "nhs_number": pl.String,
    "study_uid": pl.String,
    "study_uid_source": pl.String,
    "study_uid_conflict": pl.Boolean,
    "observation_time": pl.String,
    "performing_org": pl.String,
    "section": pl.String,
    "report_text": pl.String,
}
ROW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "message_no": pl.Int64,
    "obr_set": pl.Int32,
    **{name: pl.String for name, _ in FIELDS},
    **COLLECTED,
    "charset_fallback": pl.Boolean,
    "content_sha": pl.Binary,
}
REJECT_SCHEMA = {"message_no": pl.Int64, "rule": pl.String, "detail": pl.String}


@dataclass(frozen=True)
class Feed:
    """How one sender's messages are read: its name and its time zone."""

    feed_id: str
    time_zone: str = "Europe/London"


@dataclass(frozen=True)
class MessageBatch:
    """What a batch of bytes held.

    `rows`: one row per OBR group (ROW_SCHEMA: `message_no` from 1, `obr_set` from 1, one text
    column per field of the map as in `FIELDS`, `patient_id` and `nhs_number` (PID-3 by the type
    of each number), `study_uid`, `study_uid_source`,
    `study_uid_conflict`, `observation_time` (latest OBX-14), `performing_org` (OBX-15),
    `section` (plain | addendum | corrected | withdrawn), `report_text`; identities are raw, in memory only).
    `rejected`: one row per message that gave none (`message_no`, `rule`, `detail`).
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame


@dataclass
class _Message:
    """One parsed message: separators, message-level segments, and its OBR groups.

    `separators` are component, repetition, escape, sub-component (MSH-2), then field (MSH-1).
    """

    separators: str
    charset: str = "utf-8"
    shared: dict[str, list[str]] = field(default_factory=dict)
    groups: list[dict[str, list[list[str]]]] = field(default_factory=list)


def read_messages(data: bytes, *, feed: str | Feed) -> MessageBatch:
    """Read a batch of HL7 v2 messages, whatever its framing (MLLP, CR, LF, CRLF, BOM, FHS/BHS).

    A message without an OBR group gives one row with empty OBR columns. Never raises on content:
    what cannot be read is in `rejected`.
    """
    del feed  # the default field map serves every feed; feed files come with the full extractor
    rows: list[dict[str, object]] = []
    rejected: list[tuple[int, str, str]] = []
    for number, raw in enumerate(split_messages(data), start=1):
        try:
            rows += read_message(raw, number)
        except ValueError as error:
            rule, _, detail = str(error).partition(": ")
            rejected.append((number, rule, detail))
    return MessageBatch(
        pl.DataFrame(rows, schema=ROW_SCHEMA, orient="row"),
        pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
    )


def split_messages(data: bytes) -> list[bytes]:
    """Cut a batch at every MLLP frame and every segment start `MSH` + separator.

    Bytes of a frame or file that no MSH precedes form a piece of their own, so that they are
    rejected and neither lost nor read as the end of another message. Envelope segments (FHS, BHS,
    BTS, FTS) belong to no message.
    """
    pieces = []
    for frame in FRAME_END.split(data):
        frame = frame.replace(b"\x0b", b"\r").replace(b"\x1c", b"\r").removeprefix(BOM)
        starts = [match.start(1) for match in MESSAGE_START.finditer(frame)]
        bounds = [0, *starts, len(frame)]
        pieces += [frame[start:end] for start, end in pairwise(bounds)]
    stripped = (_without_envelope(piece) for piece in pieces)
    return [piece for piece in stripped if piece]


def _without_envelope(piece: bytes) -> bytes:
    lines = re.split(rb"[\r\n]+", piece.removesuffix(BOM))
    kept = [line for line in lines if line.strip() and line.lstrip()[:3] not in ENVELOPE]
    return b"\r".join(kept).strip()


def read_message(raw: bytes, number: int) -> list[dict[str, object]]:
    """One row per OBR group of one message; raises ValueError `<rule>: <detail>`."""
    if raw[:3] != b"MSH" or not MESSAGE_START.match(raw) or len(raw) < 8:
        raise ValueError("has_message_header: the message does not begin with an MSH segment")
    fs = raw[3:4].decode("latin-1")
    text, charset, fallback = _decode(raw, fs)
    lines = [line for line in re.split(r"[\r\n]+", text) if line]
    message = _parse(lines, fs, charset)
    digest = _content_digest(lines, fs)
    rows = []
    for index, group in enumerate(message.groups or [{}], start=1):
        row: dict[str, object] = {"message_no": number, "obr_set": index}
        for name, paths in COMPILED:
            row[name] = _first(message, group, paths)
        row |= _collected(message, group)
        row |= {"charset_fallback": fallback, "content_sha": digest}
        rows.append(row)
    return rows


def _decode(raw: bytes, fs: str) -> tuple[str, str, bool]:
    """Text, character set and whether it had to be read as latin-1 against what it says."""
    header = raw.split(b"\r", 1)[0].split(b"\n", 1)[0].decode("latin-1").split(fs)
    stated = header[17].split(header[1][1:2] or "~")[0].strip().upper() if len(header) > 17 else ""
    charset = CHARSETS.get(stated, "utf-8")
    try:
        return raw.decode(charset), charset, False
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1", True


def _parse(lines: list[str], fs: str, charset: str) -> _Message:
    encoding = lines[0].split(fs)[1]
    if len(encoding) < 2:
        raise ValueError("has_message_header: MSH-2 does not name the encoding characters")
    # The characters that a short MSH-2 leaves out are the standard's; a fifth is the truncation
    # sign of 2.7, which is not read.
    message = _Message((encoding + DEFAULT_SEPARATORS[len(encoding) :])[:4] + fs, charset)
    pending: dict[str, list[list[str]]] = {}
    for line in lines:
        segment = line[:3]
        if line[3:4] != fs:
            continue
        fields = line.split(fs)
        if segment == "MSH":
            fields.insert(1, fs)
        if segment == "PID" and _is_another_patient(message, fields):
            raise ValueError("has_one_patient: the message holds segments of two patients")
        if segment == "ORC":
            if "ORC" in pending:
                message.groups.append(pending)
            pending = {"ORC": [fields]}
        elif segment == "OBR":
            message.groups.append({**pending, "OBR": [fields]})
            pending = {}
        elif segment in GROUP_SEGMENTS and message.groups and "ORC" not in pending:
            message.groups[-1].setdefault(segment, []).append(fields)
        elif segment in GROUP_SEGMENTS:
            pending.setdefault(segment, []).append(fields)
        else:
            message.shared.setdefault(segment, fields)
    if "ORC" in pending or (pending and not message.groups):
        message.groups.append(pending)
    return message


def _is_another_patient(message: _Message, fields: list[str]) -> bool:
    """A second PID with other numbers: two messages that ran together, or a batch in one.

    Whose orders follow is then uncertain, and a guess would give one patient's exam to another.
    """
    first = message.shared.get("PID")
    return first is not None and _at(first, 3) != _at(fields, 3)


Path3 = tuple[str, int, int, int]


def _compile(paths: str) -> tuple[Path3, ...]:
    compiled = []
    for path in paths.split():
        segment, _, rest = path.partition("-")
        numbers = [int(part) for part in rest.split(".")] + [1, 1]
        compiled.append((segment, numbers[0], numbers[1], numbers[2]))
    return tuple(compiled)


COMPILED = tuple((name, _compile(paths)) for name, paths in FIELDS)


def _first(
    message: _Message, group: dict[str, list[list[str]]], paths: tuple[Path3, ...]
) -> str | None:
    for segment, index, component, sub in paths:
        found = group.get(segment)
        fields = found[0] if found else message.shared.get(segment)
        if fields is None or len(fields) <= index or not fields[index]:
            continue
        value = _component(fields[index], component, sub, message).strip()
        if value:
            return value
    return None


def _component(value: str, component: int, sub: int, message: _Message) -> str:
    """Component and sub-component of the first repetition of a field, unescaped."""
    separators = message.separators
    parts = value.split(separators[1], 1)[0].split(separators[0])
    value = parts[component - 1] if component <= len(parts) else ""
    subs = value.split(separators[3])
    value = subs[sub - 1] if sub <= len(subs) else ""
    return _unescaped(value, message)


def _unescaped(value: str, message: _Message) -> str:
    if message.separators[2] not in value:
        return value
    return unescape(value, message.separators, message.charset)


def unescape(value: str, separators: str, charset: str = "utf-8") -> str:
    """Resolve HL7 escape sequences; an unknown one, or a stray sign, stays as it was sent.

    `separators` are component, repetition, escape, sub-component, and the field separator (`|`
    where it is left out). Bytes (`\\X..\\`) are read in `charset`, as latin-1 where they are
    invalid there.
    """
    component, repetition, escape, sub = separators[:4]
    named = {
        "F": separators[4:5] or "|",
        "S": component,
        "R": repetition,
        "E": escape,
        "T": sub,
        "H": "",
        "N": "",
        ".br": "\n",
        ".sp": "\n",
        ".ce": "\n",
    }

    def resolve(match: re.Match[str]) -> str:
        if match["named"] is not None:
            return named[match["named"]]
        if match["bytes"] is None:
            return match.group()
        raw = bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", match["bytes"]))
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    return _escape_pattern(escape).sub(resolve, value)


@cache
def _escape_pattern(escape: str) -> re.Pattern[str]:
    """The escape sequences of a message, whose own sign may be another than the backslash."""
    return re.compile(ESCAPE.pattern.replace(r"\\", re.escape(escape)))


def _collected(message: _Message, group: dict[str, list[list[str]]]) -> dict[str, object]:
    """What needs more than one place: NHS number, study UID, report text, addendum mark."""
    component, repetition, _, sub = message.separators[:4]
    uids = _study_uids(message, group)
    texts, marks, latest, org = [], set(), None, None
    for fields in group.get("OBX", []):
        identifier = _at(fields, 3).split(component)[0].split(sub)
        if _at(fields, 2) in ("TX", "FT", "ST") and identifier[0] not in STUDY_CODES:
            # Text has no components: an unescaped ^ or & in it is a character like any other.
            texts += [_unescaped(line, message) for line in _at(fields, 5).split(repetition)]
            marks |= {"ADT"} & set(identifier[1:]) | {_at(fields, 11)}
        latest = max(latest or "", _at(fields, 14)) or None
        org = org or _component(_at(fields, 15), 1, 1, message) or None
    return {
        **_patient_numbers(message),
        "study_uid": uids[0][1] if uids else None,
        "study_uid_source": uids[0][0] if uids else None,
        "study_uid_conflict": len({uid for _, uid in uids}) > 1,
        "observation_time": latest,
        "performing_org": org,
        "section": next((name for name, signs in SECTIONS if marks & signs), "plain"),
        "report_text": "\n".join(texts) or None,
    }


STUDY_CODES = {"110180", "113014"}
# What the lines of a report say of the whole, by OBX-11 (table 0085) and the ADT mark of OBX-3.
SECTIONS = (("withdrawn", {"D", "W"}), ("addendum", {"ADT"}), ("corrected", {"C"}))
NATIONAL_TYPES = {"NH", "NHS"}


def _study_uids(message: _Message, group: dict[str, list[list[str]]]) -> list[tuple[str, str]]:
    """Every study UID a group states, with its place; IPC-3 first, then ZDS-1, then OBX."""
    component, _, _, sub = message.separators[:4]
    found = []
    for segment, index in (("IPC", 3), ("ZDS", 1)):
        for fields in group.get(segment, []):
            found.append((segment, _component(_at(fields, index), 1, 1, message)))
    for fields in group.get("OBX", []):
        if _at(fields, 3).split(component)[0].split(sub)[0] in STUDY_CODES:
            found.append(("OBX", _component(_at(fields, 5), 1, 1, message)))
    return [(place, uid.strip()) for place, uid in found if uid.strip()]


def _patient_numbers(message: _Message) -> dict[str, str | None]:
    """NHS number and local number of PID-3, by the type of each repetition, whatever their order.

    The local number is the first that is not an NHS number; a message that knows the patient by
    NHS number only has that in both.
    """
    repetition = message.separators[1]
    national, local = None, None
    for number in _at(message.shared.get("PID", []), 3).split(repetition):
        kind = _component(number, 5, 1, message).strip()
        value = _component(number, 1, 1, message).strip() or None
        if kind in NATIONAL_TYPES:
            national = national or (value and value.replace(" ", ""))
        else:
            local = local or value
    return {"nhs_number": national, "patient_id": local or national}


def _at(fields: list[str], index: int) -> str:
    return fields[index] if len(fields) > index else ""


def _content_digest(lines: list[str], fs: str) -> bytes:
    """Digest of the message with MSH-7 and MSH-10 blanked: equal for a message sent again."""
    header = lines[0].split(fs)
    for index in (6, 9):
        if len(header) > index:
            header[index] = ""
    return hashlib.sha256("\r".join([fs.join(header), *lines[1:]]).encode()).digest()[:16]


def events_from_messages(rows: pl.DataFrame, rules: pl.DataFrame, zone: str) -> pl.DataFrame:
    """One row per event: the rules of an event map applied to message rows (RAW_EVENT_SCHEMA).

    `rows` are `MessageBatch.rows` with `source_sha`, `feed_id`, `issuer_ods` beside them; `rules`
    is the event map (hl7_event_map.csv: empty cell = any value, `|` between alternatives).
    A row that matches no rule gives no event; the caller rejects it as unmapped. An event whose
    time is missing or unreadable has a null `event_ts_utc`; the caller rejects its message.
    """
    asserted = parse_hl7_times(rows["message_time"], zone)["utc"]
    rows = rows.with_columns(
        asserted_ts_utc=asserted,
        scheduled_for=parse_hl7_times(rows["scheduled_time"], zone)["utc"],
    )
    frames = [_events_of_rule(rows, rule, zone) for rule in rules.iter_rows(named=True)]
    return conform(pl.concat([frame for frame in frames if len(frame)] or frames, how="diagonal"))


def read_event_map(path: Path = DEFAULT_EVENT_MAP) -> pl.DataFrame:
    """Read an event map: one row per rule, all columns text, empty cells null."""
    return pl.read_csv(path, infer_schema=False).sort(pl.col("rule_rank").cast(pl.Int64))


MATCHED = {
    "msg_type": "message_code",
    "msg_event": "trigger_event",
    "orc1": "order_control",
    "orc5": "order_status",
    "obr25": "result_status",
    "section": "section",
    "sch25": "scheduling_status",
}


def _events_of_rule(rows: pl.DataFrame, rule: dict[str, str | None], zone: str) -> pl.DataFrame:
    for key, column in MATCHED.items():
        wanted = rule[key]
        if wanted is not None:
            rows = rows.filter(pl.col(column).is_in(wanted.split("|")))
    paths = str(rule["ts_paths"]).split()
    stated = pl.coalesce(pl.col(TIME_COLUMNS[path]) for path in paths)
    place = pl.coalesce(
        pl.when(pl.col(TIME_COLUMNS[path]).is_not_null()).then(pl.lit(path)) for path in paths
    )
    rows = rows.with_columns(event_ts_raw=stated, ts_source=place)
    if rule["carried"] == "true":
        rows = rows.filter(pl.col("event_ts_raw").is_not_null())
    times = parse_hl7_times(rows["event_ts_raw"], zone)
    actor = rule["actor"]
    return rows.select(
        "source_sha",
        pl.col("message_no").alias("message_id"),
        "obr_set",
        "feed_id",
        pl.lit("hl7v2").alias("source_kind"),
        "issuer_ods",
        "accession",
        "filler_id",
        "placer_id",
        pl.col("appointment_id").alias("appt_id"),
        "study_uid",
        "study_uid_source",
        "study_uid_conflict",
        "patient_id",
        "prior_patient_id",
        "nhs_number",
        pl.col("birth_date").str.slice(0, 8).str.to_date("%Y%m%d", strict=False),
        pl.col("sex").replace({"M": "1", "F": "2", "U": "9", "O": "9"}),
        "ethnic_category",
        "postcode",
        pl.lit(rule["event_type"]).alias("event_type"),
        pl.lit(rule["carried"] == "true").alias("carried"),
        "event_ts_raw",
        times["utc"].alias("event_ts_utc"),
        times["local"].alias("event_ts_local"),
        times["precision"].alias("ts_precision"),
        times["tz_source"],
        times["flag"].alias("ts_flag"),
        "ts_source",
        "asserted_ts_utc",
        "content_sha",
        pl.col("site_code").alias("site_ods"),
        "resource",
        pl.col("station_ae_title").alias("aet"),
        "modality",
        pl.col("exam_code").alias("proc_code"),
        pl.col("exam_code_system").alias("proc_system"),
        pl.col("snomed_code").alias("proc_snomed"),
        "priority",
        "patient_class",
        "source_setting",
        "requester_id",
        "requester_org",
        (pl.col(ACTOR_COLUMNS[actor]) if actor else pl.lit(None, pl.String)).alias("actor_id"),
        pl.lit(actor, pl.String).alias("actor_role"),
        _actor_org(actor).alias("actor_org"),
        "scheduled_for",
        pl.format(
            "ORC1={}|ORC5={}|OBR25={}",
            pl.col("order_control").fill_null(""),
            pl.col("order_status").fill_null(""),
            pl.col("result_status").fill_null(""),
        ).alias("status_raw"),
        pl.col("report_text"),
        _reason(str(rule["event_type"])).alias("reason"),
    )


def _actor_org(actor: str | None) -> pl.Expr:
    """The organisation a person acts for: OBX-15 for reporters, ORC-21 for requesters."""
    places: dict[str, Callable[[], pl.Expr]] = {
        "verifier": lambda: pl.col("performing_org"),
        "first_reader": lambda: pl.col("performing_org"),
        "requester": lambda: pl.col("requester_org"),
    }
    return places[actor]() if actor in places else pl.lit(None, pl.String)


def _reason(event_type: str) -> pl.Expr:
    """Why: ORC-16 of an order; SCH-6 of a cancelled slot, since SIU messages have no order."""
    if event_type == "appointment_cancelled":
        return pl.coalesce("cancel_reason", "appointment_reason")
    return pl.col("cancel_reason")
