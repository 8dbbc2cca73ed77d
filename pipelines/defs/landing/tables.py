"""One asset per landing table: what the warehouse reads, and the check that it adds up."""

import dagster as dg

from pipelines.defs.resources import Pipeline
from pipelines.feeds import FEEDS

LEDGERS = {
    "receipts": "The ledger of the harvest: one row per source file.",
    "rejects": "Records that did not land, with the rule and the reason.",
}


def landing_asset(table: str, description: str, feeds: list[str]) -> dg.AssetsDefinition:
    """Build the asset of one landing table; it counts, the harvest has written."""

    @dg.asset(
        key=["landing", table],
        group_name="landing",
        description=description,
        owners=["team:imaging-analytics"],
        kinds={"parquet"},
        deps=[dg.AssetKey(["harvest", feed]) for feed in feeds],
    )
    def landed(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
        files = sorted((pipeline.landing.root / table).glob("*.parquet"))
        size = sum(file.stat().st_size for file in files)
        return dg.MaterializeResult(metadata={"files": len(files), "bytes": size})

    return landed


@dg.asset_check(
    asset=dg.AssetKey(["landing", "receipts"]),
    name="received_is_landed_plus_rejected",
    blocking=True,
    description="Every source file: records received = landed + rejected, each reject with a row.",
)
def reconciles(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.AssetCheckResult:
    """Compare the ledger with itself and with the rejects."""
    found = pipeline.standing_failures(["reconciliation"])["reconciliation"]
    pipeline.record("reconciliation", found, context.run.run_id)
    return dg.AssetCheckResult(
        passed=not found, metadata={"failures": [failure.message for failure in found]}
    )


@dg.asset(
    key=["landing", "inbox_retention"],
    group_name="landing",
    description="Delivered files leave the inbox some days after they have landed.",
    owners=["team:imaging-analytics"],
    kinds={"python"},
)
def inbox_retention(pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """Delete what is older than the retention; identities rest no longer than needed."""
    return dg.MaterializeResult(metadata={"deleted_files": len(pipeline.retire_landed())})


@dg.definitions
def tables() -> dg.Definitions:
    """Assets of every landing table and the reconciliation check."""
    assets = []
    for table in dict.fromkeys(name for kind in FEEDS.values() for name in kind.tables()):
        feeds = [kind.name for kind in FEEDS.values() if table in kind.tables()]
        text = f"Landing table {table}: immutable Parquet files, fed by {', '.join(feeds)}."
        assets.append(landing_asset(table, text, feeds))
    for table, text in LEDGERS.items():
        assets.append(landing_asset(table, text, list(FEEDS)))
    return dg.Definitions(assets=[*assets, inbox_retention], asset_checks=[reconciles])
