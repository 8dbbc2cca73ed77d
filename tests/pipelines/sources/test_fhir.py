"""FHIR resources about imaging: identifiers by system, status to event, links to the order."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.event_model import RAW_EVENT_SCHEMA
from pipelines.network import Network
from pipelines.sources.fhir import (
    FhirMap,
    events_from_resources,
    raw_lines,
    read_event_map,
    read_resources,
)

LONDON = "Europe/London"
RECEIVED = datetime(2026, 1, 7, 23, 59, 59, tzinfo=UTC)
NHS = "https://fhir.nhs.uk/Id/nhs-number"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


def typed(code: str, value: str) -> dict[str, Any]:
    return {"type": {"coding": [{"code": code}]}, "system": "urn:local", "value": value}


SUBJECT = {"reference": "Patient/p71", "identifier": {"system": NHS, "value": "9990001235"}}
REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "r1",
    "status": "active",
    "identifier": [typed("PLAC", "OC900417"), typed("ACSN", "RMC7700012")],
    "subject": SUBJECT,
    "authoredOn": "2025-06-02T08:05:00+01:00",
    "priority": "routine",
    "requester": {"identifier": {"system": ODS, "value": "P99001"}},
    "code": {
        "coding": [
            {"system": "http://snomed.info/sct", "code": "169070004"},
            {"system": "urn:nicip", "code": "CABDOC"},
        ]
    },
}
PROCEDURE: dict[str, Any] = {
    "resourceType": "Procedure",
    "id": "x1",
    "status": "completed",
    "basedOn": [{"reference": "ServiceRequest/r1"}],
    "subject": SUBJECT,
    "performedPeriod": {"start": "2025-06-20T09:31:07Z", "end": "2025-06-20T09:52:30Z"},
}
STUDY: dict[str, Any] = {
    "resourceType": "ImagingStudy",
    "id": "s1",
    "status": "available",
    "meta": {"lastUpdated": "2025-06-20T10:00:00Z"},
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.77"}],
    "basedOn": [{"reference": "ServiceRequest/r1"}],
    "subject": SUBJECT,
    "started": "2025-06-20",
    "series": [{"modality": {"code": "CT"}}],
}
REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "d1",
    "status": "final",
    "imagingStudy": [{"reference": "https://server.example/ImagingStudy/s1"}],
    "subject": SUBJECT,
    "issued": "2025-06-22T16:45:00.123+01:00",
    "resultsInterpreter": [{"reference": "Practitioner/RP03"}],
    "performer": [{"identifier": {"system": ODS, "value": "RBV"}}],
    "conclusion": "No acute abnormality.",
}
ALL = (REPORT, STUDY, PROCEDURE, REQUEST)


def ndjson(*resources: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def events(*resources: dict[str, Any]) -> pl.DataFrame:
    fhir_map, event_map = FhirMap.load(), read_event_map()
    found = read_resources(ndjson(*resources), fhir_map, event_map)
    assert found.rejected.is_empty()
    arrived = found.records.with_columns(
        source_sha=pl.lit("s" * 64),
        feed_id=pl.lit("fhir_RMC"),
        issuer_ods=pl.lit("RMC"),
        received_at=pl.lit(RECEIVED),
    )
    return events_from_resources(arrived, fhir_map, event_map, LONDON)


def test_the_resources_of_an_exam_give_its_events():
    """Failing means that a step of a pathway is missing, doubled or at another time."""
    found = events(*ALL)
    assert found.schema == pl.Schema(RAW_EVENT_SCHEMA)
    told = sorted(
        (row["event_type"], str(row["event_ts_local"]), row["ts_precision"])
        for row in found.iter_rows(named=True)
    )
    assert told == [
        ("exam_completed", "2025-06-20 10:52:30", "s"),
        ("exam_started", "2025-06-20 00:00:00", "d"),
        ("exam_started", "2025-06-20 10:31:07", "s"),
        ("images_available", "2025-06-20 11:00:00", "s"),
        ("order_placed", "2025-06-02 08:05:00", "s"),
        ("report_verified", "2025-06-22 16:45:00.123000", "ms"),
    ]


def test_a_resource_without_numbers_has_those_of_its_order():
    """Failing means that report and images make exams of their own."""
    found = events(*ALL)
    assert set(found["accession"]) == {"RMC7700012"}
    assert set(found["nhs_number"]) == {"9990001235"} and set(found["patient_id"]) == {"p71"}
    report = found.filter(pl.col("event_type") == "report_verified").row(0, named=True)
    assert (report["study_uid"], report["actor_role"]) == ("2.25.77", "verifier")
    assert (report["actor_id"], report["report_text"]) == ("RP03", "No acute abnormality.")
    order = found.filter(pl.col("event_type") == "order_placed").row(0, named=True)
    assert (order["proc_code"], order["proc_snomed"]) == ("CABDOC", "169070004")
    assert (order["requester_org"], order["priority"]) == ("P99001", "R")
    assert order["placer_id"] == "OC900417"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("preliminary", ["report_preliminary"]),
        ("amended", ["report_corrected"]),
        ("corrected", ["report_corrected"]),
        ("appended", ["report_addendum"]),
        ("cancelled", ["report_withdrawn"]),
        ("registered", []),
    ],
)
def test_the_status_of_a_report_says_what_happened(status: str, expected: list[str]):
    """Failing means that an amended report counts as a first one, or a withdrawn one stands."""
    assert events(REPORT | {"status": status})["event_type"].to_list() == expected


def test_a_revoked_request_was_placed_and_cancelled():
    """Failing means that cancelled requests wait for ever, or never were."""
    revoked = REQUEST | {"status": "revoked", "meta": {"lastUpdated": "2025-06-05T10:00:00Z"}}
    assert sorted(events(revoked)["event_type"]) == ["order_cancelled", "order_placed"]


def test_a_report_that_tells_the_period_of_the_exam_ends_it():
    """Failing means that a sender without procedures has no exam done."""
    period = {"effectivePeriod": {"start": "2025-06-20T09:31:00Z", "end": "2025-06-20T09:52:00Z"}}
    found = events(REPORT | period)
    ended = found.filter(pl.col("event_type") == "exam_completed").row(0, named=True)
    assert (str(ended["event_ts_local"]), ended["carried"]) == ("2025-06-20 10:52:00", True)


def test_a_time_as_programs_write_it_for_none_is_unreadable():
    """Failing means that one resource opens every month since 1970."""
    found = events(REQUEST | {"authoredOn": "1970-01-01T00:00:00Z"})
    assert found["event_ts_raw"].to_list() == ["1970-01-01T00:00:00Z"]
    assert found["event_ts_utc"].to_list() == [None]


def test_a_line_that_is_no_resource_is_told_by_its_number_and_cut_out_whole():
    """Failing means that one broken line hides a file, or that its content reaches a message."""
    data = b'{"resourceType": "Procedure"\n\n[1]\n' + ndjson(REQUEST)
    found = read_resources(data, FhirMap.load(), read_event_map())
    assert found.rejected["row_no"].to_list() == [1, 3]
    assert found.records["row_no"].to_list() == [4]
    assert json.loads(raw_lines(data, [4])) == REQUEST


@pytest.mark.parametrize(
    "wrong",
    [
        REPORT | {"conclusion": "Seen \ud83d."},
        REQUEST | {"identifier": [typed("ACSN", "\udc00")]},
        REQUEST | {"authoredOn": "\ud83d"},
        {"resourceType": "\ud83d"},
    ],
)
def test_half_a_character_rejects_its_line_and_no_other(wrong: dict[str, Any]):
    """Failing means that one line of one sender stops the harvest of the feed for good."""
    whole = REPORT | {"conclusion": "Seen \U0001f600."}
    found = read_resources(ndjson(whole, wrong, REQUEST), FhirMap.load(), read_event_map())
    assert found.rejected.select("row_no", "rule").rows() == [(2, "line_is_a_resource")]
    assert found.records["row_no"].to_list() == [1, 3]
    assert found.records["report_text"][0] == whole["conclusion"]


def test_every_event_of_the_map_exists_and_every_status_stands_once(network: Network):
    """Failing means that a status gives an event nobody counts."""
    event_map = read_event_map()
    assert set(event_map["event_type"].drop_nulls()) <= set(network.event_ranks())
    assert event_map.select("resource_type", "status", "event_type").is_unique().all()


def test_odd_values_are_no_reason_to_stop(inbound: dict[str, Contract]):
    """Failing means that one resource of another shape ends the harvest of all."""
    odd = REQUEST | {"identifier": "x", "subject": 5, "code": [], "requester": "y", "basedOn": {}}
    assert events(odd)["accession"].to_list() == [None]
    assert inbound["fhir"].settings["format"] == "ndjson"
