"""Delivery days: our list of them is Dagster's."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from pipelines.defs.partitions import delivery_days

AS_DAGSTER = dg.DailyPartitionsDefinition(
    start_date="2010-01-01", timezone="Europe/London", end_offset=1
)


@pytest.mark.parametrize(
    "now", ["2026-03-28T23:30", "2026-03-29T00:30", "2026-10-24T23:30", "2026-10-25T00:30"]
)
def test_the_days_are_those_that_dagster_lists(now: str):
    """Failing means that a day's deliveries have no partition, or one of another day."""
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    with partition_loading_context(instant):
        assert delivery_days.get_partition_keys() == AS_DAGSTER.get_partition_keys()
