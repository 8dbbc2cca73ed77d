"""A trust that gives nothing but DIDS of version 1: its figures, and its submissions made again."""

import base64
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.contracts import read_contracts
from pipelines.exports.dids import (
    ExportProblem,
    Submission,
    exams_done,
    read_identities,
    submission,
    with_identities,
)
from pipelines.harvest import Setup, harvest
from pipelines.landing.keys import Keys
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.sources.inbox import Delivery
from tests.dids_samples import CONTRACTS, CONTRACTS_IN, GOOD, REFERENCE, as_csv
from tests.warehouse.conftest import PROJECT, Project, Warehouse, build
from tests.warehouse.test_build import NO_TESTS, PASSED

LONDON = "Europe/London"
KEYS = Keys(b"p" * 32, b"e" * 32, base64.urlsafe_b64encode(b"s" * 32))
FEED = "dids_RMC,dids,csv,RMC,RMC,,Europe/London,performed,"
DELIVERED = date(2026, 4, 15)
FACTS = ["exam_key", "event_type", "event_ts_utc", "event_ts_local", "ts_precision"]
FACTS += ["proc_code", "proc_snomed", "site_ods", "source_setting", "requester_org"]
# Of every exam: request, receipt, test, report; the last has no report yet. Five have a percentile.
JANUARY = [
    ("2025-11-20", "2025-11-21", "2026-01-12", "2026-01-14"),
    ("2025-12-20", "2025-12-20", "2026-01-12", "2026-01-12"),
    ("2026-01-05", "2026-01-05", "2026-01-30", "2026-03-10"),
    ("2026-01-07", "2026-01-07", "2026-01-30", "2026-02-01"),
    ("2026-01-06", "2026-01-06", "2026-01-31", ""),
]
# Told by version 2, with times; the clock went forward two days before the report.
FEBRUARY = [("2026-02-02", "2026-02-02", "2026-02-20", "2026-03-31")]
MARCH = [("2026-02-20", "2026-02-20", "2026-03-31", "2026-04-02")]


def rows(days: list[tuple[str, str, str, str]], month: str) -> list[dict[str, str]]:
    """Records of one month, each with a number and a referrer of its own."""
    return [
        GOOD
        | dict(zip(("request", "receipt", "test", "report"), of_exam, strict=True))
        | {"accession_number": f"RMC{month}{n}", "referrer_code": f"G990041{n}"}
        for n, of_exam in enumerate(days)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dids_only")


@pytest.fixture(scope="module")
def own_project(folder: Path) -> Project:
    """The dbt project of a network whose registry knows one feed."""
    copy = folder / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    registry = copy / "seeds" / "network" / "feeds.csv"
    registry.write_text(registry.read_text().splitlines()[0] + "\n" + FEED + "\n")
    return Project(folder / "target", copy)


@pytest.fixture(scope="module")
def new_setup(own_project: Project) -> Callable[[Path], Setup]:
    network = Network.load(own_project.folder / "seeds")

    def make(home: Path) -> Setup:
        return Setup(
            network=network,
            inbound=CONTRACTS_IN,
            landing=LandingStore(home / "landing", read_contracts(CONTRACTS / "landing")),
            quarantine=Quarantine(home / "quarantine", KEYS),
            keys=KEYS,
            dids_reference=REFERENCE,
        )

    return make


def deliver(setup: Setup, kind: str, day: date, data: bytes, name: str) -> None:
    at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
    result = harvest(kind, [Delivery(kind, Path(name), day, data)], setup, now=at)
    assert (result.rows_rejected, result.files_refused) == (0, 0), result


@pytest.fixture(scope="module")
def home(folder: Path, new_setup: Callable[[Path], Setup]) -> Path:
    """Three monthly submissions, harvested."""
    setup = new_setup(folder)
    january = as_csv(1, *rows(JANUARY, "01"))
    deliver(setup, "dids_v1", date(2026, 3, 16), january, "dids_RMC_01.csv")
    february = as_csv(2, *rows(FEBRUARY, "02"))
    deliver(setup, "dids_v2", DELIVERED, february, "dids_RMC_02.csv")
    deliver(setup, "dids_v1", DELIVERED, as_csv(1, *rows(MARCH, "03")), "dids_RMC_03.csv")
    return folder


@pytest.fixture(scope="module")
def built(own_project: Project, home: Path) -> Warehouse:
    found = build(own_project, home / "landing", home / "warehouse.duckdb", *NO_TESTS)
    assert {name: s for name, s in found.results.items() if s not in PASSED} == {}
    return found


def test_the_waits_of_the_exams_done_are_there(built: Warehouse):
    """Failing means that a trust with DIDS only has no waiting times."""
    found = built.rows(
        "select performed_on, unadjusted_wait_days, time_source from marts.fct_exam "
        "order by exam_key is null, performed_on, unadjusted_wait_days"
    )
    assert [row["unadjusted_wait_days"] for row in found] == [23, 53, 23, 25, 25, 18, 39]
    assert {row["time_source"] for row in found} == {"ris"}


def test_the_intervals_to_the_report_are_there(built: Warehouse):
    """Failing means that a trust with DIDS only has no report page, or that days pass for hours."""
    (january,) = built.rows(
        "select acquired_count, reported_count, open_count, quarantined_count, "
        "reported_within_28_days_count, within_28_days_rate "
        "from marts.rpt_report_turnaround_monthly where org_level = 'party' and org_code = 'RMC' "
        "and modality_group = 'All' and priority_group = 'All' "
        "and acquired_month_on = '2026-01-01'"
    )
    assert january == {
        "acquired_count": 5,
        "reported_count": 4,
        "open_count": 1,
        "quarantined_count": 0,
        "reported_within_28_days_count": 3,
        "within_28_days_rate": 0.6,
    }
    timed = built.rows(
        "select performed_on from marts.fct_exam where turnaround_minutes is not null"
    )
    assert [row["performed_on"] for row in timed] == [date(2026, 2, 20)]


def test_who_still_waits_is_not_known_and_so_not_0(built: Warehouse):
    """Failing means that a trust that tells of no request seems to have no waiting list."""
    found = built.frame("select * from marts.rpt_waiting_times_monthly where dm01_test = 'CT'")
    assert set(found["org_level"]) == {"network", "party", "trust"}
    assert found["waiting_list_count"].null_count() == len(found) > 0
    assert found["band_00"].null_count() == len(found)
    party = found.filter(pl.col("org_level") == "party").sort("census_on")
    activity = dict(party.select("census_on", "activity_waiting_list_count").iter_rows())
    assert activity[date(2026, 1, 31)] == 5
    assert activity[date(2026, 3, 31)] == 1
    metrics = built.frame(
        "select distinct metric_id from marts.rpt_metrics_monthly "
        "where period_start_on = '2026-01-01'"
    )
    known = set(metrics["metric_id"])
    assert {"T01", "W04", "W05U", "R02"} <= known
    of_lists = {"W01", "W02", "W03", "W06", "W07", "W08", "W09", "W09H", "W10"}
    assert not (of_lists | {"R06", "R08", "R11", "U01"}) & known
    first = "select min(period_start_on) as first_on from marts.rpt_metrics_monthly"
    # requests go back to November 2025: nobody told what was done then
    for name in ("T01", "W04"):
        assert built.rows(f"{first} where metric_id = '{name}'") == [{"first_on": date(2026, 1, 1)}]
    shared = built.frame("select * from marts.rpt_cross_site_reporting_monthly")
    assert shared["outsourced_rate"].null_count() == len(shared) > 0
    assert shared["cross_site_rate"].null_count() == len(shared)


def test_what_is_missing_names_the_feeds_that_would_bring_it(built: Warehouse):
    """Failing means that a trust is not told what to send, or is asked for what it has sent."""
    matrix = {
        row["subject_id"]: row["missing_feeds"]
        for row in built.rows(
            "select subject_id, missing_feeds from marts.rpt_feed_metric_matrix "
            "where party_code = 'RMC' and subject_kind = 'metric'"
        )
    }
    assert matrix["W01"] == "epic_audit or fhir or hl7 or ris_extract"
    assert matrix["R08"] == "fhir or hl7 or ris_extract"
    assert matrix["C04"] == "image_access"
    assert matrix["U07"] == "downtime; opening_hours; dicom or dicom_series"
    assert {"T01", "W04", "R01", "R02", "R05"} <= {name for name, gap in matrix.items() if not gap}
    asked = built.frame("select * from seeds.feed_needs where feed_kind = 'dids_v1'")
    assert {"T01", "W04", "R01", "R02"} <= set(asked["subject_id"])
    figures = built.frame("select distinct metric_id from marts.rpt_metrics_monthly")
    assert not {name for name, gap in matrix.items() if gap} & set(figures["metric_id"])


def exported(
    built: Warehouse, home: Path, version: int, month: date, identities: Path | None = None
) -> Submission:
    exams = exams_done(built.file, home / "landing", "RMC", month)
    people = None if identities is None else read_identities(identities)
    return submission(
        with_identities(exams, people, KEYS.pseudonym, {"RMC"}),
        CONTRACTS_IN[f"dids_v{version}"],
        zone=LONDON,
        submitted_on=date(2026, 3, 16),
        reference=REFERENCE,
    )


@pytest.fixture(scope="module")
def identities(folder: Path) -> Path:
    """What the trust knows of its exams of January: one line by patient, the rest by number."""
    path = folder / "identities.csv"
    columns = ["accession_number", "nhs_number", "birth_date", "gender", "postcode"]
    columns += ["ethnic_category", "gp_practice_code", "nhs_number_status", "referrer_code"]
    lines = [",".join(columns)]
    lines += [",".join(row[name] for name in columns) for row in rows(JANUARY, "01")]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_a_submission_written_and_read_back_gives_the_same_events(
    version: int,
    built: Warehouse,
    home: Path,
    identities: Path,
    new_setup: Callable[[Path], Setup],
    tmp_path: Path,
):
    """Failing means that what a trust submits is not what the warehouse counts."""
    made = exported(built, home, version, date(2026, 1, 1), identities)
    assert (made.records, made.with_identity, made.left_out) == (5, 5, 0)
    assert made.broken == {}
    assert made.day_only == (5 if version == 2 else 0)
    again = new_setup(tmp_path)
    deliver(again, f"dids_v{version}", date(2026, 3, 16), made.data, "dids_RMC_again.csv")
    before = new_setup(home).landing.read("imaging_events")
    january = before.filter(pl.col("received_at") < datetime(2026, 4, 1, tzinfo=UTC))
    after = again.landing.read("imaging_events")
    assert after.select(FACTS).sort(FACTS[:2]).equals(january.select(FACTS).sort(FACTS[:2]))
    assert set(after["event_id"]) == set(january["event_id"])
    people = ["exam_key", "nhs_key", "age_band", "sex", "ethnic_category"]
    assert (
        after.select(people)
        .unique()
        .sort(people)
        .equals(january.select(people).unique().sort(people))
    )


def test_the_same_warehouse_gives_the_same_bytes(built: Warehouse, home: Path, identities: Path):
    """Failing means that nobody can say whether a submission has changed."""
    first, second = (exported(built, home, 1, date(2026, 1, 1), identities).data for _ in range(2))
    assert first == second
    assert first == as_csv(1, *rows(JANUARY, "01")).replace(b'"', b"").replace(b"\n", b"\r\n")


def test_times_go_out_as_on_the_clock_and_come_back_as_they_were(
    built: Warehouse, home: Path, new_setup: Callable[[Path], Setup], tmp_path: Path
):
    """Failing means that a submission of version 2 moves exams, by an hour in summer."""
    made = exported(built, home, 2, date(2026, 2, 1))
    assert b"2026-02-20T10:31:00+00:00" in made.data
    assert b"2026-03-31T18:00:00+01:00" in made.data
    assert made.day_only == 0
    days = exported(built, home, 1, date(2026, 2, 1))
    assert b",2026-02-02,2026-02-02,2026-02-20," in days.data
    again = new_setup(tmp_path)
    deliver(again, "dids_v2", date(2026, 4, 14), made.data, "dids_RMC_again.csv")
    after = again.landing.read("imaging_events").select(FACTS[1:]).sort("event_type")
    before = new_setup(home).landing.read("imaging_events")
    local = pl.col("event_ts_local").dt.date()
    seconds = before.filter(pl.col("ts_precision") == "s")["exam_key"].unique().implode()
    february = before.filter(pl.col("exam_key").is_in(seconds)).select(FACTS[1:])
    assert after.equals(february.sort("event_type"))
    deliver(again, "dids_v1", date(2026, 4, 14), days.data, "dids_RMC_days.csv")
    both = again.landing.read("imaging_events").group_by("event_type").agg(local.n_unique())
    assert set(both["event_ts_local"]) == {1}


@pytest.mark.parametrize("version", [1, 2])
def test_without_identities_the_items_on_people_are_empty_and_said_to_be(
    version: int, built: Warehouse, home: Path
):
    """Failing means that identities come from somewhere, or that a gap is not told."""
    made = exported(built, home, version, date(2026, 1, 1))
    assert (made.records, made.with_identity) == (5, 0)
    assert made.broken == {}
    assert {"dids_001", "dids_006", "dids_073"} <= set(made.not_evaluable)
    text = made.data.decode()
    for name in ("nhs_number", "postcode", "birth_date", "referrer_code", "accession_number"):
        assert GOOD[name] not in text
    assert "RMC010" not in text


def test_a_list_of_identities_without_a_number_says_what_it_needs(tmp_path: Path):
    """Failing means that a list is taken that can meet no exam."""
    path = tmp_path / "people.csv"
    path.write_text("nhs_number\n9990001235\n")
    with pytest.raises(ExportProblem, match="accession_number or patient_id"):
        read_identities(path)
    with pytest.raises(ExportProblem, match="imaging build"):
        exams_done(tmp_path / "none.duckdb", tmp_path, "RMC", date(2026, 1, 1))
