"""What became of every record: quarantine, rejects, and the receipt that commits."""

import hashlib
import json
from collections import Counter
from datetime import datetime

import polars as pl

from pipelines.contracts import Contract
from pipelines.feeds import FEEDS, WORKBOOK
from pipelines.harvest.model import Failure, HarvestResult, Setup, SourceFile, contract_of
from pipelines.harvest.tables import column_map_of
from pipelines.harvest.workbooks import kept_workbook
from pipelines.landing.quarantine import Entry, entry_for
from pipelines.landing.schema import landing_schema
from pipelines.landing.writer import PARSER_VERSION
from pipelines.sources.extract_tables import Refused, raw_rows
from pipelines.sources.fhir import raw_lines
from pipelines.sources.hl7 import framed as framed_hl7
from pipelines.sources.hl7 import split_messages
from pipelines.sources.image_access import framed as framed_audit
from pipelines.sources.image_access import split_audit


def account(
    feed_kind: str,
    files: list[SourceFile],
    rejected: pl.DataFrame,
    written: dict[str, int],
    setup: Setup,
    now: datetime,
) -> HarvestResult:
    """Quarantine what did not land, then write rejects, then receipts: the commit."""
    rejects, receipts, failures, kept = [], [], [], []
    contract = contract_of(feed_kind, setup)
    for file in files:
        mine = rejected.filter(pl.col("source_sha") == file.sha)
        count = file.received if file.refused else len(mine)
        rejects += _reject_rows(feed_kind, file, mine)
        rows_written = written.get(file.sha, 0)
        receipts.append(_receipt(feed_kind, file, count, rows_written, setup))
        if file.refused is not None:
            failures.append(_failure(contract, file))
        if file.refused is not None or len(mine):
            entry = _entry(feed_kind, file, mine)
            setup.quarantine.keep(entry, _kept(feed_kind, file, mine, contract, setup))
            kept.append(entry.entry_id)
    stamp = {"landed_at": now}
    batch_name = hashlib.sha256("".join(sorted(f.sha for f in files)).encode()).hexdigest()
    batch_name = f"{feed_kind}-{batch_name[:32]}-{now:%Y%m%dT%H%M%S%f}"
    for table, rows in (("rejects", rejects), ("receipts", receipts)):
        if rows:
            schema = landing_schema(setup.landing.tables[table])
            frame = pl.DataFrame([row | stamp for row in rows], schema=schema, orient="row")
            setup.landing.write(table, batch_name, frame)
    return HarvestResult(
        feed_kind=feed_kind,
        files_landed=sum(file.refused is None for file in files),
        files_refused=len(failures),
        rows_received=sum(row["rows_received"] for row in receipts),
        rows_landed=sum(row["rows_landed"] for row in receipts),
        rows_rejected=sum(row["rows_rejected"] for row in receipts),
        rows_written=sum(row["rows_written"] for row in receipts),
        failures=tuple(failures),
        quarantined=tuple(kept),
        notes=tuple(f"{f.name}: {note}" for f in files if f.refused is None for note in f.notes),
        rejects_by_rule=dict(sorted(Counter(str(row["rule"]) for row in rejects).items())),
    )


def _reject_rows(feed_kind: str, file: SourceFile, mine: pl.DataFrame) -> list[dict[str, object]]:
    common = {
        "feed_id": file.feed_id,
        "feed_kind": feed_kind,
        "file_name": file.name,
        "source_sha": file.sha,
    }
    if file.refused is not None:
        whole = {"rule": file.refused.rule, "reason": file.refused.detail, "scope": "file"}
        return [common | whole | {"row_no": n} for n in range(1, file.received + 1)]
    return [
        common
        | {"row_no": row_no, "rule": rule, "reason": reason, "column_name": column, "scope": "row"}
        | {"record_sha": file.record_shas.get(row_no)}
        for row_no, rule, reason, column in mine.select(
            "row_no", "rule", "reason", "column_name"
        ).iter_rows()
    ]


def _receipt(
    feed_kind: str, file: SourceFile, rejected: int, written: int, setup: Setup
) -> dict[str, object]:
    return {
        "feed_id": file.feed_id,
        "feed_kind": feed_kind,
        "file_name": file.name,
        "source_sha": file.sha,
        "delivered_on": file.delivery.delivered_on,
        "received_at": file.delivery.received_at(setup.network.time_zone),
        "parser_version": PARSER_VERSION,
        "landing_table": FEEDS[feed_kind].landing_table,
        "rows_received": file.received,
        "rows_landed": file.received - rejected,
        "rows_rejected": rejected,
        "rows_written": written,
        "status": "quarantined" if file.refused else "landed",
        "failed_rule": file.refused.rule if file.refused else None,
        "detail": file.refused.detail if file.refused else "; ".join(file.notes) or None,
        "replay_of": _replay_of(feed_kind, file, setup),
        "manifest_sha": file.manifest,
    }


def _replay_of(feed_kind: str, file: SourceFile, setup: Setup) -> str | None:
    """Hash of the source whose rejected records these are; None for a delivery.

    Records that a replay rejected again are themselves a source. Replayed once more, they are still
    those of the source before, or the ledger would take them for further records.
    """
    if file.replay_of != file.sha:
        return file.replay_of
    earlier = setup.landing.receipts().filter(
        (pl.col("feed_kind") == feed_kind) & (pl.col("source_sha") == file.sha)
    )
    told = earlier.sort("landed_at")["replay_of"].drop_nulls()
    return told[0] if len(told) else file.replay_of


def _failure(contract: Contract, file: SourceFile) -> Failure:
    refused = file.refused or Refused("", "")
    return Failure(
        contract=contract.name,
        rule=refused.rule,
        file_name=file.name,
        count=file.refused_count or file.received,
        message=f"{contract.name} {file.name}: {refused.rule}: {refused.detail}; mend and deliver the "
        f"file again, or replay it with `imaging harvest {file.delivery.feed_kind} --replay`; "
        f"contract {contract.path.name}",
    )


def _entry(feed_kind: str, file: SourceFile, mine: pl.DataFrame) -> Entry:
    whole = file.refused is not None
    return entry_for(
        feed_kind,
        file.name,
        file.sha,
        file.delivery.delivered_on,
        scope="file" if whole else "row",
        rule=file.refused.rule if file.refused else str(mine["rule"][0]),
        record_count=file.received if whole else len(mine),
    )


def _kept(
    feed_kind: str, file: SourceFile, mine: pl.DataFrame, contract: Contract, setup: Setup
) -> bytes:
    """What quarantine keeps: the rejected records as delivered, or the whole refused file.

    Of DICOM only the paths of the files, since their bytes hold pixels.
    """
    numbers = sorted(mine["row_no"].to_list())
    if feed_kind == "dicom":
        chosen = file.paths.values() if file.refused else [file.paths[n] for n in numbers]
        return json.dumps(list(chosen)).encode()
    if file.refused is not None:
        return file.data
    if feed_kind == "hl7":
        messages = split_messages(file.data)
        # Framed, so that one without a header is not read as the end of the one before it.
        return framed_hl7(messages[number - 1] for number in numbers)
    if feed_kind == "fhir":
        return raw_lines(file.data, numbers)
    if feed_kind == "image_access":
        messages = split_audit(file.data)
        return framed_audit(messages[number - 1] for number in numbers)
    if feed_kind == WORKBOOK:
        return kept_workbook(file, numbers)
    column_map = column_map_of(file, contract, setup)
    if column_map is not None:
        return column_map.rows(file.data, numbers)
    return raw_rows(file.data, contract, numbers)
