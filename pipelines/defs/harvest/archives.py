"""Archives that are due are asked for their series; the answers wait in the inbox."""

import dagster as dg

from pipelines.defs.harvest.feeds import OWNER
from pipelines.defs.resources import Pipeline
from pipelines.journal import Journal
from pipelines.sources.dicom_archives import ask_due, recent_column_changes

ANSWERS = dg.AssetKey(["archives", "series_answers"])

# Short: a waiting run keeps the one place of the queue. What stays unanswered is asked next hour.
again = dg.RetryPolicy(
    max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


@dg.asset(
    key=ANSWERS,
    group_name="harvest",
    description="Answers of the archives that were due, one delivery per window in the inbox.",
    owners=[OWNER],
    kinds={"dicom", "csv"},
    retry_policy=again,
)
def series_answers(
    pipeline: dg.ResourceParam[Pipeline], journal: dg.ResourceParam[Journal]
) -> dg.MaterializeResult:
    """Ask every archive that is due; the normal harvest takes what it delivers."""
    answered, problems = ask_due(
        pipeline.archives, pipeline.archive_places, clock=pipeline.now, progress=journal.progress
    )
    if problems:
        raise dg.Failure("; ".join(map(str, problems)), allow_retries=True)
    return dg.MaterializeResult(
        metadata={
            "archives_configured": len(pipeline.archives),
            "archives_asked": [one.archive for one in answered],
            "series": sum(one.series for one in answered),
            "deliveries": sum(len(one.deliveries) for one in answered),
            "notes": [f"{one.archive}: {note}" for one in answered for note in one.notes],
        }
    )


@dg.asset_check(
    asset=ANSWERS,
    name="columns_are_as_before",
    description="No archive began or ceased to return a column within the last week.",
)
def columns_are_as_before(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Warn for a week after the columns of a route changed."""
    found = recent_column_changes(pipeline.archives, pipeline.archive_places, pipeline.now())
    return dg.AssetCheckResult(
        passed=not found, severity=dg.AssetCheckSeverity.WARN, metadata={"changes": found}
    )


ask_archives = dg.define_asset_job(
    "ask_archives",
    selection=dg.AssetSelection.assets(ANSWERS),
    description="Ask the archives that are due for their series.",
)


# Each archive says when and how often it may be asked; an hour is the finest that can be said.
@dg.schedule(job=ask_archives, cron_schedule="10 * * * *", execution_timezone="Europe/London")
def every_hour(pipeline: dg.ResourceParam[Pipeline]) -> dg.RunRequest | dg.SkipReason:
    """One run when an archive is due."""
    if not pipeline.archives:
        return dg.SkipReason(f"no archive in {pipeline.settings.archives_file}")
    if not pipeline.archives_due():
        return dg.SkipReason("no archive is due, or none in its quiet hours")
    return dg.RunRequest()


@dg.definitions
def archives() -> dg.Definitions:
    """The asset, its check, job and schedule."""
    return dg.Definitions(
        assets=[series_answers],
        asset_checks=[columns_are_as_before],
        jobs=[ask_archives],
        schedules=[every_hour],
    )
