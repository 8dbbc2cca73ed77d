"""Run the journey, or a part of it, in this process; the command line and tests call it."""

import fcntl
import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.durable import remove_abandoned, write_bytes
from pipelines.feeds import FEEDS
from pipelines.journal import Journal
from pipelines.landing.keys import load_keys
from pipelines.problems import Problem
from pipelines.settings import Settings, export_environment
from pipelines.warehouse import ensure_manifest, read_stamp

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterInstance

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
# One run at a time, its steps one after the other: no pools, whose slots a killed run would keep.
concurrency:
  runs:
    max_concurrent_runs: 1
"""
# Marks the runs of the command line, which live no longer than their process.
COMMAND_TAG = "imaging/command"


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
    # Whatever receivers have taken came from outside: the demo sends nothing to them.
    received = any(settings.spool_dir.glob("*/*-*.*"))
    if received or (landed and not ours) or (delivered and not (ours and inside)):
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
        settings.history_dir,
        settings.recomputed_dir,
    ):
        shutil.rmtree(path, ignore_errors=True)
    for path in (settings.warehouse_file, settings.build_stamp, settings.building_note):
        path.unlink(missing_ok=True)
    # Ours from here on, and unlike any demo: what is interrupted is made again.
    write_bytes(b"{}", settings.synthetic_stamp)


@contextmanager
def exclusive(settings: Settings) -> Generator[None]:
    """Hold the one lock of this IMAGING_HOME; the system frees it when the process dies."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            settings.history_dir,
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


def check_landing(settings: Settings) -> bool:
    """Check every feed and the ledger again, record the verdicts; True when all hold.

    What quarantine holds is told anew, too.
    """
    from pipelines.defs.resources import Pipeline

    pipeline = Pipeline(settings)
    found = pipeline.standing_failures()
    for check, failures in found.items():
        pipeline.record(check, failures, "imaging")
    pipeline.tell_custody()
    return not any(found.values())


def execute(
    settings: Settings, stage: str | None, journal: Journal, *, full_refresh: bool = False
) -> Outcome:
    """Execute the journey, or one stage of it (harvest, build, publish), as one Dagster run here.

    Call `prepare` and hold `exclusive` first. `full_refresh` computes every table anew. Never
    raises on a failing step: the outcome names the failed steps and their messages.
    """
    import dagster as dg  # seconds to import; only a run pays for it

    from pipelines.definitions import defs
    from pipelines.defs.automation import range_tags
    from pipelines.defs.resources import Pipeline
    from pipelines.run_storage import synced_at_checkpoints

    pipeline = Pipeline(settings, full_refresh=full_refresh)
    load_keys(settings.key_file)  # a missing key stops here, before any step
    if stage in (None, "harvest"):
        _ = pipeline.setup  # so does a wrong map or registry, once and not once per feed
    tags = range_tags(pipeline.waiting(), today=pipeline.now().date())
    definitions = defs()
    settings.log_file.parent.mkdir(parents=True, exist_ok=True)
    # Its lines are in Dagster's own storage; on the terminal they would hide the progress.
    logging.getLogger("dagster.builtin").propagate = False
    with (
        synced_at_checkpoints(settings.dagster_home),
        dg.DagsterInstance.get() as instance,
        settings.log_file.open("a", buffering=1) as log,
        redirect_stdout(log),
    ):
        end_killed_runs(instance)
        result = definitions.resolve_job_def(stage or "journey").execute_in_process(
            instance=instance,
            tags={COMMAND_TAG: stage or "run"} | (tags if stage in (None, "harvest") else {}),
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


def end_killed_runs(instance: "DagsterInstance") -> None:
    """Close the runs of commands that were killed; call it while holding `exclusive`.

    A run that is never closed would hold the one place of the run queue for ever. Raises
    AlreadyRunning when a run that Dagster itself started is under way.
    """
    from dagster import DagsterRunStatus, RunsFilter

    open_states = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]
    for run in instance.get_runs(RunsFilter(statuses=open_states)):
        if COMMAND_TAG not in run.tags:
            raise AlreadyRunning(
                f"Dagster's run {run.run_id} is under way; wait for it, or end it in `imaging "
                "dagster` if its process is gone"
            )
        instance.report_run_failed(run, "its command was killed")


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
    if pipeline.spooled():
        return False
    waiting = pipeline.waiting()
    return not any(
        unseen(feed_kind, [d for d in waiting if d.feed_kind == feed_kind], pipeline.setup)
        for feed_kind in FEEDS
    )
