"""Harvest: deliveries of one feed kind become landing rows, rejects and receipts.

read -> validate against the contract -> judge file by file -> pseudonymise -> land. Running it
again over the same deliveries changes nothing: a source file is known by the hash of its bytes.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from pipelines.contracts import Contract
from pipelines.durable import write_bytes
from pipelines.landing.keys import Keys
from pipelines.landing.pseudonymise import (
    pseudonymise_events,
    pseudonymise_headers,
)
from pipelines.landing.quarantine import Entry, Quarantine, entry_for
from pipelines.landing.schema import landing_schema
from pipelines.landing.writer import PARSER_VERSION, LandingStore
from pipelines.network import Network
from pipelines.quality.batches import judge
from pipelines.quality.suites import VIOLATION_SCHEMA, violations
from pipelines.sources.dicom_headers import acquisition_starts, read_headers
from pipelines.sources.extract_tables import Refused, raw_rows, read_table
from pipelines.sources.hl7 import (
    events_from_messages,
    read_event_map,
    read_messages,
    split_messages,
)
from pipelines.sources.inbox import Delivery, fingerprint, is_in_transfer
from pipelines.sources.ris_extracts import ColumnMap, events_from_extract

ZONE = "Europe/London"
Progress = Callable[[str, int, int], None]
LANDING_TABLES = {
    "ris_extract": "imaging_events",
    "hl7": "imaging_events",
    "dicom": "dicom_headers",
    "rota": "rota_sessions",
    "opening_hours": "opening_hours",
    "go_lives": "go_lives",
    "benefit_register": "benefit_register",
    "unit_costs": "unit_costs",
}
CONTRACT_NAMES = {"hl7": "hl7_messages", "dicom": "dicom_files"}


@dataclass(frozen=True)
class Setup:
    """What every harvest needs: the network, the contracts, where to land, and the keys."""

    network: Network
    inbound: dict[str, Contract]
    landing: LandingStore
    quarantine: Quarantine
    keys: Keys
    known_descriptions: frozenset[str] = frozenset()
    workers: int = 2


@dataclass(frozen=True)
class Failure:
    """A file that was refused whole: which contract, which rule, how many records, what next."""

    contract: str
    rule: str
    file_name: str
    count: int
    message: str


@dataclass(frozen=True)
class HarvestResult:
    """Counts of one harvest; received = landed + rejected, in records of the source.

    `quarantined` are the ids of the quarantine entries that hold what did not land.
    """

    feed_kind: str
    files_seen: int = 0
    files_known: int = 0
    files_landed: int = 0
    files_refused: int = 0
    rows_received: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    rows_written: int = 0
    failures: tuple[Failure, ...] = ()
    quarantined: tuple[str, ...] = ()
    rejects_by_rule: dict[str, int] = field(default_factory=dict)


@dataclass
class _File:
    """One source file on its way: what it is, and what became of its records."""

    delivery: Delivery
    sha: str
    feed_id: str
    issuer: str | None
    data: bytes = b""
    received: int = 0
    refused: Refused | None = None
    refused_count: int = 0
    replay_of: str | None = None
    manifest: str | None = None
    paths: dict[int, str] = field(default_factory=dict)
    record_shas: dict[int, str] = field(default_factory=dict)


@dataclass
class _Batch:
    """Records of several files of one feed kind, and what reading already rejected."""

    records: pl.DataFrame
    rejected: pl.DataFrame
    landing_rows: Callable[[pl.DataFrame], pl.DataFrame]


def harvest(
    feed_kind: str,
    deliveries: Sequence[Delivery],
    setup: Setup,
    *,
    now: datetime,
    progress: Progress | None = None,
    replay_of: str | None = None,
    is_selection: bool = False,
) -> HarvestResult:
    """Land the deliveries of one feed kind that are not yet known.

    `now` is the landing time (UTC). `is_selection`: the records are rejected ones of a file that
    was judged before, so they are rejected again but never refused as a file. Raises nothing on content: broken records are rejected,
    broken files refused, both with rule and reason, and kept encrypted for replay.
    """
    tell = progress or (lambda *_: None)
    setup.landing.prepare()
    if feed_kind == "dicom":
        files, batch, known = _read_dicom(deliveries, setup, tell, replay_of)
    else:
        files, known = _open_files(feed_kind, deliveries, setup, replay_of)
        batch = _read(feed_kind, files, setup, tell) if files else None
    if batch is None or not files:
        return HarvestResult(feed_kind, files_seen=len(deliveries), files_known=known)
    contract = _contract(feed_kind, setup)
    broken = pl.concat([batch.rejected, violations(batch.records, contract)])
    verdict = judge(broken, {file.sha: file.received for file in files}, contract)
    by_sha = {file.sha: file for file in files}
    for sha, rule, count, rows in verdict.refused.iter_rows():
        if by_sha[sha].refused is None and not is_selection:
            detail = f"{rule}: {count} of {rows} records; the contract tolerates fewer"
            by_sha[sha].refused = Refused(rule, detail)
            by_sha[sha].refused_count = count
    landed = _land(feed_kind, files, batch, verdict.rejected, setup, now, tell)
    return _account(feed_kind, files, verdict.rejected, landed, setup, now, len(deliveries), known)


def _contract(feed_kind: str, setup: Setup) -> Contract:
    return setup.inbound[CONTRACT_NAMES.get(feed_kind, feed_kind)]


def _open_files(
    feed_kind: str, deliveries: Sequence[Delivery], setup: Setup, replay_of: str | None
) -> tuple[list[_File], int]:
    """Files whose bytes are new, and how many were known already."""
    known = _known_hashes(feed_kind, setup) if replay_of is None else set()
    files: dict[str, _File] = {}
    seen = 0
    for delivery in deliveries:
        data = delivery.path.read_bytes()
        sha = fingerprint(data)
        if sha in known or sha in files:
            seen += 1
            continue
        feed_id, issuer = feed_of(delivery, setup.network)
        file = _File(delivery, sha, feed_id or feed_kind, issuer, data, replay_of=replay_of)
        if feed_id is None:
            file.refused = _unregistered(delivery)
        files[sha] = file
    return list(files.values()), seen


def _unregistered(delivery: Delivery) -> Refused:
    return Refused(
        "feed_is_registered",
        f"no feed of seeds/network/feeds.csv matches the name {delivery.name}; add the "
        f"feed or rename the file to hold its party code",
    )


def _known_hashes(feed_kind: str, setup: Setup) -> set[str]:
    """Hashes that need no second look: landed, or refused by this version of the reader."""
    receipts = setup.landing.receipts().filter(
        (pl.col("feed_kind") == feed_kind) & (pl.col("parser_version") == PARSER_VERSION)
    )
    return set(receipts["source_sha"])


def feed_of(delivery: Delivery, network: Network) -> tuple[str | None, str | None]:
    """Feed id and issuer of a delivery, by the party code in its name; (None, None) if unknown."""
    words = set(re.split(r"[_.\-]", delivery.name))
    for feed in network.feeds.iter_rows(named=True):
        kind, party = feed["feed_id"], feed["party_code"]
        if party is None and kind == delivery.feed_kind:
            return kind, None
        if party in words and kind == f"{delivery.feed_kind}_{party}":
            return kind, feed["issuer_ods"]
    return None, None


def _read(feed_kind: str, files: list[_File], setup: Setup, tell: Progress) -> _Batch:
    return (_read_hl7 if feed_kind == "hl7" else _read_tables)(feed_kind, files, setup, tell)


def _empty_rejects() -> pl.DataFrame:
    return pl.DataFrame(schema=VIOLATION_SCHEMA)


def _latest_allowed(files: list[_File], contract: Contract) -> pl.DataFrame:
    """One row per file: `source_sha`, `feed_id`, `issuer_ods`, `received_at`, `latest_allowed`."""
    tolerance = timedelta(days=float(contract.settings.get("futureToleranceDays", 36_500)))
    rows = [
        (f.sha, f.feed_id, f.issuer, received, received + tolerance)
        for f in files
        for received in (f.delivery.received_at(ZONE),)
    ]
    instant = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        rows,
        schema={
            "source_sha": pl.String,
            "feed_id": pl.String,
            "issuer_ods": pl.String,
            "received_at": instant,
            "latest_allowed": instant,
        },
        orient="row",
    )


def _read_tables(feed_kind: str, files: list[_File], setup: Setup, tell: Progress) -> _Batch:
    contract = _contract(feed_kind, setup)
    frames = []
    for number, file in enumerate(files, start=1):
        table = file.refused or read_table(file.data, contract, ZONE)
        if isinstance(table, Refused):
            file.refused = table
            file.received = max(len(file.data.splitlines()) - 1, 0)
        else:
            file.received = len(table)
            frames.append(table.with_columns(source_sha=pl.lit(file.sha)))
        tell(f"read {feed_kind}", number, len(files))
    records = (
        pl.concat(frames)
        if frames
        else pl.DataFrame(schema={"source_sha": pl.String, "row_no": pl.Int64})
    )
    records = records.join(_latest_allowed(files, contract), on="source_sha", how="left")

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        if feed_kind == "ris_extract":
            return _landed_events(events_from_extract(accepted, ColumnMap.load()), files, setup)
        return _landed_reference(accepted, LANDING_TABLES[feed_kind], setup)

    return _Batch(records, _empty_rejects(), landing_rows)


def _landed_reference(accepted: pl.DataFrame, table: str, setup: Setup) -> pl.DataFrame:
    """Landing rows of a table feed: `<column>_utc` and `<column>_local` where it is a timestamp."""
    wanted = landing_schema(setup.landing.tables[table])
    have = set(accepted.columns)
    columns = []
    for name in wanted:
        base = name.removesuffix("_utc").removesuffix("_local")
        if name in have:
            columns.append(pl.col(name))
        elif name.endswith("_utc") and base in have:
            columns.append(pl.col(base).alias(name))
        elif name.endswith("_local") and base in have:
            columns.append(pl.col(f"{base}__local").alias(name))
    return accepted.select(columns)


def _landed_events(events: pl.DataFrame, files: list[_File], setup: Setup) -> pl.DataFrame:
    landed = pseudonymise_events(
        events, setup.keys, setup.network.postcode_deprivation, setup.network.event_ranks()
    )
    received = {file.sha: file.delivery.received_at(ZONE) for file in files}
    return landed.with_columns(
        received_at=landed["source_sha"].replace_strict(
            received, return_dtype=pl.Datetime("us", "UTC")
        )
    )


def _read_hl7(feed_kind: str, files: list[_File], setup: Setup, tell: Progress) -> _Batch:
    contract = _contract(feed_kind, setup)
    frames, rejects = [], []
    for number, file in enumerate(files, start=1):
        messages = read_messages(file.data, feed=file.feed_id)
        sha = pl.lit(file.sha).alias("source_sha")
        file.received = messages.rows["message_no"].n_unique() + len(messages.rejected)
        frames.append(messages.rows.with_columns(sha))
        rejects.append(
            messages.rejected.select(
                sha,
                pl.col("message_no").alias("row_no"),
                "rule",
                pl.col("detail").alias("reason"),
                pl.lit("").alias("column_name"),
            )
        )
        tell("read hl7", number, len(files))
    rows = pl.concat(frames).with_columns(row_no=pl.col("message_no"))
    issuers = setup.network.feeds.filter(pl.col("sending_facility").is_not_null())
    issuers = issuers.select("sending_facility", pl.col("issuer_ods").alias("issuer"))
    # Two feeds of one sender (live and replay) must not make two rows of its messages.
    issuers = issuers.unique("sending_facility", keep="first", maintain_order=True)
    rows = rows.join(_latest_allowed(files, contract), on="source_sha", how="left").drop(
        "issuer_ods"
    )
    rows = rows.join(issuers, on="sending_facility", how="left").rename({"issuer": "issuer_ods"})
    events = events_from_messages(rows, read_event_map(), ZONE)
    spans = events.group_by("source_sha", "message_id", "obr_set").agg(
        event_count=pl.len().cast(pl.Int64),
        untimed_count=pl.col("event_ts_utc").null_count().cast(pl.Int64),
        first_event_at=pl.col("event_ts_utc").min(),
        last_event_at=pl.col("event_ts_utc").max(),
    )
    keys = ["source_sha", "message_no", "obr_set"]
    records = rows.join(
        spans.rename({"message_id": "message_no"}), on=keys, how="left", maintain_order="left"
    ).with_columns(pl.col("event_count", "untimed_count").fill_null(0))

    def landing_rows(accepted: pl.DataFrame) -> pl.DataFrame:
        wanted = accepted.select("source_sha", pl.col("message_no").alias("message_id"), "obr_set")
        kept = events.join(wanted, on=["source_sha", "message_id", "obr_set"], how="semi")
        return _landed_events(kept, files, setup)

    return _Batch(records, pl.concat(rejects), landing_rows)


def _read_dicom(
    deliveries: Sequence[Delivery], setup: Setup, tell: Progress, replay_of: str | None
) -> tuple[list[_File], _Batch, int]:
    """Read the DICOM folders whose listing is new; drop the files whose header is known."""
    manifests = {d.path: _manifest(d.path) for d in deliveries}
    seen = set(setup.landing.receipts()["manifest_sha"].drop_nulls())
    fresh = [d for d in deliveries if replay_of or manifests[d.path] not in seen]
    if not fresh:
        return [], _Batch(pl.DataFrame(), _empty_rejects(), lambda frame: frame), len(deliveries)
    total = sum(1 for d in fresh for p in d.path.rglob("*") if p.is_file())
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell("read dicom", done, total)

    headers = read_headers([d.path for d in fresh], workers=setup.workers, progress=advance)
    known = _known_headers(setup, with_rejects=replay_of is None)
    copies_dropped = headers.accepted.unique("content_sha", keep="first", maintain_order=True)
    accepted = _new_headers(copies_dropped, known)
    rejected = _new_headers(headers.rejected, known)
    contract = _contract("dicom", setup)
    files, frames, rejects = [], [], []
    for delivery in fresh:
        file, mine, bad = _dicom_unit(delivery, accepted, rejected, manifests[delivery.path], setup)
        file.replay_of = replay_of
        files.append(file)
        frames.append(mine)
        rejects.append(bad)
    records = pl.concat(frames).join(_latest_allowed(files, contract), on="source_sha", how="left")
    records = records.hstack(acquisition_starts(records, ZONE).get_columns())

    def landing_rows(good: pl.DataFrame) -> pl.DataFrame:
        starts = good.select(STARTS)
        parts = []
        for (issuer,), rows in good.with_columns(index=pl.int_range(pl.len())).group_by(
            "issuer_ods", maintain_order=True
        ):
            parts.append(
                pseudonymise_headers(
                    rows.drop(STARTS),
                    starts[rows["index"]],
                    setup.keys,
                    set(setup.known_descriptions),
                    issuer,
                )
            )
        return pl.concat(parts)

    return files, _Batch(records, pl.concat(rejects), landing_rows), len(deliveries) - len(fresh)


STARTS = [
    "start_raw",
    "start_local",
    "start_utc",
    "start_rung",
    "ts_precision",
    "tz_source",
    "ts_flag",
]


def _dicom_unit(
    delivery: Delivery,
    accepted: pl.DataFrame,
    rejected: pl.DataFrame,
    manifest: str,
    setup: Setup,
) -> tuple[_File, pl.DataFrame, pl.DataFrame]:
    inside = pl.col("path").str.starts_with(f"{delivery.path}/") | (
        pl.col("path") == str(delivery.path)
    )
    mine, bad = accepted.filter(inside), rejected.filter(inside)
    digests = sorted(mine["content_sha"].to_list() + bad["content_sha"].to_list())
    sha = hashlib.sha256(b"".join(digests) or manifest.encode()).hexdigest()
    feed_id, issuer = _dicom_feed(delivery, setup.network)
    file = _File(delivery, sha, feed_id or "dicom", issuer, manifest=manifest)
    if feed_id is None and delivery.path.parent.name == delivery.delivered_on.isoformat():
        # Patients would be hashed without their issuer. A folder given by hand has no feed.
        file.refused = _unregistered(delivery)
    file.received = len(mine) + len(bad)
    order = {path: n for n, path in enumerate(sorted([*mine["path"], *bad["path"]]), start=1)}
    number = pl.col("path").replace_strict(order, return_dtype=pl.Int64)
    file.paths = {row_no: path for path, row_no in order.items()}
    both = pl.concat([mine.select("path", "content_sha"), bad.select("path", "content_sha")])
    file.record_shas = {order[path]: digest.hex() for path, digest in both.iter_rows()}
    rejects = bad.select(
        pl.lit(sha).alias("source_sha"),
        number.alias("row_no") if len(bad) else pl.lit(0, pl.Int64).alias("row_no"),
        pl.lit("header_is_readable").alias("rule"),
        "reason",
        pl.lit("").alias("column_name"),
    )
    rows = mine.with_columns(
        source_sha=pl.lit(sha),
        row_no=number if len(mine) else pl.lit(0, pl.Int64),
    )
    return file, rows, rejects


def _dicom_feed(delivery: Delivery, network: Network) -> tuple[str | None, str | None]:
    """Feed of a folder by its name; of a single file by the nearest folder that names a party."""
    folders = [] if delivery.path.is_dir() else list(delivery.path.parents)
    for path in (delivery.path, *folders):
        feed_id, issuer = feed_of(Delivery("dicom", path, delivery.delivered_on), network)
        if feed_id is not None:
            return feed_id, issuer
    return None, None


def _new_headers(frame: pl.DataFrame, known: set[bytes]) -> pl.DataFrame:
    """Drop the files whose header an earlier harvest has seen."""
    return frame.filter(
        pl.Series([sha not in known for sha in frame["content_sha"]], dtype=pl.Boolean)
    )


def _known_headers(setup: Setup, *, with_rejects: bool) -> set[bytes]:
    landed = setup.landing.root / "dicom_headers"
    files = sorted(landed.glob("*.parquet"))
    known = set(pl.read_parquet(files, columns=["content_sha"])["content_sha"]) if files else set()
    if not with_rejects:
        return known
    rejects = setup.landing.read("rejects")["record_sha"].drop_nulls()
    return known | {bytes.fromhex(sha) for sha in rejects}


def _manifest(folder: Path) -> str:
    """Digest of names, sizes and times below a folder: equal when nothing was added or changed."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    lines = [
        f"{path}|{stat.st_size}|{stat.st_mtime_ns}"
        for path in paths
        if path.is_file() and not is_in_transfer(path)
        for stat in (path.stat(),)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _land(
    feed_kind: str,
    files: list[_File],
    batch: _Batch,
    rejected: pl.DataFrame,
    setup: Setup,
    now: datetime,
    tell: Progress,
) -> dict[str, int]:
    """Write the landing files of the accepted records; rows written per source hash."""
    refused = [file.sha for file in files if file.refused is not None]
    accepted = batch.records.filter(~pl.col("source_sha").is_in(refused)).join(
        rejected.select("source_sha", "row_no"),
        on=["source_sha", "row_no"],
        how="anti",
        maintain_order="left",
    )
    if accepted.is_empty():
        return {}
    rows = batch.landing_rows(accepted).with_columns(
        landed_at=pl.lit(now).cast(pl.Datetime("us", "UTC"))
    )
    written = {}
    parts = rows.partition_by("source_sha", as_dict=True)
    for number, ((sha,), part) in enumerate(parts.items(), start=1):
        setup.landing.write(LANDING_TABLES[feed_kind], str(sha), part)
        written[str(sha)] = len(part)
        tell(f"land {feed_kind}", number, len(parts))
    return written


def _account(
    feed_kind: str,
    files: list[_File],
    rejected: pl.DataFrame,
    written: dict[str, int],
    setup: Setup,
    now: datetime,
    seen: int,
    known: int,
) -> HarvestResult:
    """Quarantine what did not land, then write rejects, then receipts: the commit."""
    rejects, receipts, failures, kept = [], [], [], []
    contract = _contract(feed_kind, setup)
    for file in files:
        mine = rejected.filter(pl.col("source_sha") == file.sha)
        count = file.received if file.refused else len(mine)
        rejects += _reject_rows(feed_kind, file, mine)
        receipts.append(_receipt(feed_kind, file, count, written.get(file.sha, 0)))
        if file.refused is not None:
            failures.append(_failure(contract, file))
        if file.refused is not None or len(mine):
            entry = _entry(feed_kind, file, mine)
            setup.quarantine.keep(entry, _kept(feed_kind, file, mine, contract))
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
        files_seen=seen,
        files_known=known,
        files_landed=sum(file.refused is None for file in files),
        files_refused=len(failures),
        rows_received=sum(row["rows_received"] for row in receipts),
        rows_landed=sum(row["rows_landed"] for row in receipts),
        rows_rejected=sum(row["rows_rejected"] for row in receipts),
        rows_written=sum(row["rows_written"] for row in receipts),
        failures=tuple(failures),
        quarantined=tuple(kept),
        rejects_by_rule=dict(sorted(Counter(str(row["rule"]) for row in rejects).items())),
    )


def _reject_rows(feed_kind: str, file: _File, mine: pl.DataFrame) -> list[dict[str, object]]:
    common = {
        "feed_id": file.feed_id,
        "feed_kind": feed_kind,
        "file_name": file.delivery.name,
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


def _receipt(feed_kind: str, file: _File, rejected: int, written: int) -> dict[str, object]:
    return {
        "feed_id": file.feed_id,
        "feed_kind": feed_kind,
        "file_name": file.delivery.name,
        "source_sha": file.sha,
        "delivered_on": file.delivery.delivered_on,
        "received_at": file.delivery.received_at(ZONE),
        "parser_version": PARSER_VERSION,
        "landing_table": LANDING_TABLES[feed_kind],
        "rows_received": file.received,
        "rows_landed": file.received - rejected,
        "rows_rejected": rejected,
        "rows_written": written,
        "status": "quarantined" if file.refused else "landed",
        "failed_rule": file.refused.rule if file.refused else None,
        "detail": file.refused.detail if file.refused else None,
        "replay_of": file.replay_of,
        "manifest_sha": file.manifest,
    }


def _failure(contract: Contract, file: _File) -> Failure:
    refused = file.refused or Refused("", "")
    return Failure(
        contract=contract.name,
        rule=refused.rule,
        file_name=file.delivery.name,
        count=file.refused_count or file.received,
        message=f"{contract.name} {file.delivery.name}: {refused.detail}; mend and deliver the "
        f"file again, or replay it with `imaging harvest {file.delivery.feed_kind} --replay`; "
        f"contract {contract.path.name}",
    )


def _entry(feed_kind: str, file: _File, mine: pl.DataFrame) -> Entry:
    whole = file.refused is not None
    return entry_for(
        feed_kind,
        file.delivery.name,
        file.sha,
        file.delivery.delivered_on,
        scope="file" if whole else "row",
        rule=file.refused.rule if file.refused else str(mine["rule"][0]),
        record_count=file.received if whole else len(mine),
    )


def _kept(feed_kind: str, file: _File, mine: pl.DataFrame, contract: Contract) -> bytes:
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
        return b"".join(b"\x0b" + messages[number - 1] + b"\x1c\r" for number in numbers)
    return raw_rows(file.data, contract, numbers)


def unseen(feed_kind: str, waiting: Sequence[Delivery], setup: Setup) -> list[Delivery]:
    """Deliveries that a harvest would look into; reads files, parses nothing."""
    if feed_kind == "dicom":
        seen = set(setup.landing.receipts()["manifest_sha"].drop_nulls())
        return [d for d in waiting if _manifest(d.path) not in seen]
    known = _known_hashes(feed_kind, setup)
    return [d for d in waiting if fingerprint(d.path.read_bytes()) not in known]


def dicom_delivery(folder: Path, day: date) -> Delivery:
    """A folder given by hand (`imaging harvest dicom DIR`) as a delivery of that day."""
    return Delivery("dicom", folder.resolve(), day)


def replay(entry: Entry, setup: Setup, folder: Path, *, now: datetime) -> HarvestResult:
    """Harvest the records of a quarantine entry again; closes the entry when they have left it.

    Records that are rejected once more stay in quarantine: in an entry of their own, or in this
    one, which then stays open. `folder` is a private scratch folder, where the decrypted records
    rest only for the reading.
    """
    payload = setup.quarantine.payload(entry)
    day = date.fromisoformat(entry.delivered_on)
    scratch = folder / entry.file_name
    if entry.feed_kind == "dicom":
        waiting = _dicom_replay(entry, [Path(path) for path in json.loads(payload)], day)
    else:
        write_bytes(payload, scratch, mode=0o600)
        waiting = [Delivery(entry.feed_kind, scratch, day)]
    try:
        result = harvest(
            entry.feed_kind,
            waiting,
            setup,
            now=now,
            replay_of=entry.source_sha,
            is_selection=entry.scope == "row",
        )
    finally:
        scratch.unlink(missing_ok=True)
    if not result.files_refused and entry.entry_id not in result.quarantined:
        note = f"{result.rows_landed} records landed, {result.rows_rejected} rejected again"
        setup.quarantine.close(entry, "replayed", note)
    return result


def _dicom_replay(entry: Entry, paths: list[Path], day: date) -> list[Delivery]:
    """A refused folder as the one delivery it was; rejected files one by one."""
    if entry.scope == "file":
        named = (next(p for p in path.parents if p.name == entry.file_name) for path in paths)
        return [dicom_delivery(folder, day) for folder in dict.fromkeys(named)]
    return [dicom_delivery(path, day) for path in paths]


def prune_inbox(
    waiting: Sequence[Delivery], setup: Setup, *, retention: timedelta, now: datetime
) -> list[Path]:
    """Delete delivered files whose landing is older than the retention; returns their paths.

    A file goes only when the latest receipt of its bytes says that they landed: one that came
    later under the same name stays. DICOM files whose header was rejected stay until their
    quarantine entry is closed, since quarantine keeps no pixels and so no copy of them.
    """
    receipts = setup.landing.receipts().sort("landed_at").unique("source_sha", keep="last")
    landed = receipts.filter(
        (pl.col("status") == "landed") & (pl.col("landed_at") < now - retention)
    )
    old, old_folders = set(landed["source_sha"]), set(landed["manifest_sha"].drop_nulls())
    kept = _quarantined_paths(setup) if old_folders else set()
    gone: list[Path] = []
    for delivery in waiting:
        if delivery.feed_kind == "dicom":
            if _manifest(delivery.path) in old_folders:
                gone += [path for path in _files_below(delivery.path) if str(path) not in kept]
        elif fingerprint(delivery.path.read_bytes()) in old:
            gone.append(delivery.path)
    for path in gone:
        path.unlink()
    return gone


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _quarantined_paths(setup: Setup) -> set[str]:
    """Paths of DICOM files that an open quarantine entry would replay."""
    entries = setup.quarantine.entries(state="open")
    payloads = [setup.quarantine.payload(e) for e in entries if e.feed_kind == "dicom"]
    return {path for payload in payloads for path in json.loads(payload)}
