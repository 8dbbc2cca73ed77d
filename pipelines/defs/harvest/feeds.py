"""One asset per feed: the deliveries of the asked-for days become landing rows and receipts."""

import time
from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipelines.defs.partitions import delivery_days
from pipelines.defs.resources import Entry, Journal, Pipeline
from pipelines.gate import GateFailure, open_failures, record
from pipelines.harvest import CONTRACT_NAMES, LANDING_TABLES, harvest
from pipelines.sources.inbox import deliveries

OWNER = "team:imaging-analytics"
FEEDS = {
    "ris_extract": "RIS extracts: the history of exams of each party, one row per exam.",
    "hl7": "HL7 v2 messages: orders, appointments, status changes and reports as they happen.",
    "dicom": "Headers of DICOM files: what was acquired where and when; pixels are never read.",
    "rota": "Staffed scanner sessions of the coming week, per party.",
    "opening_hours": "Opening hours of the scanners.",
    "go_lives": "Go-live dates of the programme by party and type.",
    "benefit_register": "Register of the promised benefits.",
    "unit_costs": "Unit costs that value a benefit.",
}


def harvest_asset(feed_kind: str, description: str) -> dg.AssetsDefinition:
    """Build the asset of one feed; all feeds have the same shape."""

    @dg.asset(
        key=["harvest", feed_kind],
        group_name="harvest",
        description=f"{description} Lands in {LANDING_TABLES[feed_kind]}.",
        owners=[OWNER],
        kinds={"polars", "parquet"},
        partitions_def=delivery_days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="landing",
    )
    def feed(
        context: dg.AssetExecutionContext,
        pipeline: dg.ResourceParam[Pipeline],
        journal: dg.ResourceParam[Journal],
    ) -> dg.MaterializeResult:
        began = time.monotonic()
        days = {date.fromisoformat(key) for key in context.partition_keys}
        waiting = deliveries(pipeline.settings.inbox_dir, feed_kind)
        chosen = [delivery for delivery in waiting if delivery.delivered_on in days]
        result = harvest(
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
        return dg.MaterializeResult(metadata={**counts, "rejects": result.rejects_by_rule})

    return feed


def contract_check(feed_kind: str) -> dg.AssetChecksDefinition:
    """Build the blocking check of one feed: no delivery stands refused by its contract."""
    contract = CONTRACT_NAMES.get(feed_kind, feed_kind)

    @dg.asset_check(
        asset=dg.AssetKey(["harvest", feed_kind]),
        name="contract_holds",
        blocking=True,
        description=f"Every delivery holds {contract}.odcs.yaml within its tolerances.",
    )
    def holds(
        context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
    ) -> dg.AssetCheckResult:
        found = standing_failures(pipeline, feed_kind)
        settings = pipeline.settings
        record(
            settings.gate_dir,
            settings.published_dir,
            f"contract_{feed_kind}",
            found,
            now=pipeline.now(),
            run_id=context.run.run_id,
        )
        return dg.AssetCheckResult(
            passed=not found,
            metadata={"failures": [failure.message for failure in found]},
        )

    return holds


def standing_failures(pipeline: Pipeline, feed_kind: str) -> list[GateFailure]:
    """Refused deliveries of one feed that are still open."""
    receipts = pipeline.landing.receipts()
    mine = receipts.filter(receipts["feed_kind"] == feed_kind)
    return open_failures(mine, pipeline.setup.quarantine.entries(), pipeline.inbound_contracts)


def _all() -> Iterator[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    for feed_kind, description in FEEDS.items():
        yield harvest_asset(feed_kind, description)
        yield contract_check(feed_kind)


@dg.definitions
def feeds() -> dg.Definitions:
    """Assets and checks of every feed."""
    found = list(_all())
    return dg.Definitions(
        assets=[item for item in found if not isinstance(item, dg.AssetChecksDefinition)],
        asset_checks=[item for item in found if isinstance(item, dg.AssetChecksDefinition)],
    )
