"""FHIR R4 resources about imaging, one per line (NDJSON), as records and as imaging events."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.event_model import conform
from pipelines.sources.clock import parse_iso_times

FEED = "fhir"
FOLDER = Path(__file__).parent
UID_PREFIX = "urn:oid:"
NUMBERS = ("accession", "filler_id", "placer_id", "study_uid")
RECORD_SCHEMA = {
    "row_no": pl.Int64,
    "resource_type": pl.String,
    "resource_id": pl.String,
    "status": pl.String,
    "accession": pl.String,
    "filler_id": pl.String,
    "placer_id": pl.String,
    "study_uid": pl.String,
    "patient_id": pl.String,
    "nhs_number": pl.String,
    "proc_code": pl.String,
    "proc_snomed": pl.String,
    "priority": pl.String,
    "modality": pl.String,
    "site_ods": pl.String,
    "requester_id": pl.String,
    "requester_org": pl.String,
    "actor_id": pl.String,
    "actor_org": pl.String,
    "report_text": pl.String,
    "based_on": pl.String,
    "digest": pl.Binary,
}
# JSON can escape one half of a pair; no encoding can write it.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REJECT_SCHEMA = {"row_no": pl.Int64, "rule": pl.String, "reason": pl.String}


@dataclass(frozen=True)
class FhirMap:
    """Identifier types and systems by number, priorities, and times that may be missing."""

    types: dict[str, list[str]]
    systems: dict[str, list[str]]
    priorities: dict[str, str]
    optional_times: tuple[str, ...]

    @classmethod
    def load(cls, path: Path = FOLDER / "fhir.toml") -> "FhirMap":
        """Read a map; raises KeyError when a part is missing."""
        document = tomllib.loads(path.read_text())
        return cls(
            document["types"],
            document["systems"],
            document["priorities"],
            tuple(document["optional"]["times"]),
        )


@dataclass(frozen=True)
class Resources:
    """`records`: one row per resource (RECORD_SCHEMA, with `time:<path>` columns as text);
    `rejected`: lines that are no resource, without their content."""

    records: pl.DataFrame
    rejected: pl.DataFrame


def read_event_map(path: Path = FOLDER / "fhir_event_map.csv") -> pl.DataFrame:
    """One row per resource kind, status and event; `event_type` is empty where there is none."""
    return (
        pl.read_csv(path, infer_schema=False)
        .with_columns(pl.col("status").str.split("|"))
        .explode("status")
        .rename({"resource": "resource_type"})
        .with_columns(carried=pl.col("carried") == "true")
    )


def read_resources(data: bytes, fhir_map: FhirMap, event_map: pl.DataFrame) -> Resources:
    """Resources of an NDJSON file; a line number counts from 1, blank lines too.

    A resource without a number of its own has those of the order it is based on, or of the study
    it is about, where that stands in the same file.
    """
    paths = sorted(set(event_map["time"].drop_nulls()))
    rows, rejected = [], []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            resource = json.loads(line)
        except (ValueError, RecursionError):
            resource = None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            reason = "the line is no JSON object with a resourceType; deliver one resource per line"
            rejected.append((number, "line_is_a_resource", reason))
            continue
        row = _record(resource, fhir_map) | {"row_no": number, "digest": _digest(line)}
        row |= {f"time:{path}": _text(_get(resource, path)) for path in paths}
        if any(_LONE_SURROGATE.search(value) for value in row.values() if isinstance(value, str)):
            reason = (
                "a value holds half a character (a lone surrogate such as \\ud83d), which is no "
                "text; have the sender escape whole characters"
            )
            rejected.append((number, "line_is_a_resource", reason))
            continue
        rows.append(row)
    schema = RECORD_SCHEMA | {f"time:{path}": pl.String for path in paths}
    records = pl.DataFrame(rows, schema=schema, orient="row")
    return Resources(
        _with_numbers_of_the_order(records),
        pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
    )


def events_from_resources(
    records: pl.DataFrame, fhir_map: FhirMap, event_map: pl.DataFrame, zone: str
) -> pl.DataFrame:
    """One row per event of the records (RAW_EVENT_SCHEMA, times that are missing as null).

    `records` are of `read_resources` with `source_sha`, `feed_id`, `issuer_ods`, `received_at`.
    A time that may be missing, and is, gives no event.
    """
    told = records.join(
        event_map.filter(pl.col("event_type").is_not_null()),
        on=["resource_type", "status"],
        how="inner",
        maintain_order="left",
    )
    raw = pl.coalesce(
        pl.when(pl.col("time") == path).then(pl.col(f"time:{path}"))
        for path in sorted(set(event_map["time"].drop_nulls()))
    )
    told = told.with_columns(event_ts_raw=raw).filter(
        pl.col("event_ts_raw").is_not_null() | ~pl.col("time").is_in(fhir_map.optional_times)
    )
    times = parse_iso_times(told["event_ts_raw"], zone)
    is_report = pl.col("resource_type") == "DiagnosticReport"
    is_order = pl.col("resource_type") == "ServiceRequest"
    is_text = is_report & pl.col("event_type").str.starts_with("report_")
    return conform(
        told.with_columns(
            message_id=pl.col("row_no"),
            obr_set=pl.lit(1),
            source_kind=pl.lit("fhir"),
            study_uid_source=pl.when(pl.col("study_uid").is_not_null()).then(pl.lit("fhir")),
            proc_system=pl.when(pl.col("proc_code").is_not_null()).then(pl.lit("NICIP")),
            event_ts_utc=times["utc"],
            event_ts_local=times["local"],
            ts_precision=times["precision"],
            tz_source=times["tz_source"],
            ts_flag=times["flag"],
            ts_source=pl.col("time"),
            asserted_ts_utc=pl.col("received_at"),
            content_sha=pl.col("digest"),
            actor_id=pl.when(is_order).then(pl.col("requester_id")).otherwise(pl.col("actor_id")),
            actor_org=pl.when(is_order)
            .then(pl.col("requester_org"))
            .otherwise(pl.col("actor_org")),
            actor_role=pl.when(is_order)
            .then(pl.lit("requester"))
            .when(is_text)
            .then(pl.lit("verifier")),
            status_raw=pl.format("{}={}", "resource_type", "status"),
            report_text=pl.when(is_text).then(pl.col("report_text")),
        )
    )


def raw_lines(data: bytes, row_numbers: list[int]) -> bytes:
    """Cut the named lines out of a delivery: what quarantine keeps of it."""
    lines = data.splitlines()
    return b"\n".join(lines[number - 1] for number in row_numbers) + b"\n"


def _record(resource: dict[str, Any], fhir_map: FhirMap) -> dict[str, Any]:
    """What a resource says, by the names of RECORD_SCHEMA."""
    numbers = _numbers(resource.get("identifier"), fhir_map)
    subject = _first(resource.get("subject"))
    person = _numbers(subject.get("identifier"), fhir_map)
    codes = _codes(resource, fhir_map)
    requester = _party(resource.get("requester"), fhir_map)
    actor = _party(resource.get("resultsInterpreter") or resource.get("performer"), fhir_map)
    uid = (numbers.get("study_uid") or "").removeprefix(UID_PREFIX) or None
    reference = subject.get("reference")
    place = _numbers(_first(resource.get("location")).get("identifier"), fhir_map)
    place |= _numbers(_first(resource.get("locationReference")).get("identifier"), fhir_map)
    return {
        "resource_type": resource["resourceType"],
        "resource_id": _text(resource.get("id")),
        "status": _text(resource.get("status")),
        "accession": numbers.get("accession"),
        "filler_id": numbers.get("filler_id"),
        "placer_id": numbers.get("placer_id"),
        "study_uid": uid,
        # The id of a Patient on its server is a local number like any other.
        "patient_id": person.get("patient_id") or _tail(reference, "Patient"),
        "nhs_number": person.get("nhs_number"),
        "proc_code": codes.get("local"),
        "proc_snomed": codes.get("snomed"),
        "priority": fhir_map.priorities.get(str(resource.get("priority"))),
        "modality": _modality(resource),
        "site_ods": place.get("site"),
        "requester_id": requester[0],
        "requester_org": requester[1],
        "actor_id": actor[0],
        "actor_org": actor[1],
        "report_text": _text(resource.get("conclusion")),
        "based_on": "|".join(_references(resource)) or None,
    }


def _numbers(identifiers: Any, fhir_map: FhirMap) -> dict[str, str]:
    """Numbers of a list of identifiers: by type code first, then by system."""
    found: dict[str, str] = {}
    for one in _dicts(identifiers):
        value = _text(one.get("value"))
        codes = {
            str(coding.get("code")) for coding in _dicts(_first(one.get("type")).get("coding"))
        }
        names = [name for name, known in fhir_map.types.items() if codes & set(known)]
        names += [n for n, known in fhir_map.systems.items() if one.get("system") in known]
        if value and names:
            found.setdefault(names[0], value.strip())
    return found


def _codes(resource: dict[str, Any], fhir_map: FhirMap) -> dict[str, str]:
    """SNOMED CT code and the first local code of what was asked for or done."""
    found: dict[str, str] = {}
    for concept in [*_dicts(resource.get("code")), *_dicts(resource.get("procedureCode"))]:
        for coding in _dicts(concept.get("coding")):
            is_snomed = coding.get("system") in fhir_map.systems["snomed"]
            if _text(coding.get("code")):
                found.setdefault("snomed" if is_snomed else "local", str(coding["code"]))
    return found


def _party(references: Any, fhir_map: FhirMap) -> tuple[str | None, str | None]:
    """Person and organisation of a list of references: number or id, and ODS code."""
    person = organisation = None
    for one in _dicts(references):
        one = _first(one.get("actor")) or one
        code = _numbers(one.get("identifier"), fhir_map).get("organisation")
        organisation = organisation or code
        if code is None:
            number = _text(_first(one.get("identifier")).get("value"))
            person = person or number or _tail(one.get("reference"), "Practitioner")
    return person, organisation


def _references(resource: dict[str, Any]) -> Iterator[str]:
    for name in ("basedOn", "imagingStudy", "procedureReference"):
        for one in _dicts(resource.get(name)):
            if _text(one.get("reference")):
                yield "/".join(str(one["reference"]).split("/")[-2:])


def _modality(resource: dict[str, Any]) -> str | None:
    series = _first(resource.get("series")).get("modality")
    return _text(_first(series).get("code")) or _text(_first(resource.get("modality")).get("code"))


def _with_numbers_of_the_order(records: pl.DataFrame) -> pl.DataFrame:
    """Numbers a resource lacks from what it is based on.

    Looked up twice, for report to study to order.
    """
    for _ in range(2):
        known = records.filter(pl.col("resource_id").is_not_null()).select(
            pl.format("{}/{}", "resource_type", "resource_id").alias("reference"),
            *(pl.col(name).alias(f"of_{name}") for name in NUMBERS),
        )
        known = known.unique("reference", keep="last", maintain_order=True)
        links = records.select("row_no", pl.col("based_on").str.split("|").alias("reference"))
        links = links.explode("reference").join(known, on="reference", how="inner")
        links = links.sort("row_no", "reference").group_by("row_no", maintain_order=True)
        first = links.agg(pl.col(f"of_{name}").drop_nulls().first() for name in NUMBERS)
        records = records.join(first, on="row_no", how="left", maintain_order="left")
        records = records.with_columns(
            pl.coalesce(name, f"of_{name}").alias(name) for name in NUMBERS
        ).drop(f"of_{name}" for name in NUMBERS)
    return records


def _get(resource: dict[str, Any], path: str) -> Any:
    value: Any = resource
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a value that can be one object or a list of them."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _first(value: Any) -> dict[str, Any]:
    return next(iter(_dicts(value)), {})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _tail(reference: Any, kind: str) -> str | None:
    parts = str(reference).split("/")
    return parts[-1] if len(parts) > 1 and parts[-2] == kind else None


def _digest(line: bytes) -> bytes:
    return hashlib.sha256(line.strip()).digest()[:16]
