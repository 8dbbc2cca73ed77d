"""How long a delivered file stays in the inbox."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from pipelines.harvest.dicom import quarantined_paths
from pipelines.harvest.dicom_units import units
from pipelines.harvest.model import Setup
from pipelines.sources.archives import split_inside
from pipelines.sources.dicom_headers.read import path_of_text
from pipelines.sources.inbox import Delivery


def prune_inbox(
    waiting: Sequence[Delivery], setup: Setup, *, retention: timedelta, now: datetime
) -> list[Path]:
    """Delete delivered files whose landing is older than the retention; returns their paths.

    A file goes only when the latest receipt of its bytes says that they landed: one that came
    later under the same name stays. DICOM files whose header was rejected stay until their
    quarantine entry is closed, since quarantine keeps no pixels and so no copy of them.
    """
    source = ["feed_kind", "source_sha"]
    receipts = setup.landing.receipts().sort("landed_at").unique(source, keep="last")
    closed = {(e.feed_kind, e.source_sha) for e in setup.quarantine.entries() if e.state != "open"}
    past = receipts.filter(pl.col("landed_at") < now - retention)
    is_over = [
        row["status"] == "landed" or (row["feed_kind"], row["source_sha"]) in closed
        for row in past.iter_rows(named=True)
    ]
    landed = past.filter(pl.Series(is_over, dtype=pl.Boolean))
    old = set(landed.select(source).iter_rows())
    old_folders = set(landed["manifest_sha"].drop_nulls())
    kept = _kept(setup) if old_folders else set()
    gone: list[Path] = []
    for delivery in waiting:
        if delivery.feed_kind == "dicom":
            for unit in units(delivery):
                if unit.manifest in old_folders:
                    gone += [path_of_text(text) for text in unit.files if text not in kept]
        elif (delivery.feed_kind, delivery.identity()) in old:
            gone.append(delivery.path)
    # A folder that could not be listed is not deleted unread.
    gone = [path for path in gone if path.is_symlink() or not path.is_dir()]
    for path in gone:
        path.unlink()
    for delivery in waiting:
        if delivery.feed_kind == "dicom":
            _remove_empty(delivery.path)
    return gone


def _kept(setup: Setup) -> set[str]:
    """Files that an open quarantine entry would replay, or whose members it would."""
    paths = quarantined_paths(setup)
    return paths | {inside[0] for inside in map(split_inside, paths) if inside is not None}


def _remove_empty(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()
