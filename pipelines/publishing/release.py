"""One publication: write the file of each audience, audit it, switch the manifest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.metrics import Metric
from pipelines.problems import Problem
from pipelines.publishing import analyst
from pipelines.publishing.audiences import Audience
from pipelines.publishing.catalogue import column_rows, metric_rows, table_rows
from pipelines.publishing.disclosure import Disclosure
from pipelines.publishing.editions import Published, write_editions
from pipelines.publishing.history import (
    as_published,
    changes_of,
    publications,
    read_changes,
    read_metrics,
    remember,
)
from pipelines.publishing.pointer import Manifest, prune, read_manifest, switch
from pipelines.publishing.small_numbers import SmallNumbers, withhold
from pipelines.publishing.snapshot import (
    Build,
    as_at,
    checksum,
    read_table,
    table_counts,
    write_snapshot,
)

# Whose file holds everything: history, recomputation and tracing read it.
AUDIENCE = "demo"
# Made at publication, from the history and the warehouse: only then has the build its name.
REVISIONS = "statistics.metric_revisions"


class NotPublishable(Problem):
    """The warehouse may not be published now; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """What is published: the warehouse file and the descriptions of its tables.

    `revise` makes of the history (pipelines/publishing/history.py) the table of late changes.
    """

    warehouse: Path
    models: list[dict[str, Any]]
    statistics: list[dict[str, Any]]
    metrics: list[Metric]
    revise: Callable[[pl.DataFrame], pl.DataFrame]

    def tables(self) -> list[str]:
        """Published tables of the warehouse as `schema.name`."""
        marts = [f"{node['schema']}.{node['name']}" for node in self.models]
        found = marts + [f"statistics.{table['name']}" for table in self.statistics]
        return [name for name in found if name != REVISIONS]

    def patient_groups(self) -> dict[str, SmallNumbers]:
        """Published tables (`schema.name`) by groups of patients, and how each is read."""
        told = {f"{n['schema']}.{n['name']}": n["config"]["meta"] for n in self.models}
        told |= {f"statistics.{table['name']}": table for table in self.statistics}
        return {
            name: SmallNumbers.read(of["small_numbers"])
            for name, of in told.items()
            if "small_numbers" in of
        }


def release(
    folder: Path,
    history: Path,
    source: Source,
    *,
    stamp: dict[str, str] | None,
    gate: dict[str, Any],
    standing: Sequence[object],
    may_be_unsuppressed: bool,
    audiences: Sequence[Audience],
    network_name: str,
    is_synthetic: bool,
    keep: int,
    now: datetime,
) -> Manifest:
    """Publish a complete warehouse; the same inputs are not published twice.

    `history` is the folder of what was published before, which gains this build. `stamp` names the
    inputs of the last complete build (None while one is under way), `gate` is the composed verdict,
    `standing` what is open in the ledger now, `audiences` those who get a file, AUDIENCE among them.
    Raises NotPublishable when the build is not complete or the gate does not hold, AuditFailed when
    a copy differs or tells what its audience may not see; in each case readers keep what they have.
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
    by_name = {audience.name: audience for audience in audiences}
    if AUDIENCE not in by_name:
        raise NotPublishable(
            f"seeds/network/audiences.csv has no row for {AUDIENCE} that is in force; add one"
        )
    first = by_name.pop(AUDIENCE)
    # What a killed publication, or a release without a history, left out.
    remember(folder, history, AUDIENCE)
    current, inputs = read_manifest(folder), stamp["inputs_fingerprint"]
    if current is not None and current.inputs_fingerprint == inputs:
        return current
    build = Build(
        build_id=f"{now:%Y%m%dT%H%M%SZ}-{inputs[:8]}",
        created_at=now,
        audience=AUDIENCE,
        is_synthetic=is_synthetic,
        network_name=network_name,
        suppression=first.rule(),
    )
    revised = source.revise(_with_history(history, source.warehouse, build))
    counts = table_counts(source.warehouse, source.tables()) | {REVISIONS: revised.height}
    tables = table_rows(source.models, source.statistics, counts)
    columns = column_rows(source.models, source.statistics)
    catalogue = {
        "tables": tables,
        "columns": pl.concat([columns, analyst.query_columns()]),
        "metrics": metric_rows(source.metrics),
        "queries": analyst.query_rows(),
    }
    target = folder / f"{AUDIENCE}_{build.build_id}.duckdb"
    grouped = {
        name: withhold(read_table(source.warehouse, name), spec, least=first.least_group)
        for name, spec in source.patient_groups().items()
    }
    copied = [name for name in source.tables() if name not in grouped]
    write_snapshot(
        source.warehouse,
        target,
        copied,
        catalogue,
        build,
        {REVISIONS: revised, **grouped},
        analyst.statements(tables, columns),
    )
    published = Published(
        source.warehouse, source.tables(), {REVISIONS: revised}, catalogue, Disclosure.load()
    )
    files = {AUDIENCE: target}
    files |= write_editions(folder, target, published, list(by_name.values()), build)
    earlier = [current.build_id, *current.previous_builds] if current else []
    manifest = Manifest(
        build_id=build.build_id,
        created_at=now.isoformat(),
        inputs_fingerprint=inputs,
        audiences={one.name: _audience(one, files[one.name]) for one in audiences},
        as_at=as_at(source.warehouse),
        gate={key: gate[key] for key in ("passed", "checked_at", "checks")},
        tables=counts,
        previous_builds=earlier[: keep - 1],
        known_until=stamp.get("known_until"),
    )
    switch(folder, manifest)
    remember(folder, history, AUDIENCE)
    prune(folder, keep)
    return manifest


def _with_history(history: Path, warehouse: Path, build: Build) -> pl.DataFrame:
    """One row per change of every publication, the coming one included."""
    past = read_changes(publications(history))
    coming = changes_of(
        read_metrics(warehouse),
        as_published(past),
        build_id=build.build_id,
        published_at=build.created_at,
    )
    return pl.concat([past, coming])


def _audience(audience: Audience, target: Path) -> dict[str, Any]:
    return {
        "file": target.name,
        "sha256": checksum(target),
        "bytes": target.stat().st_size,
        "suppressed": audience.limits is not None,
        "kind": audience.kind,
        "rule": audience.rule(),
    }
