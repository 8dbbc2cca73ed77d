"""The gate: what is still broken, and the verdicts that dashboards show.

One small file per check, composed into published/gate.json. Nothing is published while a
delivery stands refused: it is closed by delivering the file again in good order, by a replay, or
by dismissing it with a reason.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.contracts import Contract
from pipelines.durable import write_bytes
from pipelines.feeds import FEEDS
from pipelines.landing.quarantine import Entry
from pipelines.quality.reconcile import imbalances, unbacked_rejects
from pipelines.sources.dicom_headers.comparison import RULE as READS_THE_SAME

GATE_FILE = "gate.json"


@dataclass(frozen=True)
class GateFailure:
    """One broken promise: contract, rule, where, how many, and what to do."""

    contract: str
    rule: str
    file_name: str
    count: int
    rejects_path: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """Outcome of one check of the gate."""

    check: str
    passed: bool
    checked_at: str
    run_id: str
    failures: list[GateFailure] = field(default_factory=list)


def record(
    folder: Path,
    published: Path,
    check: str,
    failures: list[GateFailure],
    *,
    now: datetime,
    run_id: str,
) -> Verdict:
    """Keep the verdict of one check and compose published/gate.json from all of them.

    The gate holds when every check holds; a later failed run changes gate.json only, never the
    manifest that readers follow.
    """
    verdict = Verdict(check, not failures, now.isoformat(), run_id, failures)
    write_bytes(json.dumps(asdict(verdict), indent=1).encode(), folder / f"{check}.json")
    write_bytes(json.dumps(composed(folder), indent=1).encode(), published / GATE_FILE)
    return verdict


def standing(
    receipts: pl.DataFrame,
    rejects: pl.DataFrame,
    entries: list[Entry],
    contracts: dict[str, Contract],
    checks: Collection[str] | None = None,
) -> dict[str, list[GateFailure]]:
    """Failures of what has landed, per check: one contract check per feed kind, one of the readers
    of DICOM headers, one of the ledger; all of them, or `checks`.

    Computed from the ledger each time, so that no remembered verdict can open the gate.
    """
    every: dict[str, Callable[[], list[GateFailure]]] = {
        f"contract_{kind}": partial(_open_failures_of, kind, receipts, entries, contracts)
        for kind in FEEDS
    }
    every["dicom_readers"] = partial(reader_differences, rejects, entries)
    every["reconciliation"] = partial(reconciliation_failures, receipts, rejects)
    return {name: check() for name, check in every.items() if checks is None or name in checks}


def _open_failures_of(
    feed_kind: str, receipts: pl.DataFrame, entries: list[Entry], contracts: dict[str, Contract]
) -> list[GateFailure]:
    return open_failures(receipts.filter(pl.col("feed_kind") == feed_kind), entries, contracts)


def composed(folder: Path) -> dict[str, object]:
    """The gate as a whole: passed, when it was last checked, and every open failure."""
    verdicts = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    latest = max(verdicts, key=lambda v: v["checked_at"], default=None)
    return {
        "passed": all(verdict["passed"] for verdict in verdicts),
        "checked_at": latest["checked_at"] if latest else None,
        "run_id": latest["run_id"] if latest else None,
        "checks": len(verdicts),
        "failures": [failure for verdict in verdicts for failure in verdict["failures"]],
    }


def current_receipts(receipts: pl.DataFrame) -> pl.DataFrame:
    """One row per feed kind and source file: its latest receipt (contract receipts).

    The same bytes can lie in the folders of two feeds; each has a verdict of its own.
    """
    return receipts.sort("landed_at").unique(
        ["feed_kind", "source_sha"], keep="last", maintain_order=True
    )


def open_failures(
    receipts: pl.DataFrame, entries: list[Entry], contracts: dict[str, Contract]
) -> list[GateFailure]:
    """Refused deliveries that nobody has mended, replayed or dismissed, oldest first."""
    latest = current_receipts(receipts)
    mended: dict[tuple[object, ...], tuple[date, datetime]] = {}
    for row in latest.filter(pl.col("status") == "landed").iter_rows(named=True):
        key = _mending_key(row, contracts)
        mended[key] = max(mended.get(key, _arrival(row)), _arrival(row))
    open_entries = {
        (entry.feed_kind, entry.source_sha): entry
        for entry in entries
        if entry.state == "open" and entry.scope == "file"
    }
    failures = []
    for row in latest.filter(pl.col("status") == "quarantined").iter_rows(named=True):
        entry = open_entries.get((row["feed_kind"], row["source_sha"]))
        later = mended.get(_mending_key(row, contracts))
        if entry is None or (later is not None and later > _arrival(row)):
            continue
        contract = contracts.get(FEEDS[row["feed_kind"]].contract)
        failures.append(
            GateFailure(
                contract=contract.path.name if contract else row["feed_kind"],
                rule=row["failed_rule"],
                file_name=row["file_name"],
                count=row["rows_rejected"],
                rejects_path=f"quarantine/{entry.feed_kind}/{entry.entry_id}.enc",
                message=f"{row['file_name']}: {row['failed_rule']}: {row['detail']}; deliver it again in good order, or "
                f"`imaging harvest {row['feed_kind']} --replay`, or "
                f"`{entry.dismissal}`",
            )
        )
    return failures


def reader_differences(rejects: pl.DataFrame, entries: list[Entry]) -> list[GateFailure]:
    """DICOM files that pydicom reads otherwise than our readers do, while their entry is open.

    The files themselves did not land; what else the same reader has read may be as wrong.
    """
    waiting = {e.source_sha: e for e in entries if e.state == "open" and e.scope == "row"}
    broken = rejects.filter(
        (pl.col("rule") == READS_THE_SAME) & pl.col("source_sha").is_in(list(waiting))
    ).unique(["source_sha", "row_no"])
    failures = []
    for (sha, file_name), rows in broken.sort("row_no").group_by(
        "source_sha", "file_name", maintain_order=True
    ):
        entry = waiting[str(sha)]
        failures.append(
            GateFailure(
                contract="dicom_files.odcs.yaml",
                rule=READS_THE_SAME,
                file_name=str(file_name),
                count=len(rows),
                rejects_path=f"quarantine/{entry.feed_kind}/{entry.entry_id}.enc",
                message=f"{file_name}: {len(rows)} files, the first: {rows['reason'][0]}; mend the reader, then "
                f"`imaging harvest dicom --replay`, or "
                f"`{entry.dismissal}`",
            )
        )
    return failures


def _mending_key(row: dict[str, Any], contracts: dict[str, Contract]) -> tuple[object, ...]:
    """What a delivery has in common with the one that mends it.

    Where a later delivery replaces an earlier one (contract property laterDeliveryReplaces), or
    where the name holds a date, the name; else the name on the same delivery day: next week's
    rota says nothing of this week's.
    """
    contract = contracts.get(FEEDS[row["feed_kind"]].contract)
    replaces = contract is not None and contract.settings.get("laterDeliveryReplaces", False)
    by_name = replaces or re.search(r"\d{8}", row["file_name"]) is not None
    return (row["feed_kind"], row["file_name"], None if by_name else row["delivered_on"])


def _arrival(row: dict[str, Any]) -> tuple[date, datetime]:
    """Order of deliveries: by day, then by harvest; one harvest can take in both."""
    return (row["delivered_on"], row["landed_at"])


def reconciliation_failures(receipts: pl.DataFrame, rejects: pl.DataFrame) -> list[GateFailure]:
    """Source files whose counts do not add up: received = landed + rejected, each with a row."""
    latest = current_receipts(receipts)
    current = rejects.join(
        latest.select("feed_kind", "source_sha", "landed_at"),
        on=["feed_kind", "source_sha", "landed_at"],
        how="semi",
    )
    failures = [
        _imbalance(item.file_name, "received_is_landed_plus_rejected", item.received)
        for item in imbalances(latest)
    ]
    return failures + [
        _imbalance(name, "every_reject_has_a_row", 0) for name in unbacked_rejects(latest, current)
    ]


def _imbalance(file_name: str, rule: str, count: int) -> GateFailure:
    return GateFailure(
        contract="receipts.odcs.yaml",
        rule=rule,
        file_name=file_name,
        count=count,
        rejects_path="landing/rejects",
        message=f"{file_name}: {rule} does not hold; harvest the file again",
    )
