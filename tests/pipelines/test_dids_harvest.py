"""National submissions as a feed: days and times become events, and the receipt says the rest."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.harvest import HarvestResult, Setup, harvest, replay
from pipelines.network import Network
from pipelines.sources.inbox import Delivery
from tests.dids_samples import GOOD, NOBODY, REFERENCE, as_csv

NOW = datetime(2026, 2, 18, 6, tzinfo=UTC)
DAY = date(2026, 2, 17)
NewSetup = Callable[..., Setup]


@pytest.fixture(scope="module")
def dids_network(network: Network) -> Network:
    """The network with a feed of national submissions at Bolton."""
    feeds = pl.concat(
        [
            network.feeds,
            network.feeds.filter(pl.col("feed_id") == "ris_extract_RMC").with_columns(
                feed_id=pl.lit("dids_RMC"), feed_kind=pl.lit("dids"), coverage=pl.lit("performed")
            ),
        ]
    )
    return replace(network, feeds=feeds)


def deliver(setup: Setup, kind: str, data: bytes, name: str = "dids_RMC.csv") -> HarvestResult:
    return harvest(kind, [Delivery(kind, Path(name), DAY, data)], setup, now=NOW)


def landed(setup: Setup) -> dict[str, dict]:
    """The landed events of one record by type."""
    rows = setup.landing.read("imaging_events").iter_rows(named=True)
    return {row["event_type"]: row for row in rows}


@pytest.fixture
def setup(new_setup: NewSetup, dids_network: Network, tmp_path: Path) -> Setup:
    return replace(new_setup(tmp_path, network=dids_network), dids_reference=REFERENCE)


def test_a_record_of_version_1_gives_days_and_no_times(setup: Setup):
    """Failing means that a date passes for midnight, and a report looks hours early or late."""
    result = deliver(setup, "dids_v1", as_csv(1, GOOD))
    assert (result.rows_received, result.rows_landed, result.files_refused) == (1, 1, 0)
    events = landed(setup)
    days = {name: str(row["event_ts_local"]) for name, row in events.items()}
    assert days == {
        "order_placed": "2025-12-20 00:00:00",
        "order_received": "2025-12-22 00:00:00",
        "exam_started": "2026-01-12 00:00:00",
        "exam_completed": "2026-01-12 00:00:00",
        "report_verified": "2026-01-14 00:00:00",
    }
    assert {row["ts_precision"] for row in events.values()} == {"d"}
    one = events["report_verified"]
    assert (one["feed_id"], one["issuer_ods"], one["site_ods"]) == ("dids_RMC", "RMC", "RMC01")
    assert (one["proc_code"], one["proc_snomed"]) == ("CHEAD", "408754009")
    assert (one["source_setting"], one["requester_org"], one["sex"]) == ("03", "RMC", "2")
    assert (one["age_band"], one["nhs_number_valid"]) == ("65-69", True)
    assert "postcode" not in one
    assert one["event_ts_raw"] == "2026-01-14"


def test_a_record_of_version_2_gives_the_times_of_the_clock(setup: Setup):
    """Failing means that summer exams move by an hour."""
    summer = GOOD | {"request": "2025-08-20", "receipt": "2025-08-20", "test": "2025-09-01"}
    summer |= {"report": "2025-09-02"}
    deliver(setup, "dids_v2", as_csv(2, summer))
    events = landed(setup)
    assert events["exam_started"]["event_ts_utc"] == datetime(2025, 9, 1, 9, 31, tzinfo=UTC)
    assert str(events["exam_completed"]["event_ts_local"]) == "2025-09-01 10:52:00"
    assert {n: row["ts_precision"] for n, row in events.items()} == {
        "order_placed": "d",
        "order_received": "d",
        "exam_started": "s",
        "exam_completed": "s",
        "report_verified": "s",
    }
    assert events["exam_started"]["tz_source"] == "explicit"


def test_both_versions_name_the_same_exam_and_patient(setup: Setup):
    """Failing means that a trust that changes the version starts with new exams."""
    deliver(setup, "dids_v1", as_csv(1, GOOD))
    deliver(setup, "dids_v2", as_csv(2, GOOD), "dids_RMC_v2.csv")
    events = setup.landing.read("imaging_events")
    assert len(events) == 10
    assert events["exam_key"].n_unique() == events["nhs_key"].n_unique() == 1
    assert set(events["feed_id"]) == {"dids_RMC"}


def test_what_only_warns_lands_and_is_counted_on_the_receipt(setup: Setup):
    """Failing means that records are lost by a rule that only warns, or that nobody is warned."""
    warned = GOOD | {"referrer_code": "99", "report": "2026-02-13", "accession_number": "W1"}
    result = deliver(setup, "dids_v1", as_csv(1, GOOD, warned))
    assert (result.rows_landed, result.rows_rejected) == (2, 0)
    receipt = setup.landing.receipts().row(0, named=True)
    assert "warning dids_023_referrer_code_has_its_form: 1 records" in receipt["detail"]
    assert "warning dids_062_report_is_at_most_a_month_after_test: 1 records" in receipt["detail"]
    events = setup.landing.read("imaging_events").filter(pl.col("event_type") == "order_placed")
    assert events["requester_id"].null_count() == 1


def test_what_could_not_be_evaluated_is_told_on_the_receipt(setup: Setup):
    """Failing means that a trust believes its codes were looked up."""
    bare = replace(setup, dids_reference=replace(REFERENCE, sites=None))
    deliver(bare, "dids_v1", as_csv(1, GOOD | NOBODY))
    detail = setup.landing.receipts()["detail"][0]
    assert "not evaluable (no code list sites): dids_068, dids_081" in detail
    assert "the file holds no demographic item" in detail


def test_a_repeated_accession_number_does_not_land_by_a_replay(setup: Setup):
    """Failing means that a replay of everything brings in the record that the rule kept out."""
    other = GOOD | {"test": "2026-01-13"}
    broken = GOOD | {"accession_number": "RMC7700013", "gender": "F"}
    deliver(setup, "dids_v1", b"".join(as_csv(1, row) for row in (GOOD, broken, other)))
    for _ in range(2):
        (entry,) = setup.quarantine.entries(state="open")
        again = replay(entry, setup, now=NOW)
        assert (again.rows_landed, again.rows_rejected) == (0, 2)
        assert any("071" in rule for rule in again.rejects_by_rule)
    assert {
        str(row["event_ts_local"])[:10]
        for row in setup.landing.read("imaging_events").iter_rows(named=True)
    }.isdisjoint({"2026-01-13"})


def test_a_rejected_record_says_its_rule_and_column_and_can_be_replayed(setup: Setup):
    """Failing means that a mended code list does not bring the record back."""
    odd = GOOD | {"site_code": "RMC55", "accession_number": "X1"}
    result = deliver(setup, "dids_v1", as_csv(1, GOOD, odd))
    assert (result.rows_landed, result.rows_rejected) == (1, 1)
    reject = setup.landing.read("rejects").row(0, named=True)
    assert reject["rule"] == "dids_068_site_code_is_in_reference_data"
    assert (reject["row_no"], reject["column_name"]) == (2, "site_code")
    assert "DIDS rule 068" in reject["reason"]
    (entry,) = setup.quarantine.entries(state="open")
    mended = replace(setup, dids_reference=replace(REFERENCE, sites=None))
    again = replay(entry, mended, now=NOW)
    assert (again.rows_received, again.rows_landed) == (1, 1)
    assert setup.landing.read("imaging_events")["exam_key"].n_unique() == 2
    assert setup.quarantine.entries(state="open") == []


@pytest.mark.parametrize(
    ("kind", "data", "rule", "step"),
    [
        ("dids_v1", as_csv(2, GOOD), "has_no_header", "inbox/dids_v2"),
        ("dids_v2", as_csv(1, GOOD), "has_all_columns", "inbox/dids_v1"),
        ("dids_v1", b"", "is_not_empty", "deliver it again"),
        ("dids_v1", b"\xff\xfe\x00\x41", "is_readable", "UTF-8"),
        (
            "dids_v2",
            as_csv(2, GOOD).replace(b"RADIOLOGICAL", b"NO"),
            "has_all_columns",
            "ACCESSION",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_next_step(
    setup: Setup, kind: str, data: bytes, rule: str, step: str
):
    """Failing means that a file of the other version is read as if its columns fitted."""
    result = deliver(setup, kind, data)
    assert result.files_refused == 1
    assert result.failures[0].rule == rule
    assert step in result.failures[0].message
    for value in ("9990001235", "RMC7700012", "BL4 0JR"):
        assert value not in result.failures[0].message


def test_no_identity_of_a_submission_reaches_the_disk(setup: Setup):
    """Failing means that NHS numbers or birth dates lie in landing, where many can read."""
    deliver(setup, "dids_v1", as_csv(1, GOOD))
    kept = setup.landing.read("imaging_events")
    words = {str(value) for row in kept.iter_rows() for value in row}
    for column in ("nhs_number", "birth_date", "postcode", "referrer_code", "accession_number"):
        assert not any(GOOD[column] in word for word in words), column


def test_blank_lines_and_a_byte_order_mark_change_nothing(setup: Setup):
    """Failing means that a file saved by a spreadsheet loses its first exam."""
    result = deliver(setup, "dids_v1", b"\xef\xbb\xbf" + as_csv(1, GOOD) + b"\n\n")
    assert (result.rows_received, result.rows_landed) == (1, 1)
