"""Checks of the readers of DICOM headers: they agree with pydicom, and seldom need it."""

import dagster as dg

from pipelines.defs.resources import Pipeline
from pipelines.harvest.dicom import reader_counts

DICOM = dg.AssetKey(["harvest", "dicom"])
# The share of a handful of files says nothing.
FEWEST = 20


@dg.asset_check(
    asset=DICOM,
    name="pydicom_reads_the_same",
    blocking=True,
    description="Of every harvest a sample, and the first file of every new maker, model and "
    "software version, is read once more by pydicom; every attribute must be the same.",
)
def reads_the_same(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.AssetCheckResult:
    """Fail while a file stands that pydicom reads otherwise; names attributes, never values."""
    found = pipeline.standing_failures(["dicom_readers"])["dicom_readers"]
    pipeline.record("dicom_readers", found, context.run.run_id)
    return dg.AssetCheckResult(
        passed=not found, metadata={"failures": [failure.message for failure in found]}
    )


@dg.asset_check(
    asset=DICOM,
    name="few_headers_need_pydicom",
    description="Few headers of the latest harvest were readable by pydicom only.",
)
def few_need_pydicom(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Warn when the slowest reader reads more than its share: something new is being sent."""
    counts = reader_counts(pipeline.landing)
    total = sum(counts.values())
    share = counts.get("pydicom", 0) / total if total else 0.0
    limit = pipeline.settings.harvest_pydicom_limit
    return dg.AssetCheckResult(
        passed=total < FEWEST or share <= limit,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={**counts, "pydicom_share": share, "limit": limit},
    )


@dg.definitions
def dicom_checks() -> dg.Definitions:
    """The checks of this file."""
    return dg.Definitions(asset_checks=[reads_the_same, few_need_pydicom])
