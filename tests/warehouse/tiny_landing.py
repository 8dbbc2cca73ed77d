"""A network small enough to count by hand, written as the harvest writes landing.

Pennine Acute around its two mergers, three scans of one morning at Bolton, and Bolton's
waiting list at the end of January 2026. The last event is on 31 March 2026.
"""

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.contracts import read_contracts
from pipelines.landing.schema import landing_schema

CONTRACTS = Path(__file__).parents[2] / "data_contracts" / "landing"
LONDON = ZoneInfo("Europe/London")
DELIVERED = datetime(2026, 1, 7, 6, tzinfo=UTC)
RANKS = {
    "order_placed": 10,
    "order_received": 12,
    "order_cancelled": 18,
    "appointment_booked": 30,
    "appointment_moved": 32,
    "appointment_cancelled": 34,
    "patient_dna": 36,
    "exam_started": 50,
    "exam_completed": 54,
    "report_verified": 80,
    "report_corrected": 82,
    "report_addendum": 84,
    "patient_merged": 200,
    "exam_reidentified": 204,
}
CT = {"proc_code": "CHEAD", "modality": "CT"}
MRI = {"proc_code": "MHEAD", "modality": "MR"}
FILM = {"proc_code": "XCHES", "modality": "DX"}
ROUTINE = {"source_setting": "03", "priority": "R"}


def event(exam: str, event_type: str, local: str, **given: Any) -> dict[str, Any]:
    """One assertion of an event at a local time, with what its message says besides."""
    wall = datetime.fromisoformat(local)
    instant = wall.replace(tzinfo=LONDON).astimezone(UTC)
    issuer = given.pop("issuer_ods")
    identity = f"{exam}|{event_type}|{given.pop('event_id', local)}"
    filler_only = given.pop("filler_only", False)
    key = f"{issuer}|F|filler-{exam}|1" if filler_only else f"{issuer}|A|{exam}"
    told = {
        "event_id": hashlib.md5(identity.encode()).digest(),
        "event_type": event_type,
        "event_rank": RANKS[event_type],
        "issuer_ods": issuer,
        "accession": None if filler_only else exam,
        "filler_id": f"filler-{exam}",
        "obr_set": 1,
        "exam_key": key,
        "patient_key": f"patient-{exam}",
        "event_ts_utc": instant,
        "event_ts_local": wall,
        "ts_precision": "m",
        "asserted_ts_utc": instant,
        "received_at": end_of_day(max(instant, DELIVERED)),
        "landed_at": end_of_day(max(instant, DELIVERED)) + timedelta(hours=6),
        "content_sha": identity.encode(),
        "feed_id": f"hl7_{issuer}",
        "source_kind": "hl7v2",
        "source_sha": f"hl7_{issuer}",
        "carried": False,
    }
    return told | given


def end_of_day(instant: datetime) -> datetime:
    """When the delivery of that local day counts as received: at its last second."""
    last = datetime.combine(instant.astimezone(LONDON), time(23, 59, 59), tzinfo=LONDON)
    return last.astimezone(UTC)


def pennine() -> list[dict[str, Any]]:
    """Three exams: the day before and the day of April 2021, and the day of October 2021."""
    before = {"issuer_ods": "RW6", "site_ods": "R0A66", **CT, **ROUTINE}
    after = before | {"issuer_ods": "RW6"}
    oldham = {"issuer_ods": "RW6", "site_ods": "RM317", **MRI, **ROUTINE}
    return [
        event("before", "order_placed", "2021-03-20 09:00", **before),
        event("before", "exam_started", "2021-03-31 09:00", **before),
        event("before", "exam_completed", "2021-03-31 09:20", **before),
        event("before", "report_verified", "2021-04-02 09:20", actor_org="RM3", **before),
        event("after", "order_placed", "2021-03-20 09:00", **after),
        event("after", "exam_started", "2021-04-01 09:00", **after),
        event("after", "exam_completed", "2021-04-01 09:20", **after),
        event("after", "report_verified", "2021-04-03 09:20", actor_org="ZZT01", **after),
        event("oldham", "order_placed", "2021-09-01 09:00", **oldham),
        event("oldham", "exam_started", "2021-10-01 09:00", **oldham),
        event("oldham", "exam_completed", "2021-10-01 09:30", **oldham),
    ]


def bolton_morning() -> list[dict[str, Any]]:
    """Three scans of 7 January 2026: reported, reported before its end, and unreported."""
    site = {"issuer_ods": "RMC", "site_ods": "RMC01", "resource": "RMC01CT1", **CT}
    routine = site | ROUTINE
    emergency = site | {"source_setting": "05", "priority": "S"}
    one, two, three = (f"study-{n}" for n in ("one", "two", "three"))
    return [
        event("one", "order_placed", "2026-01-05 09:00", nhs_number_valid=True, **routine),
        event("one", "order_received", "2026-01-05 10:00", **routine),
        event("one", "exam_started", "2026-01-07 08:10", study_uid=one, **routine),
        # the end is corrected once, and the correction is told twice
        event("one", "exam_completed", "2026-01-07 09:59", study_uid=one, **routine),
        *[
            event(
                "one",
                "exam_completed",
                "2026-01-07 08:25",
                study_uid=one,
                **routine
                | {"asserted_ts_utc": datetime(2026, 1, 8, 9, tzinfo=UTC), "source_sha": sha},
            )
            for sha in ("hl7_RMC", "hl7_RMC_again")
        ],
        event("one", "report_verified", "2026-01-17 08:25", actor_org="RBV", **routine),
        event("one", "report_addendum", "2026-01-20 12:00", actor_org="RMC", **routine),
        event("two", "order_placed", "2026-01-07 08:00", nhs_number_valid=False, **emergency),
        event("two", "exam_started", "2026-01-07 08:30", study_uid=two, **emergency),
        event("two", "exam_completed", "2026-01-07 08:42", study_uid=two, **emergency),
        event("two", "report_verified", "2026-01-07 08:40", actor_org="RMC", **emergency),
        event("three", "order_placed", "2026-01-06 09:00", **routine),
        event("three", "exam_started", "2026-01-07 09:10", study_uid=three, **routine),
        event("three", "exam_completed", "2026-01-07 09:15", study_uid=three, **routine),
    ]


def bolton_list() -> list[dict[str, Any]]:
    """Who waits at Bolton on 31 January 2026, and who does not although a request is open."""
    site = {"issuer_ods": "RMC", "site_ods": "RMC01"}
    waits = site | CT | ROUTINE
    siu = {"issuer_ods": "RMC", "filler_only": True}
    return [
        event("waits 42 days", "order_placed", "2025-12-20 23:59", **waits),
        event("waits 41 days", "order_placed", "2025-12-21 00:01", **waits),
        event("missed one", "order_placed", "2025-11-01 09:00", **waits),
        event("missed one", "patient_dna", "2026-01-10 09:00", **siu),
        event("cancelled", "order_placed", "2025-11-01 09:00", **waits),
        event("cancelled", "order_cancelled", "2026-01-31 09:00", reason="clin", **waits),
        event("planned", "order_placed", "2025-11-01 09:00", **waits | {"priority": "P"}),
        event("inpatient", "order_placed", "2026-01-30 09:00", **waits | {"source_setting": "01"}),
        event("film", "order_placed", "2025-11-01 09:00", **site | FILM | ROUTINE),
        event("nobody knows", "patient_dna", "2026-01-10 09:00", **siu),
        event("last", "order_placed", "2026-03-31 22:00", **site | FILM | ROUTINE),
    ]


def identities() -> list[dict[str, Any]]:
    """A patient merged twice over, told again in a replay; a request under a second number."""
    film = {"issuer_ods": "RMC", "site_ods": "RMC01", **FILM, **ROUTINE}
    merge = {"issuer_ods": "RMC", "exam_key": None, "accession": None, "filler_id": None}
    first = merge | {"prior_patient_key": "patient-one", "patient_key": "patient-between"}
    second = merge | {"prior_patient_key": "patient-between", "patient_key": "patient-now"}
    before = {**film, "filler_id": None, "patient_key": "patient-last"}
    return [
        event("one", "patient_merged", "2026-03-30 09:00", event_id="1", **first),
        event("one", "patient_merged", "2026-03-30 09:00", event_id="1", **first)
        | {"source_sha": "hl7_RMC_again"},
        event("one", "patient_merged", "2026-03-29 09:00", event_id="2", **second),
        event("before last", "order_placed", "2026-03-31 20:00", **before),
        event("before last", "order_cancelled", "2026-03-31 21:00", **before),
        event(
            "last", "exam_reidentified", "2026-03-31 21:00", prior_accession="before last", **film
        ),
    ]


def headers() -> list[dict[str, Any]]:
    """First and last image of each series of the morning; one screen capture, much later."""
    series = [
        ("one", "a", "P1", "08:10", "08:14"),
        ("one", "b", "P1", "08:20", "08:25"),
        ("two", "c", "P2", "08:30", "08:42"),
        ("three", "d", "P1", "09:10", "09:15"),
    ]
    rows = [
        header(study, f"{name}-{n}", name, patient, clock)
        for study, name, patient, first, last in series
        for n, clock in enumerate((first, last))
    ]
    capture = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}
    return [*rows, header("three", "screen", "screen", "P1", "12:00") | capture]


def dose_headers() -> list[dict[str, Any]]:
    """Headers of two dose reports of the first scan."""
    document = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.67", "modality": "SR"}
    return [
        header("one", report, f"dose-{report}", "P1", clock) | document
        for report, clock in (("report-1", "08:15"), ("report-2", "08:26"))
    ]


def doses() -> list[dict[str, Any]]:
    """The two reports: the second repeats the event of the first, with a later end."""
    reports = (("report-1", 1, 14), ("report-2", 2, 25))
    events = (("event-a", 10.0, 2.5), ("event-b", 20.0, 4.0))
    headers = {row["sop_instance_uid"]: row for row in dose_headers()}
    shared = ("sop_instance_uid", "study_instance_uid", "accession_number", "sop_class_uid")
    shared += ("content_sha", "feed_id", "received_at", "landed_at", "source_sha")
    return [
        {name: headers[report][name] for name in shared}
        | {
            "completion_flag": "COMPLETE",
            "report_row_count": count,
            "event_no": number,
            "event_kind": "ct",
            "irradiation_event_uid": uid,
            "dlp_mgy_cm": dlp,
            "ctdi_vol_mgy": ctdi,
            "irradiation_start_utc": datetime(2026, 1, 7, 8, 10, tzinfo=UTC),
            "irradiation_end_utc": datetime(2026, 1, 7, 8, ended, tzinfo=UTC),
            "report_written_utc": datetime(2026, 1, 7, 8, ended + 1, tzinfo=UTC),
        }
        for report, count, ended in reports
        for number, (uid, dlp, ctdi) in enumerate(events[:count], start=1)
    ]


def header(study: str, image: str, series: str, patient: str, clock: str) -> dict[str, Any]:
    """One harvested header of Bolton's CT at a time of 7 January 2026 (UTC is local time)."""
    start = datetime.fromisoformat(f"2026-01-07 {clock}")
    return {
        "sop_instance_uid": image,
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "study_instance_uid": f"study-{study}",
        "series_instance_uid": series,
        "accession_number": study,
        "patient_id": patient,
        "image_type": "ORIGINAL\\PRIMARY\\AXIAL",
        "modality": "CT",
        "station_name": "RMC01CT1",
        "start_local": start,
        "start_utc": start.replace(tzinfo=UTC),
        "start_rung": 2,
        "ts_precision": "second",
        # landed as told; such a length gives no end and must not stop a build
        "acquisition_duration": "nan",
        "exposure_time": "900000000000000000000",
        "content_sha": image.encode(),
        "feed_id": "dicom_RMC",
        "received_at": DELIVERED + timedelta(hours=12),
        "landed_at": DELIVERED + timedelta(hours=13),
        "source_sha": "dicom_RMC",
    }


def lists() -> dict[str, list[dict[str, Any]]]:
    """Rota, opening hours, a downtime, go-lives, benefit register and unit costs; the rota came twice."""
    came = {"row_no": 1, "received_at": DELIVERED, "landed_at": DELIVERED}
    session = came | {
        "station_name": "RMC01CT1",
        "site_code": "RMC01",
        "session_start_local": datetime(2026, 1, 7, 8),
        "session_end_local": datetime(2026, 1, 7, 17),
        "session_start_utc": datetime(2026, 1, 7, 8, tzinfo=UTC),
        "session_end_utc": datetime(2026, 1, 7, 17, tzinfo=UTC),
        "staff_group": "radiographer",
        "staff_count": 2,
        "pay_type": "plain",
        "feed_id": "rota_RMC",
        "source_sha": "rota_first",
    }
    corrected = session | {
        "session_end_local": datetime(2026, 1, 7, 18),
        "session_end_utc": datetime(2026, 1, 7, 18, tzinfo=UTC),
        "received_at": DELIVERED + timedelta(days=1),
        "source_sha": "rota_second",
    }
    hours = came | {
        "station_name": "RMC01CT1",
        "site_code": "RMC01",
        "weekday": 3,
        "opens": "08:00",
        "closes": "20:00",
        "valid_from": date(2018, 4, 1),
        "feed_id": "opening_hours",
        "source_sha": "opening_hours",
    }
    down = came | {
        "party_code": "RMC",
        "site_code": "RMC01",
        "asset": "RMC01CT1",
        "asset_type": "CT",
        "is_planned": "false",
        "down_from_local": datetime(2026, 1, 7, 12),
        "down_to_local": datetime(2026, 1, 7, 13),
        "down_from_utc": datetime(2026, 1, 7, 12, tzinfo=UTC),
        "down_to_utc": datetime(2026, 1, 7, 13, tzinfo=UTC),
        "month_on": date(2026, 1, 1),
        "feed_id": "downtime_RMC",
        "source_sha": "downtime",
    }
    live = came | {
        "party_code": "RMC",
        "source_status": "synthetic",
        "feed_id": "go_lives",
        "source_sha": "go_lives",
    }
    line = came | {
        "title": "Cross-site reporting",
        "benefit_class": "NCRB",
        "measure_metric_id": "R08",
        "unit": "rate",
        "improvement": "increase",
        "baseline_from": date(2021, 4, 1),
        "baseline_to": date(2021, 4, 30),
        "planned_value_gbp_per_year": 12000.0,
        "assumption_id": "UC23",
        "source_status": "synthetic",
        "feed_id": "benefit_register",
        "source_sha": "benefit_register",
    }
    cost = came | {
        "assumption_id": "UC23",
        "item": "Consultant hour",
        "source_status": "verified",
        "feed_id": "unit_costs",
        "source_sha": "unit_costs",
    }
    return {
        "rota_sessions": [session, corrected],
        "opening_hours": [hours],
        "downtime": [down],
        "go_lives": [
            live | {"go_live_type": "archive", "go_live_on": date(2026, 1, 1)},
            live | {"go_live_type": "network_reporting", "go_live_on": date(2026, 1, 20)},
        ],
        "benefit_register": [
            line | {"benefit_id": "B01", "beneficiary": "NETWORK"},
            line | {"benefit_id": "B02", "beneficiary": "RMC"},
        ],
        "unit_costs": [cost],
    }


def receipt(table: str, sha: str, feed_id: str, count: int) -> dict[str, Any]:
    """The receipt of a file whose records all landed."""
    return {
        "feed_id": feed_id,
        "feed_kind": feed_id.split("_")[0],
        "file_name": sha,
        "source_sha": sha,
        "delivered_on": DELIVERED.date(),
        "received_at": DELIVERED,
        "landed_at": DELIVERED,
        "landing_table": table,
        "rows_received": count,
        "rows_landed": count,
        "rows_rejected": 0,
        "rows_written": count,
        "status": "landed",
    }


def write_tiny_landing(folder: Path) -> None:
    """Write the tiny network below a folder, one file per source."""
    rows = pennine() + bolton_morning() + bolton_list() + identities()
    events = {"imaging_events": rows}
    write_landing(folder, events | {"dicom_headers": headers() + dose_headers()} | lists())
    # beside the headers, under their receipt
    write_landing_file(folder, "dose_events", "dicom_RMC", doses())


def write_landing(folder: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write rows by table, one file per source with its receipt, and an empty file per table."""
    receipts = []
    for table, rows in tables.items():
        for sha in dict.fromkeys(row["source_sha"] for row in rows):
            mine = [row for row in rows if row["source_sha"] == sha]
            write_landing_file(folder, table, sha, mine)
            came = {name: max(row[name] for row in mine) for name in ("received_at", "landed_at")}
            receipts.append(receipt(table, sha, mine[0]["feed_id"], len(mine)) | came)
    write_landing_file(folder, "receipts", "receipts", receipts)
    for table in read_contracts(CONTRACTS):
        write_landing_file(folder, table, "columns", [])


def write_landing_file(folder: Path, table: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Write one Parquet file of a landing table, shaped by its contract."""
    schema = landing_schema(read_contracts(CONTRACTS)[table])
    complete = [{column: row.get(column) for column in schema} for row in rows]
    path = folder / table / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(complete, schema=schema).write_parquet(path)
