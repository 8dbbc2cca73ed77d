"""The gate: a refused delivery holds publication until somebody has dealt with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines.contracts import Contract
from pipelines.gate import (
    GateFailure,
    composed,
    current_receipts,
    open_failures,
    reconciliation_failures,
    record,
)
from pipelines.harvest import Setup, harvest, replay
from pipelines.landing.quarantine import Entry, entry_for
from pipelines.landing.schema import landing_schema
from pipelines.sources.inbox import Delivery
from pipelines.synthetic.faults import break_batch

NOW = datetime(2026, 4, 2, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = date(2026, 4, 1)


def receipts(contracts: dict[str, Contract], *rows: dict[str, object]) -> pl.DataFrame:
    schema = landing_schema(contracts["receipts"])
    stated = {
        "feed_kind": "ris_extract",
        "file_name": "ris_extract_RMC.csv",
        "source_sha": "bad",
        "delivered_on": DAY,
        "landed_at": NOW,
        "rows_received": 400,
        "rows_landed": 0,
        "rows_rejected": 400,
        "status": "quarantined",
        "failed_rule": "has_all_columns",
        "detail": "missing column(s) accession_number",
    }
    good = {"status": "landed", "rows_landed": 400, "rows_rejected": 0, "failed_rule": None}
    filled = [
        dict.fromkeys(schema) | stated | (good if row.get("source_sha") == "good" else {}) | row
        for row in rows
    ]
    return pl.DataFrame(filled, schema=schema)


def entries(scope: str = "file", kind: str = "ris_extract") -> list[Entry]:
    name = "ris_extract_RMC.csv"
    return [entry_for(kind, name, "bad", DAY, scope=scope, rule="x", record_count=400)]


def test_a_refused_delivery_holds_the_gate_and_says_what_to_do(
    landing_contracts: dict[str, Contract], inbound: dict[str, Contract]
):
    """Failing means that readers see a build that lacks a delivery, or that nobody knows why."""
    (failure,) = open_failures(receipts(landing_contracts, {}), entries(), inbound)
    assert failure.contract == "ris_extract.odcs.yaml"
    assert (failure.rule, failure.count) == ("has_all_columns", 400)
    assert failure.rejects_path.startswith("quarantine/ris_extract/bad.file")
    for step in ("deliver it again", "--replay", "--dismiss", "accession_number"):
        assert step in failure.message


@pytest.mark.parametrize(
    ("good", "is_closed"),
    [
        ({"landed_at": NOW + HOUR}, True),
        ({"delivered_on": date(2026, 4, 2)}, True),
        ({"delivered_on": date(2026, 3, 1), "landed_at": NOW + HOUR}, False),
        ({"landed_at": NOW - HOUR}, False),
        ({"landed_at": NOW + HOUR, "file_name": "ris_extract_RBV.csv"}, False),
        ({"landed_at": NOW + HOUR, "feed_kind": "hl7"}, False),
    ],
)
def test_a_later_delivery_in_good_order_closes_the_failure(
    landing_contracts: dict[str, Contract],
    inbound: dict[str, Contract],
    good: dict[str, object],
    is_closed: bool,
):
    """Failing means that a mended delivery still holds the gate, or an unrelated one opens it."""
    table = receipts(landing_contracts, {}, {"source_sha": "good"} | good)
    assert (open_failures(table, entries(), inbound) == []) == is_closed


@pytest.mark.parametrize("kind", ["rota", "dicom"])
def test_next_week_s_file_of_the_same_name_mends_nothing(
    landing_contracts: dict[str, Contract], inbound: dict[str, Contract], kind: str
):
    """Failing means that a lost week of a rota or a lost day of images is forgotten."""
    bad = {"feed_kind": kind}
    later = bad | {"source_sha": "good", "landed_at": NOW + HOUR}
    next_week = later | {"delivered_on": DAY + timedelta(days=7)}
    kept = entries(kind=kind)
    assert open_failures(receipts(landing_contracts, bad, next_week), kept, inbound)
    assert not open_failures(receipts(landing_contracts, bad, later), kept, inbound)


def test_a_dismissed_or_replayed_failure_is_closed(
    landing_contracts: dict[str, Contract], inbound: dict[str, Contract]
):
    """Failing means that the gate can never be opened by a decision."""
    table = receipts(landing_contracts, {})
    for state in ("dismissed", "replayed"):
        closed = [replace(entry, state=state) for entry in entries()]
        assert open_failures(table, closed, inbound) == []
    # Rejected rows of the same file that wait for a replay do not hold the gate.
    assert open_failures(table, entries(scope="row"), inbound) == []


def test_the_same_bytes_in_two_feeds_are_two_failures_and_dismissed_apart(
    landing_contracts: dict[str, Contract], inbound: dict[str, Contract]
):
    """Failing means that a dismissal is of another delivery than the gate said."""
    kinds = ("dids_v1", "dids_v2")
    table = receipts(
        landing_contracts,
        *({"feed_kind": kind, "landed_at": NOW + HOUR * n} for n, kind in enumerate(kinds)),
    )
    kept = [entry for kind in kinds for entry in entries(kind=kind)]
    found = [open_failures(table.filter(pl.col("feed_kind") == k), kept, inbound) for k in kinds]
    for kind, (failure,) in zip(kinds, found, strict=True):
        assert failure.rejects_path == f"quarantine/{kind}/bad.file.enc"
        assert f"--dismiss {kind}/bad.file" in failure.message
    closed = [replace(kept[0], state="dismissed"), kept[1]]
    assert open_failures(table[:1], closed, inbound) == []
    assert len(open_failures(table[1:], closed, inbound)) == 1
    wrong = table.with_columns(rows_landed=pl.lit(1, pl.Int64))
    assert (
        len(
            reconciliation_failures(
                wrong, pl.DataFrame(schema=landing_schema(landing_contracts["rejects"]))
            )
        )
        == 4
    )


def test_the_latest_receipt_of_a_file_counts(landing_contracts: dict[str, Contract]):
    """Failing means that a replayed file counts with its old result too."""
    table = receipts(
        landing_contracts,
        {"landed_at": NOW + HOUR, "status": "landed", "rows_landed": 400, "rows_rejected": 0},
        {},
        {"source_sha": "other"},
    )
    found = dict(current_receipts(table).select("source_sha", "status").iter_rows())
    assert found == {"bad": "landed", "other": "quarantined"}


def test_counts_that_do_not_add_up_hold_the_gate(landing_contracts: dict[str, Contract]):
    """Failing means that lost records are published as if nothing were missing."""
    table = receipts(landing_contracts, {"rows_landed": 1}, {"source_sha": "good"})
    schema = landing_schema(landing_contracts["rejects"])
    none = pl.DataFrame(schema=schema)
    found = reconciliation_failures(table, none)
    assert [(f.rule, f.count) for f in found] == [
        ("received_is_landed_plus_rejected", 400),
        ("every_reject_has_a_row", 0),
    ]
    source = {"feed_kind": "ris_extract", "source_sha": "bad"}
    row = dict.fromkeys(schema) | source | {"landed_at": NOW}
    whole = pl.DataFrame([row] * 400, schema=schema)
    assert reconciliation_failures(receipts(landing_contracts, {}), whole) == []
    # Rejects of an earlier harvest of the same file do not back the latest receipt.
    stale = whole.with_columns(landed_at=pl.lit(NOW - HOUR).cast(schema["landed_at"]))
    assert len(reconciliation_failures(receipts(landing_contracts, {}), stale)) == 1


def test_the_gate_holds_while_every_check_holds_and_leaves_the_manifest_alone(tmp_path: Path):
    """Failing means that one good check hides a bad one, or that a failed run changes the site."""
    folder, published = tmp_path / "gate", tmp_path / "published"
    published.mkdir()
    (published / "manifest.json").write_text("untouched")
    failure = GateFailure("rota.odcs.yaml", "pay_type_is_known", "rota_RMC.csv", 9, "q/x", "mend")

    def now_shown() -> dict[str, object]:
        return json.loads((published / "gate.json").read_text())

    record(folder, published, "contract_rota", [failure], now=NOW, run_id="r1")
    record(folder, published, "reconciliation", [], now=NOW + HOUR, run_id="r2")
    shown = now_shown()
    assert shown == composed(folder)
    assert (shown["passed"], shown["run_id"], shown["checks"]) == (False, "r2", 2)
    assert shown["failures"][0] == failure.__dict__
    record(folder, published, "contract_rota", [], now=NOW + 2 * HOUR, run_id="r3")
    assert now_shown()["passed"] is True and now_shown()["failures"] == []
    assert (published / "manifest.json").read_text() == "untouched"


def test_a_gate_that_never_checked_anything_has_no_time(tmp_path: Path):
    """Failing means that an empty gate claims to have been checked."""
    assert composed(tmp_path)["checked_at"] is None


def test_a_broken_batch_opens_a_failure_that_a_good_one_or_a_replay_closes(
    new_setup: Callable[..., Setup], delivered: Path, tmp_path: Path
):
    """Failing means that the way back from a broken delivery does not work from end to end."""
    setup = new_setup(tmp_path)
    source = delivered / "inbox" / "ris_extract" / "2026-01-07" / "ris_extract_RMC.csv"
    inbox = tmp_path / "inbox"
    good = inbox / "ris_extract" / "2026-01-07" / source.name
    good.parent.mkdir(parents=True)
    good.write_bytes(source.read_bytes())
    path = break_batch("missing_column", inbox, day=DAY)
    harvest("ris_extract", [Delivery("ris_extract", path, DAY)], setup, now=NOW)

    def failures() -> list[GateFailure]:
        return open_failures(setup.landing.receipts(), setup.quarantine.entries(), setup.inbound)

    (failure,) = failures()
    assert (failure.rule, failure.file_name) == ("has_all_columns", source.name)
    # A replay before anything is mended changes nothing.
    (entry,) = setup.quarantine.entries(state="open")
    again = replay(entry, setup, now=NOW + HOUR)
    assert again.files_refused == 1 and [f.rule for f in failures()] == ["has_all_columns"]
    assert setup.quarantine.payload(entry) == path.read_bytes()
    path.write_bytes(source.read_bytes())
    harvest("ris_extract", [Delivery("ris_extract", path, DAY)], setup, now=NOW + 2 * HOUR)
    assert failures() == []
    found = reconciliation_failures(setup.landing.receipts(), setup.landing.read("rejects"))
    assert found == []
