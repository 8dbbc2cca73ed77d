"""Tolerances and counts: which file is refused, and whether everything adds up."""

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.landing.schema import landing_schema
from pipelines.quality.batches import allowed, judge
from pipelines.quality.reconcile import imbalances, unbacked_rejects
from pipelines.quality.suites import VIOLATION_SCHEMA


def broken(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(sha, row, rule, "reason", "column") for sha, row, rule in rows],
        schema=VIOLATION_SCHEMA,
        orient="row",
    )


@pytest.mark.parametrize(
    ("rows", "percent", "minimum", "expected"),
    [
        (100, 0, 0, 0),
        (1_000_000, 0, 0, 0),
        (100, 1.0, 5, 5),
        (500, 1.0, 5, 5),
        (599, 1.0, 5, 5),
        (600, 1.0, 5, 6),
        (10_000, 0.5, 5, 50),
        (3, 100, 1_000_000, 1_000_000),
        (0, 1.0, 5, 5),
    ],
)
def test_the_larger_of_a_share_and_a_small_number_is_tolerated(
    rows: int, percent: float, minimum: int, expected: int
):
    """Failing means that small files are refused for nothing, or big ones never."""
    assert allowed(rows, percent, minimum) == expected


def test_a_file_is_refused_by_the_first_record_beyond_the_tolerance(inbound: dict[str, Contract]):
    """Failing means that the contract's tolerance is one off."""
    contract = inbound["ris_extract"]
    rule = "priority_is_a_known_code"
    five = broken(*[("a", n, rule) for n in range(5)])
    six = broken(*[("a", n, rule) for n in range(6)])
    assert judge(five, {"a": 400}, contract).refused.is_empty()
    assert judge(six, {"a": 400}, contract).refused.rows() == [("a", rule, 6, 400)]
    assert judge(six, {"a": 600}, contract).refused.is_empty()


def test_a_file_without_tolerance_is_refused_by_one_record(inbound: dict[str, Contract]):
    """Failing means that a wrong go-live date is published."""
    rule = "go_live_type_is_known"
    verdict = judge(broken(("a", 2, rule)), {"a": 24}, inbound["go_lives"])
    assert verdict.refused.rows() == [("a", rule, 1, 24)]


def test_a_record_is_rejected_once_for_the_first_rule_it_breaks(inbound: dict[str, Contract]):
    """Failing means that rejects are more than records."""
    rows = broken(
        ("a", 2, "requested_at_is_a_timestamp"), ("a", 2, "requested_at_is_given"), ("b", 2, "x")
    )
    verdict = judge(rows, {"a": 400, "b": 400}, inbound["ris_extract"])
    assert verdict.rejected.select("source_sha", "row_no", "rule").rows() == [
        ("a", 2, "requested_at_is_a_timestamp"),
        ("b", 2, "x"),
    ]


def test_rules_are_counted_in_records_and_for_each_file_alone(inbound: dict[str, Contract]):
    """Failing means that one bad file refuses its neighbours, or a message counts by its parts."""
    rule = "status_is_mapped"
    repeated = broken(*[("a", 1, rule)] * 9, *[("b", n, rule) for n in range(6)])
    verdict = judge(repeated, {"a": 50, "b": 50}, inbound["hl7_messages"])
    assert verdict.refused["source_sha"].to_list() == ["b"]


def test_unreadable_records_have_a_tolerance_too(inbound: dict[str, Contract]):
    """Failing means that a file of garbage lands as nothing."""
    rows = broken(*[("a", n, "has_message_header") for n in range(6)])
    assert judge(rows, {"a": 50}, inbound["hl7_messages"]).refused["broken_count"].item() == 6
    assert judge(rows, {"a": 200}, inbound["hl7_messages"]).refused.is_empty()


def ledger(landing_contracts: dict[str, Contract], *counts: tuple[int, int, int]) -> pl.DataFrame:
    schema = landing_schema(landing_contracts["receipts"])
    rows = [
        dict.fromkeys(schema)
        | {"feed_kind": "rota", "file_name": f"f{n}", "source_sha": f"s{n}"}
        | {"rows_received": received, "rows_landed": landed, "rows_rejected": rejected}
        for n, (received, landed, rejected) in enumerate(counts)
    ]
    return pl.DataFrame(rows, schema=schema)


def test_a_receipt_that_does_not_add_up_is_named(landing_contracts: dict[str, Contract]):
    """Failing means that lost records stay unnoticed."""
    receipts = ledger(landing_contracts, (10, 8, 2), (10, 8, 1), (0, 0, 0), (5, 6, 0))
    found = imbalances(receipts)
    assert [(i.file_name, i.received, i.landed, i.rejected) for i in found] == [
        ("f1", 10, 8, 1),
        ("f3", 5, 6, 0),
    ]


def test_every_reject_of_a_receipt_has_its_row(landing_contracts: dict[str, Contract]):
    """Failing means that records are called rejected of which nobody can say why."""
    receipts = ledger(landing_contracts, (10, 8, 2), (10, 9, 1), (3, 3, 0))
    rejects = pl.DataFrame({"source_sha": ["s0", "s0", "s2", "s1"]}).with_columns(
        feed_kind=pl.Series(["rota", "rota", "rota", "downtime"])
    )
    assert unbacked_rejects(receipts, rejects) == ["f1", "f2"]
