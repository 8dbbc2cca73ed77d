"""The DICOM feed: folders of files to header rows."""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from pipelines.harvest.model import Batch, Progress, Setup, SourceFile, contract_of, empty_rejects
from pipelines.harvest.opening import feed_of, latest_allowed, unregistered
from pipelines.landing.pseudonymise import pseudonymise_headers, pseudonymise_path
from pipelines.network import Network
from pipelines.sources.dicom_headers import acquisition_starts, read_headers
from pipelines.sources.inbox import Delivery, is_in_transfer

STARTS = [
    "start_raw",
    "start_local",
    "start_utc",
    "start_rung",
    "ts_precision",
    "tz_source",
    "ts_flag",
]


def read_dicom(
    deliveries: Sequence[Delivery], setup: Setup, tell: Progress, replay_of: str | None
) -> tuple[list[SourceFile], Batch, int]:
    """Read the DICOM folders whose listing is new; drop the files whose header is known."""
    manifests = {d.path: manifest_of(d.path) for d in deliveries}
    fresh = list(deliveries) if replay_of else unseen_folders(deliveries, setup)
    if not fresh:
        return [], Batch(pl.DataFrame(), empty_rejects(), lambda frame: frame), len(deliveries)
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
    contract = contract_of("dicom", setup)
    files, frames, rejects = [], [], []
    for delivery in fresh:
        file, mine, bad = _dicom_unit(delivery, accepted, rejected, manifests[delivery.path], setup)
        file.replay_of = replay_of
        files.append(file)
        frames.append(mine)
        rejects.append(bad)
    zone = setup.network.time_zone
    allowed = latest_allowed(files, contract, zone)
    records = pl.concat(frames).join(allowed, on="source_sha", how="left")
    records = records.hstack(acquisition_starts(records, zone).get_columns())

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

    return files, Batch(records, pl.concat(rejects), landing_rows), len(deliveries) - len(fresh)


def unseen_folders(deliveries: Sequence[Delivery], setup: Setup) -> list[Delivery]:
    """Folders whose listing no receipt speaks of; reads no file.

    A folder in which retention has left nothing but quarantined files is not new.
    """
    seen = set(setup.landing.receipts()["manifest_sha"].drop_nulls())
    fresh = [d for d in deliveries if manifest_of(d.path) not in seen]
    kept = quarantined_paths(setup) if fresh else set()
    return [d for d in fresh if not {str(path) for path in files_below(d.path)} <= kept]


def files_below(path: Path) -> list[Path]:
    """All files of a delivery, sorted, those still in transfer left out."""
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [p for p in paths if p.is_file() and not is_in_transfer(p)]


def quarantined_paths(setup: Setup) -> set[str]:
    """Paths of DICOM files that an open quarantine entry would replay."""
    entries = setup.quarantine.entries(state="open")
    payloads = [setup.quarantine.payload(e) for e in entries if e.feed_kind == "dicom"]
    return {path for payload in payloads for path in json.loads(payload)}


def _dicom_unit(
    delivery: Delivery,
    accepted: pl.DataFrame,
    rejected: pl.DataFrame,
    manifest: str,
    setup: Setup,
) -> tuple[SourceFile, pl.DataFrame, pl.DataFrame]:
    inside = pl.col("path").str.starts_with(f"{delivery.path}/") | (
        pl.col("path") == str(delivery.path)
    )
    mine, bad = accepted.filter(inside), rejected.filter(inside)
    digests = sorted(mine["content_sha"].to_list() + bad["content_sha"].to_list())
    sha = hashlib.sha256(b"".join(digests) or manifest.encode()).hexdigest()
    feed_id, issuer = _dicom_feed(delivery, setup.network)
    name = public_name(delivery, setup)
    file = SourceFile(delivery, name, sha, feed_id or "dicom", issuer, manifest=manifest)
    if feed_id is None and delivery.path.parent.name == delivery.delivered_on.isoformat():
        # Patients would be hashed without their issuer. A folder given by hand has no feed.
        file.refused = unregistered(delivery)
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
    """Headers that a receipt speaks of; what a killed harvest left without one is read again."""
    receipts = setup.landing.receipts().select("source_sha")
    files = sorted((setup.landing.root / "dicom_headers").glob("*.parquet"))
    known: set[bytes] = set()
    if files:
        landed = pl.read_parquet(files, columns=["content_sha", "source_sha"])
        known = set(landed.join(receipts, on="source_sha", how="semi")["content_sha"])
    if not with_rejects:
        return known
    rejects = setup.landing.read("rejects").join(receipts, on="source_sha", how="semi")
    return known | {bytes.fromhex(sha) for sha in rejects["record_sha"].drop_nulls()}


def public_name(delivery: Delivery, setup: Setup) -> str:
    """Name for receipts: the party's folder, else a keyed hash, since paths can name a patient."""
    if delivery.path.is_dir() and feed_of(delivery, setup.network)[0] is not None:
        return delivery.name
    return pseudonymise_path(str(delivery.path), setup.keys)


def manifest_of(folder: Path) -> str:
    """Digest of names, sizes and times below a folder: equal when nothing was added or changed.

    Names count from the delivery day's folder on, so that a home may be moved or restored.
    """
    base = folder.parent.parent
    stats = ((path.relative_to(base), path.stat()) for path in files_below(folder))
    lines = [f"{name}|{stat.st_size}|{stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def dicom_delivery(folder: Path, day: date) -> Delivery:
    """A folder given by hand (`imaging harvest dicom DIR`) as a delivery of that day."""
    return Delivery("dicom", folder.resolve(), day)
