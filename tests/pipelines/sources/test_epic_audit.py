"""Audits of imaging orders: each action must become the event it is, and nothing else."""

from datetime import UTC, datetime

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.event_model import RAW_EVENT_SCHEMA
from pipelines.network import Network
from pipelines.sources.epic_audit import events_from_actions, read_actions
from pipelines.sources.extract_tables import read_table
from pipelines.sources.ris_extracts import ColumnMap

LONDON = "Europe/London"
RECEIVED = datetime(2026, 1, 7, 23, 59, 59, tzinfo=UTC)
ORDER = "900417,RMC7700012,Q0000071,2025-06-02 08:05:00,CABDOC,RMC01"
HEADER = (
    "order_id,accession_number,patient_id,ordered_at,exam_code,site_code,"
    "line,action,acted_at,user_id,scheduled_for"
)
HISTORY = [
    ("Appointment Scheduled", "2025-06-03 14:00:00", "CL01", "2025-06-20 10:20:00"),
    ("Finalized Protocol", "2025-06-04 09:00:00", "RP01", ""),
    ("Began Exam", "2025-06-20 10:31:07", "RG01", ""),
    ("Ended Exam", "2025-06-20 10:52:30", "RG01", ""),
    ("Completed by Tech", "2025-06-20 10:55:00", "RG01", ""),
    ("Claim Study", "2025-06-21 09:00:00", "RP02", ""),
    ("Marked as Preliminary", "2025-06-21 09:30:00", "RP02", ""),
    ("Signed", "2025-06-22 16:45:00", "RP03", ""),
    ("Revise Final Study", "2025-06-25 12:10:00", "RP03", ""),
]


def events(contract: Contract, history: list[tuple[str, str, str, str]]) -> pl.DataFrame:
    lines = [HEADER]
    lines += [",".join([ORDER, str(n), *action]) for n, action in enumerate(history, start=1)]
    table = read_table("\n".join(lines).encode(), contract, LONDON)
    assert isinstance(table, pl.DataFrame), table
    arrived = table.with_columns(
        source_sha=pl.lit("s" * 64),
        feed_id=pl.lit("epic_audit_RMC"),
        issuer_ods=pl.lit("RMC"),
        received_at=pl.lit(RECEIVED),
    )
    return events_from_actions(arrived, read_actions(), ColumnMap.of_feed("epic_audit"))


@pytest.fixture
def contract(inbound: dict[str, Contract]) -> Contract:
    return inbound["epic_audit"]


def test_each_action_becomes_the_event_it_is(contract: Contract):
    """Failing means that a step of a pathway is missing, doubled or at another time."""
    found = events(contract, HISTORY)
    assert found.schema == pl.Schema(RAW_EVENT_SCHEMA)
    told = {
        row["event_type"]: (str(row["event_ts_local"]), row["actor_id"], row["actor_role"])
        for row in found.iter_rows(named=True)
    }
    assert told == {
        "order_placed": ("2025-06-02 08:05:00", None, None),
        "appointment_booked": ("2025-06-03 14:00:00", "CL01", None),
        "protocolled": ("2025-06-04 09:00:00", "RP01", "vetter"),
        "exam_started": ("2025-06-20 10:31:07", "RG01", "radiographer"),
        "exam_completed": ("2025-06-20 10:52:30", "RG01", "radiographer"),
        "reading_assigned": ("2025-06-21 09:00:00", "RP02", "first_reader"),
        "report_preliminary": ("2025-06-21 09:30:00", "RP02", "first_reader"),
        "report_verified": ("2025-06-22 16:45:00", "RP03", "verifier"),
        "report_corrected": ("2025-06-25 12:10:00", "RP03", "verifier"),
    }
    assert len(found) == len(told)
    assert set(found["ts_precision"]) == {"s"} and set(found["asserted_ts_utc"]) == {RECEIVED}
    booked = found.filter(pl.col("event_type") == "appointment_booked")
    assert booked["scheduled_for"][0] == datetime(2025, 6, 20, 9, 20, tzinfo=UTC)
    assert set(found["accession"]) == {"RMC7700012"} and set(found["filler_id"]) == {"900417"}


def test_completed_by_tech_is_the_end_only_where_no_end_is_told(contract: Contract):
    """Failing means that exams end when the paperwork does, or never."""
    without = [action for action in HISTORY if action[0] != "Ended Exam"]
    ends = events(contract, without).filter(pl.col("event_type") == "exam_completed")
    assert [str(at) for at in ends["event_ts_local"]] == ["2025-06-20 10:55:00"]


def test_every_action_of_the_contract_has_a_line_and_an_event_that_exists(
    contract: Contract, network: Network
):
    """Failing means that an action is let in that no event comes of."""
    actions = read_actions()
    (rule,) = [rule for rule in contract.rules if rule.name == "action_is_mapped"]
    assert set(actions["action"]) == set(rule.arguments["value_set"])
    assert set(actions["event_type"].drop_nulls()) <= set(network.event_ranks())
    assert set(actions["unless_action"].drop_nulls()) <= set(actions["action"])


def test_a_changed_number_is_told_with_the_one_before_where_the_system_knows_it(
    contract: Contract,
):
    """Failing means that an exam whose accession number changed is two exams."""
    header = HEADER.replace("accession_number", "accession_number,prior_accession_number")
    order = ORDER.replace("RMC7700012", "RMC7700012,RMC7700001")
    lines = [
        header,
        f"{order},1,Accession Number Changed,2025-06-05 10:00:00,CL01,",
        f"{order},2,Began Exam,2025-06-20 10:31:07,RG01,",
    ]
    table = read_table("\n".join(lines).encode(), contract, LONDON)
    assert isinstance(table, pl.DataFrame), table
    arrived = table.with_columns(
        source_sha=pl.lit("s"),
        feed_id=pl.lit("epic_audit_RMC"),
        issuer_ods=pl.lit("RMC"),
        received_at=pl.lit(RECEIVED),
    )
    found = events_from_actions(arrived, read_actions(), ColumnMap.of_feed("epic_audit"))
    told = dict(found.select("event_type", "prior_accession").iter_rows())
    assert told == {
        "order_placed": None,
        "exam_reidentified": "RMC7700001",
        "exam_started": None,
    }
