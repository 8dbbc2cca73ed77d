"""One asset per feed: the deliveries of the asked-for days become landing rows and receipts."""

import time
from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipelines.defs.partitions import delivery_days, is_of_run
from pipelines.defs.resources import Pipeline
from pipelines.feeds import FEEDS, FeedKind
from pipelines.harvest import harvest_arrived
from pipelines.journal import Entry, Journal
from pipelines.sources.inbox import deliveries

OWNER = "team:imaging-analytics"


def harvest_asset(kind: FeedKind) -> dg.AssetsDefinition:
    """Build the asset of one feed; all feeds have the same shape."""

    feed_kind = kind.name

    @dg.asset(
        key=["harvest", feed_kind],
        group_name="harvest",
        description=f"{kind.description} Lands in {kind.landing_table}.",
        owners=[OWNER],
        kinds={"polars", "parquet"},
        partitions_def=delivery_days,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def feed(
        context: dg.AssetExecutionContext,
        pipeline: dg.ResourceParam[Pipeline],
        journal: dg.ResourceParam[Journal],
    ) -> dg.MaterializeResult:
        began = time.monotonic()
        days = {date.fromisoformat(key) for key in context.partition_keys}
        waiting = deliveries(pipeline.settings.inbox_dir, feed_kind)
        chosen = [delivery for delivery in waiting if is_of_run(delivery.delivered_on, days)]
        result = harvest_arrived(
            feed_kind, chosen, pipeline.setup, now=pipeline.now(), progress=journal.progress
        )
        journal.add(
            Entry(
                "harvest",
                feed_kind,
                result.files_landed + result.files_refused,
                result.rows_written,
                result.rows_rejected,
                time.monotonic() - began,
            )
        )
        counts = {k: v for k, v in result.__dict__.items() if isinstance(v, int)}
        found = {**counts, **result.tallies, "rejects": result.rejects_by_rule}
        return dg.MaterializeResult(metadata=found)

    return feed


def judged_with(kind: FeedKind) -> list[str]:
    """Feeds that the check of one feed judges: itself, and those it brings deliveries of.

    A workbook may land after the feeds of its sheets were judged. To have it land before them
    would let one refused workbook keep every one of these feeds from being harvested.
    """
    beside = [other.name for other in FEEDS.values() if other.landing_table in kind.lands_beside]
    return [kind.name, *beside]


def contract_check(kind: FeedKind) -> dg.AssetChecksDefinition:
    """Build the blocking check of one feed: no delivery stands refused by its contract."""
    feed_kind, contract = kind.name, kind.contract

    @dg.asset_check(
        asset=dg.AssetKey(["harvest", feed_kind]),
        name="contract_holds",
        blocking=True,
        description=f"Every delivery holds {contract}.odcs.yaml within its tolerances.",
    )
    def holds(
        context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
    ) -> dg.AssetCheckResult:
        standing = pipeline.standing_failures([f"contract_{name}" for name in judged_with(kind)])
        found = []
        for check, failures in standing.items():
            pipeline.record(check, failures, context.run.run_id)
            found += [failure.message for failure in failures]
        return dg.AssetCheckResult(passed=not found, metadata={"failures": found})

    return holds


def _all() -> Iterator[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    for kind in FEEDS.values():
        yield harvest_asset(kind)
        yield contract_check(kind)


@dg.definitions
def feeds() -> dg.Definitions:
    """Assets and checks of every feed."""
    found = list(_all())
    return dg.Definitions(
        assets=[item for item in found if not isinstance(item, dg.AssetChecksDefinition)],
        asset_checks=[item for item in found if isinstance(item, dg.AssetChecksDefinition)],
    )
