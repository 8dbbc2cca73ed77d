"""National submissions (DIDS) of one party and month, version 1 or 2, out of the warehouse.

The warehouse knows times and codes, and of people only pseudonyms. Demographic items, the
accession number and the referrer come from a list of identities that a trust keeps: its numbers
are hashed in memory with the network's key, meet the pseudonyms there, and are kept nowhere.
"""

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl

from pipelines.contracts import Contract
from pipelines.landing.pseudonymise import nhs_number_is_valid, pseudonyms
from pipelines.problems import Problem
from pipelines.quality.dids_reference import DidsReference
from pipelines.quality.dids_rules import judged
from pipelines.quality.suites import violations
from pipelines.sources.dids import VERSIONS, read_dids
from pipelines.sources.extract_tables import Refused

PEOPLE = (
    "nhs_number",
    "nhs_number_status",
    "birth_date",
    "ethnic_category",
    "gender",
    "postcode",
    "gp_practice_code",
)
OF_EXAM = ("referrer_code",)
# Without a list of identities an exam goes by so much of its pseudonym as the item has room for.
ACCESSION_LENGTH = 20
# The one activity category whose national wording is known.
WAITING_LIST = "Diagnostic Waiting List"
# By item of an exam: its event, and the column of the exam that has the instant.
MOMENTS = {
    "request": ("order_placed", "requested_at"),
    "receipt": ("order_received", "received_at"),
    "start": ("exam_started", "started_at"),
    "end": ("exam_completed", "completed_at"),
    "report": ("report_verified", "first_verified_at"),
}


class ExportProblem(Problem):
    """A submission cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Submission:
    """One file, and what its own rules say of it.

    `broken` and `warned`: records per rule; `not_evaluable`: rules with the reason. `day_only`:
    records of version 2 whose exam is known to the day only, which the national portal does not
    take. `left_out`: exams done without any number or site to submit them under.
    """

    data: bytes
    records: int
    with_identity: int
    left_out: int
    day_only: int
    broken: dict[str, int] = field(default_factory=dict)
    warned: dict[str, int] = field(default_factory=dict)
    not_evaluable: dict[str, str] = field(default_factory=dict)


def exams_done(warehouse: Path, landing: Path, party: str, month: date) -> pl.DataFrame:
    """One row per exam of a party performed in a month (its first day), as the marts fold it.

    `<item>_at` (UTC) and `<item>_is_day` of each moment of `MOMENTS`, with codes, organisations
    and pseudonyms. Raises ExportProblem when the warehouse has not been built.
    """
    if not warehouse.exists():
        raise ExportProblem(f"{warehouse} does not exist; run `imaging build` first")
    days = ",\n".join(
        f"coalesce(bool_and(events.is_date_only) filter (where events.event_type = '{event}' "
        f"and events.event_at = exams.{column}), false) as {item}_is_day"
        for item, (event, column) in MOMENTS.items()
    )
    times = ",\n".join(
        f"any_value(exams.{column}) as {item}_at" for item, (_, column) in MOMENTS.items()
    )
    files = str(landing / "imaging_events" / "**" / "*.parquet").replace("'", "''")
    query = f"""
        with exams as (
            select * from marts.fct_exam
            where is_completed and party_code = $party
            and performed_on >= $first and performed_on < $next
        ),
        events as (
            select told.* from intermediate.int_exam_events as told
            semi join exams on told.exam_key = exams.exam_key
        ),
        -- an event told twice has two landed rows
        landed as (
            select event_id, max(requester_org) as requester_org, max(proc_snomed) as proc_snomed
            from read_parquet('{files}', union_by_name = true)
            where event_id in (select event_id from events)
            group by event_id
        )
        select
            exams.exam_key,
            any_value(exams.issuer_ods) as issuer_ods,
            any_value(exams.patient_key) as patient_key,
            any_value(exams.site_code) as site_code,
            any_value(exams.source_setting) as source_setting,
            any_value(exams.exam_code) as nicip_code,
            any_value(exams.activity_category) as activity_category,
            any_value(exams.dm01_clock_start_on) as clock_start_on,
            {times},
            {days},
            max_by(events.accession, events.assertion_no)
                filter (where events.accession is not null) as accession,
            max_by(landed.requester_org, events.assertion_no)
                filter (where landed.requester_org is not null) as referring_org_code,
            max_by(landed.proc_snomed, events.assertion_no)
                filter (where landed.proc_snomed is not null) as snomed_code
        from exams
        left join events on exams.exam_key = events.exam_key
        left join landed on events.event_id = landed.event_id
        group by exams.exam_key
        order by exams.exam_key
    """
    following = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.sql(
            query, params={"party": party, "first": month.replace(day=1), "next": following}
        ).pl()


def read_identities(path: Path) -> pl.DataFrame:
    """One row per line of a trust's list of identities (CSV with a header, all text).

    Needs `accession_number` or `patient_id`; may have the demographic items, `referrer_code`,
    and `issuer_ods`, who gave the number.
    Raises ExportProblem that names the columns.
    """
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        # The kind of error only: its text can quote values of the file.
        raise ExportProblem(
            f"{path} is not a CSV file with a header ({type(error).__name__})"
        ) from None
    if not {"accession_number", "patient_id"} & set(frame.columns):
        raise ExportProblem(
            f"{path}: no column accession_number or patient_id; by one of them a line finds its exam"
        )
    wanted = ("issuer_ods", "accession_number", "patient_id", *PEOPLE, *OF_EXAM)
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None, pl.String))
        .str.strip_chars()
        .replace("", None)
        .alias(name)
        for name in wanted
    )


def with_identities(
    exams: pl.DataFrame, identities: pl.DataFrame | None, key: bytes, issuers: Collection[str]
) -> pl.DataFrame:
    """Exams with demographic items, accession number and referrer where a line tells them.

    The line of the exam's accession number comes first, then that of its patient. Numbers are
    unique within their issuer only: a line without one stands for those of `issuers`, the party's
    own. Lines that name one number twice are used once, the last one.
    """
    items = [*PEOPLE, *OF_EXAM, "accession_number"]
    if identities is None:
        return exams.with_columns(pl.lit(None, pl.String).alias(name) for name in items)
    own = pl.Series("issuer_ods", sorted(issuers), dtype=pl.String).implode()
    lines = identities.with_columns(
        issuer_ods=pl.when(pl.col("issuer_ods").is_null())
        .then(pl.lit(own))
        .otherwise(pl.concat_list("issuer_ods"))
    ).explode("issuer_ods")
    place = ["issuer_ods", "accession"]
    by_exam = lines.with_columns(
        accession=pseudonyms(lines["accession_number"], "accession", key)
    ).filter(pl.col("accession").is_not_null())
    by_exam = by_exam.unique(place, keep="last", maintain_order=True).select(
        *place, *(pl.col(name).alias(f"exam_{name}") for name in items)
    )
    patients = lines.select(pl.format("{}|{}", "issuer_ods", "patient_id")).to_series()
    people = lines.with_columns(patient_key=pseudonyms(patients, "patient", key)).filter(
        pl.col("patient_key").is_not_null()
    )
    people = people.unique("patient_key", keep="last", maintain_order=True).select(
        "patient_key", *(pl.col(name).alias(f"person_{name}") for name in PEOPLE)
    )
    found = exams.join(by_exam, on=place, how="left", maintain_order="left").join(
        people, on="patient_key", how="left", maintain_order="left"
    )
    return found.with_columns(
        *(pl.coalesce(f"exam_{name}", f"person_{name}").alias(name) for name in PEOPLE),
        *(pl.col(f"exam_{name}").alias(name) for name in (*OF_EXAM, "accession_number")),
    )


def submission(
    exams: pl.DataFrame,
    contract: Contract,
    *,
    zone: str,
    submitted_on: date,
    reference: DidsReference,
) -> Submission:
    """Write the exams (of `with_identities`) as one submission and judge it by its own rules.

    Sorted by site and accession number, so that the same warehouse and list give the same bytes.
    """
    version = VERSIONS[contract.name]
    table = exams.with_columns(
        accession_number=pl.coalesce(
            "accession_number", pl.col("accession").str.slice(0, ACCESSION_LENGTH)
        ),
        site_code=pl.col("site_code").replace("Unknown", None),
    )
    complete = table.filter(
        pl.col("accession_number").is_not_null() & pl.col("site_code").is_not_null()
    ).sort("site_code", "accession_number", "exam_key")
    shown = _of_version_1(complete, zone) if version == 1 else _of_version_2(complete, zone)
    text = _csv(shown.select(contract.column_names()), contract)
    day_only = pl.col("start_is_day") | pl.col("end_is_day")
    judgement = _judged(text, contract, zone, submitted_on, reference)
    return Submission(
        data=text,
        records=len(complete),
        with_identity=int(
            complete.select(pl.any_horizontal(pl.col(PEOPLE).is_not_null()).sum()).item()
        ),
        left_out=len(table) - len(complete),
        day_only=int(complete.select(day_only.sum()).item()) if version == 2 else 0,
        **judgement,
    )


def _of_version_1(exams: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Every moment as its local day; the test is on the day it began, or ended where unknown."""
    local = {item: _local(item, zone).dt.strftime("%Y-%m-%d") for item in MOMENTS}
    return exams.with_columns(
        requested_on=local["request"],
        request_received_on=local["receipt"],
        tested_on=pl.coalesce(local["start"], local["end"]),
        report_issued_on=local["report"],
    )


def _of_version_2(exams: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Every moment as shown on the clock with London's offset; a day alone where no time is known."""
    waits = pl.col("activity_category") == "waiting_list"
    shown = {
        item: pl.when(pl.col(f"{item}_is_day"))
        .then(_local(item, zone).dt.strftime("%Y-%m-%d"))
        .otherwise(_local(item, zone).dt.strftime("%Y-%m-%dT%H:%M:%S%:z"))
        for item in MOMENTS
    }
    return exams.with_columns(
        requested_at=shown["request"],
        request_received_at=shown["receipt"],
        started_at=pl.coalesce(shown["start"], shown["end"]),
        ended_at=shown["end"],
        report_issued_at=shown["report"],
        activity_category=pl.when(waits).then(pl.lit(WAITING_LIST)),
        clock_start_on=pl.when(waits).then(pl.col("clock_start_on").dt.strftime("%Y-%m-%d")),
    )


def _local(item: str, zone: str) -> pl.Expr:
    return pl.col(f"{item}_at").dt.convert_time_zone(zone)


def _csv(frame: pl.DataFrame, contract: Contract) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if contract.settings.get("hasHeader", True):
        writer.writerow(column.business_name for column in contract.columns)
    writer.writerows(frame.rows())
    return text.getvalue().encode()


def _judged(
    data: bytes, contract: Contract, zone: str, submitted_on: date, reference: DidsReference
) -> dict[str, dict]:
    """What our own reader and rules say of a submission."""
    table = read_dids(data, contract, zone) if data else None
    if table is None or (isinstance(table, pl.DataFrame) and table.is_empty()):
        return {}
    if isinstance(table, Refused):
        raise ExportProblem(f"the submission cannot be read back: {table.rule}: {table.detail}")
    found = judged(
        table.with_columns(nhs_number_valid=nhs_number_is_valid(table["nhs_number"])),
        version=VERSIONS[contract.name],
        submitted_on=submitted_on,
        reference=reference,
    )
    records = found.records.with_columns(source_sha=pl.lit("submission"))
    counts = dict(violations(records, contract).group_by("rule").len().sort("rule").iter_rows())
    return {
        "broken": _of_level(counts, [r.name for r in contract.rules_of_level("reject")]),
        "warned": _of_level(counts, [r.name for r in contract.rules_of_level("warn")]),
        "not_evaluable": found.not_evaluable,
    }


def _of_level(counts: dict[str, int], rules: Sequence[str]) -> dict[str, int]:
    return {rule: count for rule, count in counts.items() if rule in rules}
