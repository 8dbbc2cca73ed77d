"""Radiation dose structured reports to irradiation events: by concept code, never by position.

A report (TID 10001 projection, TID 10011 CT) is a tree of content items. Events are found wherever
they stand below the title, their values wherever they stand below the event. A number without a
unit that is known, or told twice with two values, is no number: it stays empty and is flagged.
Only codes, numbers, UIDs, times and the device are read; names and texts of the report are not.
"""

from __future__ import annotations

import errno
import logging
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import polars as pl
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from pipelines.sources.dicom_headers.structure import NotWhole, TooDeep, TooLarge, check_whole
from pipelines.sources.dicom_headers.times import acquisition_starts
from pipelines.sources.dicom_headers.values import Undecodable, encodings_of, text_of
from pipelines.sources.ucum import factor

# Objects of these classes are dose reports; those of the others when their title says so. The
# receiver keeps the content of these reports and of no others.
DOSE_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (67, 68, 76))
GENERAL_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (22, 33, 34, 35))
TITLE = "113701"
LAST_OF_TITLE = 0x0040A043
EVENTS = {"113819": "ct", "113706": "projection"}
TOTALS = ("113811", "113702")
EVENT_UID, EVENT_START, PLANE = "113769", "111526", "113764"
REPORT_START, REPORT_END = "113809", "113810"

# Code of a number: column, unit.
EVENT_NUMBERS = {
    "113824": ("exposure_seconds", "s"),
    "113742": ("irradiation_seconds", "s"),
    "113830": ("ctdi_vol_mgy", "mGy"),
    "113838": ("dlp_mgy_cm", "mGy.cm"),
    "122130": ("dap_gy_m2", "Gy.m2"),
    "113738": ("rp_dose_mgy", "mGy"),
    "111631": ("agd_mgy", "mGy"),
}
TOTAL_NUMBERS = {
    "113812": ("total_event_count", "1"),
    "113813": ("total_dlp_mgy_cm", "mGy.cm"),
    "113722": ("total_dap_gy_m2", "Gy.m2"),
    "113725": ("total_rp_dose_mgy", "mGy"),
}
# Code of a coded value: columns of its code and its scheme.
EVENT_CODES = {
    "113820": ("acquisition_type_code", "acquisition_type_scheme"),
    "113721": ("acquisition_type_code", "acquisition_type_scheme"),
    "113835": ("phantom_code", "phantom_scheme"),
}
DEVICE = {
    "121012": "device_observer_uid",
    "121013": "device_observer_name",
    "121014": "device_manufacturer",
    "121015": "device_model_name",
    "121016": "device_serial_number",
}
TIMES = ("event_start", "irradiation_start", "irradiation_end", "report_written")

NOT_READABLE = "not readable"
NOT_WHOLE = "file is not whole"
NOT_A_REPORT = "no structured report of a class that can hold dose"
NO_UID = "SOP instance or study UID missing"
NOT_A_DOSE_REPORT = "title is not that of an X-ray dose report"
NO_DOSE = "no irradiation event and no total"
NO_EVENT_UID = "irradiation event without a UID"
EVENT_TWICE = "one irradiation event with two sets of values"
TOO_DEEP = "tree too deep"
TOO_LARGE = "report too large"
MALFORMED = "tree is malformed"

# What an OSError can have against one file: it is gone, forbidden, no file, or lies on a bad block.
# One without a number is of a library that met damage.
OF_THE_FILE = {
    None,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ESTALE,
}

UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
CODE = re.compile(r"[A-Za-z0-9.\-]{1,64}")
LARGEST = Decimal("1e15")
PADDING = " \0"


@dataclass(frozen=True)
class Limits:
    """What a report may claim of time and memory; real ones hold some thousand items, 8 levels."""

    content_bytes: int = 32 * 1024 * 1024
    depth: int = 24
    items: int = 200_000


LIMITS = Limits()


@dataclass(frozen=True)
class DoseBatch:
    """What a set of dose reports held. Identities are raw, in memory only.

    `events`: one row per irradiation event and report (`EVENT_SCHEMA`), with the totals of the
    report on each; a report that tells totals and no event has one row, with `event_no` 0.
    `rejected`: one row per source that gave nothing: `source_no`, `path`, `reason`, and
    `is_dose_report` where its class or title says that it is one.
    """

    events: pl.DataFrame
    rejected: pl.DataFrame


TEXTS = ("path", "sop_class_uid", "sop_instance_uid", "study_instance_uid", "completion_flag")
EVENT_SCHEMA: dict[str, pl.DataType] = {
    "source_no": pl.Int64(),
    **dict.fromkeys(TEXTS, pl.String()),
    **dict.fromkeys(DEVICE.values(), pl.String()),
    "report_row_count": pl.Int32(),
    "event_no": pl.Int32(),
    "event_kind": pl.String(),
    "irradiation_event_uid": pl.String(),
    **dict.fromkeys((name for pair in EVENT_CODES.values() for name in pair), pl.String()),
    **dict.fromkeys((name for name, _ in EVENT_NUMBERS.values()), pl.Float64()),
    **dict.fromkeys((name for name, _ in TOTAL_NUMBERS.values()), pl.Float64()),
    "value_flags": pl.String(),
}
_READ_SCHEMA = EVENT_SCHEMA | dict.fromkeys(
    (*(f"{name}_raw" for name in TIMES), "offset"), pl.String()
)
REJECTED_SCHEMA = {
    "source_no": pl.Int64(),
    "path": pl.String(),
    "reason": pl.String(),
    "is_dose_report": pl.Boolean(),
}


class _Unusable(Exception):
    """Why a source gives nothing; `is_dose_report` as far as its class or title tells."""

    def __init__(self, reason: str, *, is_dose_report: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_dose_report = reason, is_dose_report


def read_dose_reports(
    sources: Iterable[Path | bytes], *, zone: str, limits: Limits = LIMITS
) -> DoseBatch:
    """Read dose reports from files or bytes; raises nothing on content.

    An OSError that is not about a file (`is_of_the_file`) is raised: another run can read it.
    `zone` is the wall clock of times that tell no offset, themselves or in their header. Of each
    time of `TIMES` the columns are `_raw`, `_local` (wall clock of `zone`), `_utc`, `_precision`
    (minute, second, fraction), `_tz_source` (own, header, assumed) and `_flag` (ambiguous,
    nonexistent, implausible; offset_unexpected where the offset told is not that of `zone`).
    """
    rows, rejected = [], []
    for number, source in enumerate(sources):
        name = str(source) if isinstance(source, Path) else ""
        # a name on disk is bytes, which need not be text
        path = name.encode(errors="backslashreplace").decode()
        place = {"source_no": number, "path": path}
        try:
            rows += [place | row for row in _rows(source, limits)]
        except _Unusable as why:
            told = {"reason": why.reason, "is_dose_report": why.is_dose_report}
            rejected.append(place | told)
    events = pl.DataFrame(rows, schema=_READ_SCHEMA, orient="row")
    for name in TIMES:
        events = events.hstack(_times(events[f"{name}_raw"], events["offset"], zone, name))
    order = [*EVENT_SCHEMA, *(c for c in events.columns if c.startswith(TIMES))]
    return DoseBatch(
        events.select(order), pl.DataFrame(rejected, schema=REJECTED_SCHEMA, orient="row")
    )


def _times(raw: pl.Series, offset: pl.Series, zone: str, name: str) -> list[pl.Series]:
    """UTC and wall clock of one time of every row, by the rules that headers are read by."""
    empty = pl.Series([None] * len(raw), dtype=pl.String)
    others = ("acquisition", "series", "performed_procedure_step_start", "study")
    columns = {f"{level}_{part}": empty for level in others for part in ("date", "time")}
    frame = pl.DataFrame(columns | {"acquisition_date_time": raw})
    told = acquisition_starts(frame.with_columns(timezone_offset_from_utc=offset), zone)
    bare = frame.with_columns(
        pl.col("acquisition_date_time").str.replace(r"[+-]\d{4}\s*$", ""),
        timezone_offset_from_utc=empty,
    )
    wall = acquisition_starts(bare, zone)["start_local"]
    other = (told["tz_source"] != "assumed") & (told["start_local"] != wall)
    flag = told.select(
        pl.coalesce("ts_flag", pl.when(other).then(pl.lit("offset_unexpected")))
    ).to_series()
    return [
        told["start_local"].alias(f"{name}_local"),
        told["start_utc"].alias(f"{name}_utc"),
        told["ts_precision"].set(told["start_utc"].is_null(), None).alias(f"{name}_precision"),
        told["tz_source"].alias(f"{name}_tz_source"),
        flag.alias(f"{name}_flag"),
    ]


@dataclass
class _Flags:
    """What was wrong with single values, as `column:what`."""

    found: list[str] = field(default_factory=list)

    def add(self, column: str, what: str) -> None:
        self.found.append(f"{column}:{what}")

    def text(self) -> str | None:
        return " ".join(dict.fromkeys(self.found)) or None


def _rows(source: Path | bytes, limits: Limits) -> list[dict[str, object]]:
    data = source if isinstance(source, bytes) else _file(source, limits)
    try:
        _check(data, limits)
    except _Unusable as why:
        # the tree of a report lies behind its title, which is mostly whole where the tree is not
        raise _Unusable(why.reason, is_dose_report=is_titled_dose_report(data)) from None
    # pydicom remarks on every odd value; what matters becomes a reason or a flag.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    is_dose_report = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
            is_dose_report = _is_dose_report(dataset)
            return _read(dataset, limits)
        except _Unusable as why:
            raise _Unusable(why.reason, is_dose_report=is_dose_report) from None
        except Exception as error:
            # pydicom raises many kinds on odd files, also when a sequence is looked into; each is
            # a reason, none may stop a run
            reason = f"{MALFORMED}: {type(error).__name__}"
            raise _Unusable(reason, is_dose_report=is_dose_report) from None


def _check(data: bytes, limits: Limits) -> None:
    """Raise _Unusable unless a source is whole and within the limits."""
    if len(data) > limits.content_bytes:
        raise _Unusable(TOO_LARGE)
    try:
        check_whole(
            data,
            largest=limits.content_bytes,
            # the values of an item are sequences themselves, up to three levels below it
            deepest=limits.depth + 3,
            elements=limits.items * 20,
        )
    except TooDeep:
        raise _Unusable(TOO_DEEP) from None
    except TooLarge:
        raise _Unusable(TOO_LARGE) from None
    except (NotWhole, zlib.error) as error:
        raise _Unusable(f"{NOT_WHOLE}: {error}") from None


def is_titled_dose_report(data: bytes) -> bool:
    """Whether a DICOM file, whole up to its title (0040,A043), is titled an X-ray dose report.

    Raises nothing on content: what cannot be read is no dose report.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _concept(_up_to_title(data)) == TITLE
        except Exception:
            return False


def _up_to_title(data: bytes) -> Dataset:
    """The attributes of a document up to its title; what lies behind may be damaged."""
    return read_partial(BytesIO(data), stop_when=lambda tag, *_: tag > LAST_OF_TITLE)


def is_of_the_file(error: OSError) -> bool:
    """Whether an error says something about one file, and not about the machine."""
    return error.errno in OF_THE_FILE


def _file(path: Path, limits: Limits) -> bytes:
    try:
        if not path.is_file():
            raise _Unusable(f"{NOT_READABLE}: not a regular file")
        with path.open("rb") as file:
            return file.read(limits.content_bytes + 1)
    except OSError as error:
        if not is_of_the_file(error):
            raise
        raise _Unusable(f"{NOT_READABLE}: {error.strerror}") from None


def _is_dose_report(dataset: Dataset) -> bool:
    return _text(dataset, "SOPClassUID") in DOSE_CLASSES or _concept(dataset) == TITLE


def _read(dataset: Dataset, limits: Limits) -> list[dict[str, object]]:
    sop_class = _text(dataset, "SOPClassUID")
    if sop_class not in DOSE_CLASSES | GENERAL_CLASSES:
        raise _Unusable(NOT_A_REPORT)
    if _concept(dataset) != TITLE:
        raise _Unusable(NOT_A_DOSE_REPORT)
    uids = {
        "sop_instance_uid": _text(dataset, "SOPInstanceUID"),
        "study_instance_uid": _text(dataset, "StudyInstanceUID"),
    }
    if not all(uids.values()):
        raise _Unusable(NO_UID)
    tree = _Tree.of(dataset, limits)
    if not tree.events and not tree.totals:
        raise _Unusable(NO_DOSE)
    flags = _Flags()
    report = {
        "sop_class_uid": sop_class,
        **uids,
        "completion_flag": _text(dataset, "CompletionFlag") or None,
        "offset": _text(dataset, "TimezoneOffsetFromUTC"),
        "report_written_raw": _written(dataset),
        "irradiation_start_raw": _moment(tree.about, REPORT_START, "irradiation_start", flags),
        "irradiation_end_raw": _moment(tree.about, REPORT_END, "irradiation_end", flags),
        **_device(dataset, tree.about),
        **_totals(tree.totals, flags),
    }
    if report["total_event_count"] not in (None, float(len(tree.events))):
        flags.add("total_event_count", "not_as_told")
    rows = _events(tree.events, flags)
    return [
        report | row | {"event_no": number, "report_row_count": len(rows)}
        for number, row in enumerate(rows, start=1 if tree.events else 0)
    ]


Items = dict[str, list[Dataset]]


@dataclass
class _Tree:
    """A tree sorted by what its parts are: events, totals, and what tells about the report."""

    about: Items = field(default_factory=dict)
    events: list[tuple[str, Items]] = field(default_factory=list)
    totals: list[Items] = field(default_factory=list)

    @classmethod
    def of(cls, dataset: Dataset, limits: Limits) -> _Tree:
        tree = cls()
        waiting = [(dataset, tree.about, 0)]
        seen = 0
        while waiting:
            item, into, depth = waiting.pop()
            if depth > limits.depth:
                raise _Unusable(TOO_DEEP)
            children = []
            for child in _items(item, "ContentSequence"):
                seen += 1
                if seen > limits.items:
                    raise _Unusable(TOO_LARGE)
                concept, below = _concept(child), into
                if concept in EVENTS:
                    below = {}
                    tree.events.append((EVENTS[concept], below))
                elif concept in TOTALS:
                    below = {}
                    tree.totals.append(below)
                elif concept is not None:
                    into.setdefault(concept, []).append(child)
                children.append((child, below, depth + 1))
            # in the order of the document, so that events are numbered as they stand in it
            waiting += reversed(children)
        return tree


def _events(found: list[tuple[str, Items]], flags: _Flags) -> list[dict[str, object]]:
    """One row per event; one without an event where a report has totals only."""
    rows: dict[str, dict[str, object]] = {}
    for kind, items in found:
        uids = {_text(item, "UID") for item in items.get(EVENT_UID, [])}
        uid = uids.pop() if len(uids) == 1 else None
        if uid is None or not UID.fullmatch(uid) or len(uid) > 64:
            raise _Unusable(NO_EVENT_UID)
        own = _Flags(list(flags.found))
        row: dict[str, object] = {"event_kind": kind, "irradiation_event_uid": uid}
        row["event_start_raw"] = _moment(items, EVENT_START, "event_start", own)
        for code, (column, unit) in EVENT_NUMBERS.items():
            row[column] = _number(items.get(code, []), column, unit, own)
        for code, columns in EVENT_CODES.items():
            told = _coded(items.get(code, []), columns[0], own)
            if told is not None:
                row |= dict(zip(columns, told, strict=True))
        row["value_flags"] = own.text()
        if rows.setdefault(uid, row) != row:
            raise _Unusable(EVENT_TWICE)
    return list(rows.values()) or [{"value_flags": flags.text()}]


def _totals(found: list[Items], flags: _Flags) -> dict[str, float | None]:
    """Totals of a report; those of the planes of a biplane system are added up."""
    planes = [str(_coded(items.get(PLANE, []), "plane", flags)) for items in found]
    totals: dict[str, float | None] = {}
    for code, (column, unit) in TOTAL_NUMBERS.items():
        told = [_number(items[code], column, unit, flags) for items in found if code in items]
        parts = [value for value in told if value is not None]
        if len(told) > 1 and len(set(planes)) < len(planes):
            flags.add(column, "several_values")
            parts = []
        totals[column] = sum(parts) if parts and len(parts) == len(told) else None
    return totals


def _number(items: list[Dataset], column: str, unit: str, flags: _Flags) -> float | None:
    """The one value of a concept in `unit`; None and a flag where there is not just one."""
    values = set()
    for item in items:
        for measured in _items(item, "MeasuredValueSequence"):
            text = _text(measured, "NumericValue")
            if not text:
                continue
            size = _unit_factor(measured, unit)
            value = _decimal(text)
            if value is None:
                flags.add(column, "not_a_number")
            elif size is None:
                flags.add(column, "unknown_unit")
            elif value < 0:
                flags.add(column, "negative")
            else:
                values.add(value * size)
    if len(values) > 1:
        flags.add(column, "several_values")
    return float(values.pop()) if len(values) == 1 else None


def _unit_factor(measured: Dataset, unit: str) -> Decimal | None:
    for code in _items(measured, "MeasurementUnitsCodeSequence"):
        if _text(code, "CodingSchemeDesignator") == "UCUM":
            return factor(_text(code, "CodeValue") or "", unit)
    return None


def _decimal(text: str) -> Decimal | None:
    value = Decimal(text) if NUMBER.fullmatch(text) else None
    # a magnitude that no dose has would overflow what is computed of it
    return value if value is not None and abs(value) < LARGEST else None


def _moment(items: Items, code: str, column: str, flags: _Flags) -> str | None:
    told = {_text(item, "DateTime") for item in items.get(code, [])} - {None, ""}
    if len(told) > 1:
        flags.add(column, "several_values")
    return told.pop() if len(told) == 1 else None


def _coded(items: list[Dataset], column: str, flags: _Flags) -> tuple[str, str] | None:
    """Code and scheme of the one coded value of a concept."""
    told = set()
    for item in items:
        for code in _items(item, "ConceptCodeSequence"):
            pair = (_text(code, "CodeValue") or "", _text(code, "CodingSchemeDesignator") or "")
            if all(CODE.fullmatch(part) for part in pair):
                told.add(pair)
            else:
                flags.add(column, "not_a_code")
    if len(told) > 1:
        flags.add(column, "several_values")
    return told.pop() if len(told) == 1 else None


def _device(dataset: Dataset, about: Items) -> dict[str, str | None]:
    """Who observed: of several devices the first, the one that made the report."""
    try:
        encodings = encodings_of(_text(dataset, "SpecificCharacterSet") or "")
    except Undecodable:
        encodings = ()
    found = {
        column: next(
            (_text(item, "UID") or _words(item, encodings) for item in about.get(code, [])), None
        )
        for code, column in DEVICE.items()
    }
    uid = found["device_observer_uid"] or ""
    if not UID.fullmatch(uid) or len(uid) > 64:
        found["device_observer_uid"] = None  # it lands readable, so it may be nothing else
    return found


def _words(item: Dataset, encodings: tuple[str, ...]) -> str | None:
    """A text value; None where its characters cannot be told."""
    tag = int(tag_for_keyword("TextValue") or 0)
    if tag not in item or not encodings:
        return None
    element = item.get_item(tag)
    if not isinstance(element, RawDataElement):
        return str(element.value).strip(PADDING) or None
    try:
        return text_of(element.value or b"", "UT", tag, encodings) or None
    except Undecodable:
        return None


def _written(dataset: Dataset) -> str | None:
    """When a report was made, as DICOM date and time of one level."""
    date, time = _text(dataset, "ContentDate"), _text(dataset, "ContentTime")
    if not date or not time:
        return None
    return date.replace(".", "") + time.replace(":", "")


def _concept(item: Dataset) -> str | None:
    """Code of what an item tells, of those that DICOM itself defines."""
    for code in _items(item, "ConceptNameCodeSequence"):
        if _text(code, "CodingSchemeDesignator") == "DCM":
            return _text(code, "CodeValue")
    return None


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    if keyword in dataset:
        value = dataset[keyword].value
        if not isinstance(value, pydicom.Sequence):
            raise _Unusable(MALFORMED)
        yield from value


def _text(dataset: Dataset, keyword: str) -> str | None:
    """Text of an attribute that holds codes or digits, as it stands, without padding."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return None
    value = dataset.get_item(tag).value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(PADDING)
    if isinstance(value, MultiValue):
        return "\\".join(str(part) for part in value)
    return "" if value is None else str(value).strip(PADDING)
