"""Run the journey, or a part of it, in this process; the command line and tests call it."""

import fcntl
import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.durable import remove_abandoned, write_bytes
from pipelines.journal import Journal
from pipelines.problems import Problem
from pipelines.settings import Settings, export_environment
from pipelines.sources.inbox import FEED_KINDS, deliveries
from pipelines.warehouse import ensure_manifest, read_stamp

if TYPE_CHECKING:
    from dagster import DagsterEvent

    from pipelines.defs.resources import Pipeline

DAGSTER_YAML = """\
# Written by `imaging`; embedded storage below this folder.
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 1
  pools:
    default_limit: 1
    granularity: op
"""
# Same seed, same files: the month of the contract.
DEMO_SEED = 20201016


class NotADemoHome(Problem):
    """The demo would mix invented exams with others; the message says what to do."""


class AlreadyRunning(Problem):
    """Another run holds the lock; the message names the lock file."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    succeeded: bool
    run_id: str = ""
    failed_steps: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def start_demo_home(settings: Settings) -> None:
    """Clear a home for a new demo network; raises NotADemoHome where real deliveries may be.

    Two synthetic networks in one home would add up; so would one with a real network.
    """
    ours = settings.synthetic_stamp.exists()
    inside = settings.inbox_dir.is_relative_to(settings.home)
    landed = any(settings.landing_dir.glob("receipts/*.p*.parquet"))
    delivered = settings.inbox_dir.exists() and any(settings.inbox_dir.iterdir())
    if (landed and not ours) or (delivered and not (ours and inside)):
        raise NotADemoHome(
            f"{settings.home} (inbox {settings.inbox_dir}) holds deliveries that the demo did not "
            "make; point IMAGING_HOME at another folder"
        )
    for path in (
        settings.inbox_dir,
        settings.landing_dir,
        settings.quarantine_dir,
        settings.gate_dir,
        settings.published_dir,
    ):
        shutil.rmtree(path, ignore_errors=True)
    for path in (settings.warehouse_file, settings.build_stamp, settings.building_note):
        path.unlink(missing_ok=True)


@contextmanager
def exclusive(settings: Settings) -> Generator[None]:
    """Hold the one lock of this IMAGING_HOME; the system frees it when the process dies."""
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "run.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another imaging command is writing to {settings.home} (lock {path}); wait for it"
            ) from None
        for folder in (
            settings.landing_dir,
            settings.quarantine_dir,
            settings.published_dir,
            settings.gate_dir,
        ):
            remove_abandoned(folder)
        yield


def prepare(settings: Settings) -> None:
    """Make the folders, Dagster's configuration and dbt's manifest ready."""
    export_environment(settings)
    settings.inbox_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.published_dir.mkdir(parents=True, exist_ok=True)
    configuration = settings.dagster_home / "dagster.yaml"
    if not configuration.exists() or configuration.read_text() != DAGSTER_YAML:
        write_bytes(DAGSTER_YAML.encode(), configuration)
    ensure_manifest(settings.dbt_project)


def delivery_span(settings: Settings) -> tuple[str, str] | None:
    """First and last delivery day in the inbox, or None when it is empty."""
    days = {
        delivery.delivered_on
        for feed_kind in FEED_KINDS
        for delivery in deliveries(settings.inbox_dir, feed_kind)
    }
    return (min(days).isoformat(), max(days).isoformat()) if days else None


def execute(settings: Settings, stage: str | None, journal: Journal) -> Outcome:
    """Execute the whole journey, or one stage (harvest, build, publish), as one Dagster run in this process.

    Call `prepare` and hold `exclusive` first. Never raises on a failing step: the outcome names
    the failed steps and their messages.
    """
    import dagster as dg  # seconds to import; only a run pays for it

    from pipelines.definitions import defs
    from pipelines.defs.resources import Pipeline

    pipeline = Pipeline(settings)
    pipeline.setup  # noqa: B018  (a missing key or contract stops here, before any step)
    span = delivery_span(settings)
    if span is None:
        today = datetime.now(UTC).date().isoformat()
        span = (today, today)
    tags = {
        "dagster/asset_partition_range_start": span[0],
        "dagster/asset_partition_range_end": span[1],
    }
    definitions = defs()
    settings.log_file.parent.mkdir(parents=True, exist_ok=True)
    # Its lines are in Dagster's own storage; on the terminal they would hide the progress.
    logging.getLogger("dagster.builtin").propagate = False
    with (
        dg.DagsterInstance.get() as instance,
        settings.log_file.open("a", buffering=1) as log,
        redirect_stdout(log),
    ):
        result = definitions.resolve_job_def(stage or "journey").execute_in_process(
            instance=instance,
            tags=tags if stage in (None, "harvest") else {},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            resources={
                **(definitions.resources or {}),
                "pipeline": pipeline,
                "journal": journal,
            },
            raise_on_error=False,
        )
    failed = [event for event in result.all_events if event.is_step_failure]
    failed_checks = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.blocking and not evaluation.passed
    ]
    return Outcome(
        succeeded=result.success and not failed_checks,
        run_id=result.run_id,
        failed_steps=[str(event.step_key) for event in failed],
        messages=[_reason(event) for event in failed],
    )


def _reason(event: "DagsterEvent") -> str:
    error = event.step_failure_data.error
    if error is None:
        return f"{event.message or 'it failed without an error'}; see the log of the run"
    while error.cause is not None:
        error = error.cause
    return error.message.strip()


def is_current(settings: Settings, pipeline: "Pipeline") -> bool:
    """Say whether everything delivered is landed, built and published."""
    from pipelines.harvest import unseen
    from pipelines.publishing.pointer import read_manifest

    manifest, stamp = read_manifest(settings.published_dir), read_stamp(settings.build_stamp)
    if manifest is None or stamp is None:
        return False
    if stamp["inputs_fingerprint"] != manifest.inputs_fingerprint:
        return False
    if manifest.inputs_fingerprint != pipeline.inputs_fingerprint():
        return False
    return not any(
        unseen(feed_kind, deliveries(settings.inbox_dir, feed_kind), pipeline.setup)
        for feed_kind in FEED_KINDS
    )
