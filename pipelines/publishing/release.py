"""One publication: write the file of the audience, audit it, switch the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.metrics import Metric
from pipelines.problems import Problem
from pipelines.publishing.catalogue import column_rows, metric_rows, table_rows
from pipelines.publishing.pointer import Manifest, prune, read_manifest, switch
from pipelines.publishing.snapshot import Build, as_at, checksum, table_counts, write_snapshot

AUDIENCE = "demo"


class NotPublishable(Problem):
    """The warehouse may not be published now; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """What is published: the warehouse file and the descriptions of its tables."""

    warehouse: Path
    models: list[dict[str, Any]]
    statistics: list[dict[str, Any]]
    metrics: list[Metric]

    def tables(self) -> list[str]:
        """Published tables as `schema.name`."""
        marts = [f"{node['schema']}.{node['name']}" for node in self.models]
        return marts + [f"statistics.{table['name']}" for table in self.statistics]


def release(
    folder: Path,
    source: Source,
    *,
    stamp: dict[str, str] | None,
    gate: dict[str, Any],
    standing: Sequence[object],
    may_be_unsuppressed: bool,
    network_name: str,
    is_synthetic: bool,
    keep: int,
    now: datetime,
) -> Manifest:
    """Publish a complete warehouse; the same inputs are not published twice.

    `stamp` names the inputs of the last complete build (None while one is under way), `gate` is
    the composed verdict, `standing` what is open in the ledger now. Raises NotPublishable when the build is not complete or the gate does
    not hold, AuditFailed when the copy differs; in both cases readers keep what they have.
    """
    if stamp is None:
        raise NotPublishable("the warehouse is not completely built; run `imaging build` first")
    if standing or not gate["passed"] or not gate["checks"]:
        raise NotPublishable("the gate does not hold, see `imaging gate`; nothing was published")
    if not may_be_unsuppressed:
        raise NotPublishable(
            "the file would hold real rows without suppression, open to every reader; set "
            "IMAGING_PUBLISH_UNSUPPRESSED=true only where each of them may see every row"
        )
    current, inputs = read_manifest(folder), stamp["inputs_fingerprint"]
    if current is not None and current.inputs_fingerprint == inputs:
        return current
    build = Build(
        build_id=f"{now:%Y%m%dT%H%M%SZ}-{inputs[:8]}",
        created_at=now,
        audience=AUDIENCE,
        is_synthetic=is_synthetic,
        network_name=network_name,
        suppression="none: every row is synthetic" if is_synthetic else "none",
    )
    counts = table_counts(source.warehouse, source.tables())
    catalogue = {
        "tables": table_rows(source.models, source.statistics, counts),
        "columns": column_rows(source.models, source.statistics),
        "metrics": metric_rows(source.metrics),
    }
    target = folder / f"{AUDIENCE}_{build.build_id}.duckdb"
    write_snapshot(source.warehouse, target, source.tables(), catalogue, build)
    earlier = [current.build_id, *current.previous_builds] if current else []
    manifest = Manifest(
        build_id=build.build_id,
        created_at=now.isoformat(),
        inputs_fingerprint=inputs,
        audiences={AUDIENCE: _audience(target)},
        as_at=as_at(source.warehouse),
        gate={key: gate[key] for key in ("passed", "checked_at", "checks")},
        tables=counts,
        previous_builds=earlier[: keep - 1],
    )
    switch(folder, manifest)
    prune(folder, keep)
    return manifest


def _audience(target: Path) -> dict[str, Any]:
    return {
        "file": target.name,
        "sha256": checksum(target),
        "bytes": target.stat().st_size,
        "suppressed": False,
    }
