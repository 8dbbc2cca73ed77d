"""What starts a run, and why: new files in the inbox or the spool, and every morning."""

import hashlib
from datetime import date

import dagster as dg

from pipelines.defs.partitions import delivery_days, first_day
from pipelines.defs.resources import Pipeline
from pipelines.sources.inbox import Delivery

# Which groups each verb of the command line runs; the journey runs them all.
STAGES = {
    "harvest": ("harvest", "landing"),
    "build": ("sources", "staging", "intermediate", "marts", "statistics", "gate"),
    "publish": ("publish",),
}

# Asking archives has a job of its own: it may wait for them for an hour, and what they answer
# arrives in the inbox like any delivery.
apart = dg.AssetSelection.key_prefixes(["archives"])

journey = dg.define_asset_job(
    "journey",
    selection=dg.AssetSelection.all() - apart,
    description="The whole journey: harvest, landing, warehouse, statistics, gate, publish.",
    partitions_def=delivery_days,
)


def range_tags(found: list[Delivery], today: date | None = None) -> dict[str, str]:
    """Tags that make one run cover every delivery day found; `today` where nothing was.

    Raises ValueError where nothing was found and no day is given.
    """
    days = {delivery.delivered_on for delivery in found}
    if not days and today is not None:
        days = {today}
    return {
        "dagster/asset_partition_range_start": str(first_day(days)),
        "dagster/asset_partition_range_end": str(max(days)),
    }


# 05:30: after the nightly extracts (usually by 04:00), before the first meeting of the day.
@dg.schedule(job=journey, cron_schedule="30 5 * * *", execution_timezone="Europe/London")
def every_morning(
    context: dg.ScheduleEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.RunRequest | dg.SkipReason:
    """One run over every delivery day in the inbox; known files cost nothing."""
    found = pipeline.waiting()
    if not found and not pipeline.uses_spool():
        return dg.SkipReason(f"nothing in {pipeline.settings.inbox_dir}")
    day = context.scheduled_execution_time.date()
    return dg.RunRequest(run_key=f"morning-{day.isoformat()}", tags=range_tags(found, today=day))


@dg.sensor(job=journey, minimum_interval_seconds=60, description="New files in the inbox.")
def inbox_sensor(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run when the listing of the inbox changed since the last look."""
    found = pipeline.waiting()
    lines = [f"{d.path}|{d.path.stat().st_mtime_ns}|{d.path.stat().st_size}" for d in found]
    listing = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if not found or listing == context.cursor:
        return dg.SkipReason(f"nothing new in {pipeline.settings.inbox_dir}")
    request = dg.RunRequest(run_key=listing, tags=range_tags(found))
    return dg.SensorResult([request], cursor=listing)


# The harvest only: segments close every few minutes, and the morning's run builds on all of them.
@dg.sensor(
    job_name="harvest",
    minimum_interval_seconds=60,
    description="Closed segments in the spools of the receivers.",
)
def spool_sensor(
    context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one harvest when segments were closed since the last look."""
    names = ",".join(path.name for path in pipeline.spooled())
    if not names or names == context.cursor:
        return dg.SkipReason("no new closed segment in the spools")
    key = hashlib.sha256(names.encode()).hexdigest()
    request = dg.RunRequest(run_key=key, tags=range_tags([], today=pipeline.now().date()))
    return dg.SensorResult([request], cursor=names)


@dg.definitions
def automation() -> dg.Definitions:
    """Job, schedule and sensor."""
    stages = [
        dg.define_asset_job(
            stage,
            selection=dg.AssetSelection.groups(*groups) - apart,
            description=f"One stage of the journey: {', '.join(groups)}.",
            partitions_def=delivery_days if stage == "harvest" else None,
        )
        for stage, groups in STAGES.items()
    ]
    jobs = [journey, *stages]
    return dg.Definitions(
        jobs=jobs, schedules=[every_morning], sensors=[inbox_sensor, spool_sensor]
    )
