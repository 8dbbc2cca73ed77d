"""One asset per landing table: what the warehouse reads, and the check that it adds up."""

import dagster as dg

from pipelines.defs.resources import Pipeline
from pipelines.gate import reconciliation_failures, record
from pipelines.harvest import LANDING_TABLES

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
    landing, settings = pipeline.landing, pipeline.settings
    found = reconciliation_failures(landing.receipts(), landing.read("rejects"))
    record(
        settings.gate_dir,
        settings.published_dir,
        "reconciliation",
        found,
        now=pipeline.now(),
        run_id=context.run.run_id,
    )
    return dg.AssetCheckResult(
        passed=not found, metadata={"failures": [failure.message for failure in found]}
    )


@dg.definitions
def tables() -> dg.Definitions:
    """Assets of every landing table and the reconciliation check."""
    assets = []
    for table in dict.fromkeys(LANDING_TABLES.values()):
        feeds = [feed for feed, target in LANDING_TABLES.items() if target == table]
        text = f"Landing table {table}: immutable Parquet files, fed by {', '.join(feeds)}."
        assets.append(landing_asset(table, text, feeds))
    for table, text in LEDGERS.items():
        assets.append(landing_asset(table, text, list(LANDING_TABLES)))
    return dg.Definitions(assets=assets, asset_checks=[reconciles])
