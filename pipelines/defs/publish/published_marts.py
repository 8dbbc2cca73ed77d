"""Publish: the versioned file of each audience, and the manifest that makes them current."""

import time

import dagster as dg

from pipelines.defs.resources import Pipeline
from pipelines.gate import composed
from pipelines.journal import Entry, Journal
from pipelines.metrics import read_registry
from pipelines.publishing.audiences import read_audiences
from pipelines.publishing.catalogue import public_models
from pipelines.publishing.release import Source, release
from pipelines.settings import Settings
from pipelines.statistics.revisions import revisions
from pipelines.statistics.tables import STATISTICS_TABLES
from pipelines.warehouse import manifest_path, read_stamp


@dg.asset(
    key=["publish", "published_marts"],
    group_name="publish",
    description="The read-only file of each audience, and the manifest that makes them current.",
    owners=["team:imaging-analytics"],
    kinds={"duckdb"},
    deps=[dg.AssetKey(["gate", "warehouse_audit"])],
)
def published_marts(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> dg.MaterializeResult:
    """Publish the complete warehouse unless the same inputs are published already."""
    began, settings, now = time.monotonic(), pipeline.settings, pipeline.now()
    manifest = release(
        settings.published_dir,
        settings.history_dir,
        published_tables(settings),
        stamp=read_stamp(settings.build_stamp),
        gate=composed(settings.gate_dir),
        standing=[f for found in pipeline.standing_failures().values() for f in found],
        may_be_unsuppressed=settings.holds_synthetic_data or settings.publish_unsuppressed,
        audiences=read_audiences(pipeline.network.audiences, now.date()),
        network_name=pipeline.setup.network.name,
        is_synthetic=settings.holds_synthetic_data,
        keep=settings.keep_builds,
        now=now,
    )
    # One build more is kept, and perhaps one less.
    pipeline.tell_custody()
    rows = sum(manifest.tables.values())
    journal.add(Entry("publish", manifest.build_id, 1, rows, seconds=time.monotonic() - began))
    return dg.MaterializeResult(metadata={"build_id": manifest.build_id, "rows": rows})


def published_tables(settings: Settings) -> Source:
    """The warehouse file and what describes its public tables."""
    dbt = manifest_path(settings.dbt_project)
    return Source(
        settings.warehouse_file,
        public_models(dbt),
        STATISTICS_TABLES,
        read_registry(dbt),
        revisions,
    )
