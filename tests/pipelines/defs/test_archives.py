"""The scheduled query of archives: a failure here means that nobody asks, or nobody is told."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.defs.harvest.archives import columns_are_as_before, every_hour, series_answers
from pipelines.defs.resources import Pipeline
from pipelines.journal import Journal
from pipelines.settings import Settings
from pipelines.sources.dicom_archives.cursor import Cursor, save_cursor

DEAD = """
[archives.dead]
party = "RMC"
route = "changes"
url = "http://127.0.0.1:1"
attempts = 1
"""


class Frozen(Pipeline):
    """A pipeline at one instant."""

    def now(self) -> datetime:
        return datetime(2026, 1, 6, 22, tzinfo=UTC)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path))
    return Frozen(Settings())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def body_of(definition: dg.AssetsDefinition) -> Callable[..., Any]:
    """What an asset or check does, without an instance of Dagster around it."""
    return definition.op.compute_fn.decorated_fn


def told(pipeline: Pipeline, instance: dg.DagsterInstance) -> str:
    with dg.build_schedule_context(instance=instance, resources={"pipeline": pipeline}) as context:
        answer = every_hour(context)
    return answer.skip_message if isinstance(answer, dg.SkipReason) else "asks"


def test_without_an_archive_nothing_happens_and_it_is_said(pipeline, instance):
    """Failing means that an installation without archives fails every hour."""
    assert told(pipeline, instance).startswith("no archive in")
    result = dg.materialize(
        [series_answers, columns_are_as_before],
        instance=instance,
        resources={"pipeline": pipeline, "journal": Journal()},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    assert result.success
    (made,) = result.asset_materializations_for_node("archives__series_answers")
    assert made.metadata["archives_configured"].value == 0
    assert not (pipeline.settings.inbox_dir).exists()


def test_an_archive_that_is_not_due_is_left_alone(pipeline, instance):
    """Failing means that an hourly schedule burdens an archive that agreed to a nightly query."""
    pipeline.settings.archives_file.write_text(DEAD)
    assert told(pipeline, instance) == "asks"
    state = pipeline.archive_places.state(pipeline.archives["dead"])
    save_cursor(state, Cursor("changes", finished_at=pipeline.now().isoformat()))
    assert told(pipeline, instance) == "no archive is due, or none in its quiet hours"


def test_a_damaged_cursor_is_told_by_the_run_and_stops_no_schedule(pipeline, instance):
    """Failing means that one damaged file keeps every archive from being asked, unseen."""
    pipeline.settings.archives_file.write_text(DEAD)
    state = pipeline.archive_places.state(pipeline.archives["dead"])
    state.mkdir(parents=True)
    (state / "cursor.json").write_text("{")
    assert told(pipeline, instance) == "asks"
    with pytest.raises(dg.Failure, match=r"cursor.json is damaged .* delete it"):
        body_of(series_answers)(pipeline, Journal())


def test_an_archive_that_does_not_answer_fails_the_run_and_is_tried_again(pipeline):
    """Failing means that a dead archive looks like a quiet one."""
    pipeline.settings.archives_file.write_text(DEAD)
    with pytest.raises(
        dg.Failure, match=r"archive dead .127.0.0.1:1.: .*refused \(1 attempt\)"
    ) as failure:
        body_of(series_answers)(pipeline, Journal())
    assert failure.value.allow_retries
    assert series_answers.op.retry_policy.max_retries == 2


def test_a_column_that_dried_up_is_warned_of_for_a_week(pipeline):
    """Failing means that device serial numbers vanish from the figures unseen."""
    pipeline.settings.archives_file.write_text(DEAD)
    state = pipeline.archive_places.state(pipeline.archives["dead"])
    for day, passed in (("2026-01-01", False), ("2025-12-29", True)):
        change = {"at": f"{day}T23:00:00+00:00", "gained": [], "lost": ["DeviceSerialNumber"]}
        save_cursor(state, Cursor("changes", column_changes=[change]))
        checked = body_of(columns_are_as_before)(pipeline)
        assert checked.passed is passed
        assert checked.severity == dg.AssetCheckSeverity.WARN
