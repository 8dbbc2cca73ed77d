"""What the receiver has closed is asked for once, and the morning's run builds on it."""

import datetime
from pathlib import Path

import dagster as dg
import pytest

from pipelines.defs.automation import every_morning, spool_sensor
from pipelines.defs.resources import Pipeline
from pipelines.feeds import RECEIVED
from pipelines.landing.keys import create_key_file
from pipelines.receivers.spool import READ
from pipelines.settings import Settings


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    create_key_file(tmp_path / "keys.json")
    settings = Settings(home=tmp_path / "home", key_file=tmp_path / "keys.json")
    for receiver in RECEIVED:
        (settings.spool_dir / receiver).mkdir(parents=True)
    return Pipeline(settings)


def look(pipeline: Pipeline, cursor: str | None = None):
    return spool_sensor(dg.build_sensor_context(cursor=cursor), pipeline=pipeline)


@pytest.mark.parametrize("receiver", RECEIVED)
def test_closed_segments_are_asked_for_once(pipeline: Pipeline, receiver: str):
    """Failing means that received objects wait for the morning, or are harvested every minute."""
    assert isinstance(look(pipeline), dg.SkipReason)
    segment = pipeline.settings.spool_dir / receiver / "a.open"
    segment.touch()
    assert isinstance(look(pipeline), dg.SkipReason)
    segment.rename(segment.with_suffix(".closed"))
    found = look(pipeline)
    (request,) = found.run_requests
    today = pipeline.now().date().isoformat()
    assert set(request.tags.values()) == {today}
    assert isinstance(look(pipeline, found.cursor), dg.SkipReason)


@pytest.mark.parametrize("receiver", RECEIVED)
def test_the_morning_builds_on_what_was_received_when_the_inbox_is_empty(
    pipeline: Pipeline, receiver: str
):
    """Failing means that a network that only receives never sees its figures."""
    morning = datetime.datetime(2026, 6, 12, 4, 30, tzinfo=datetime.UTC)

    def run():
        context = dg.build_schedule_context(scheduled_execution_time=morning)
        return every_morning(context, pipeline=pipeline)

    assert isinstance(run(), dg.SkipReason)
    (pipeline.settings.spool_dir / receiver / f"a{READ}").touch()
    assert run().tags["dagster/asset_partition_range_start"] == "2026-06-12"
