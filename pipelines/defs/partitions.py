"""Delivery days: the partitions of every harvest asset."""

from collections.abc import Collection
from datetime import date, timedelta

import dagster as dg

# Dagster notes each asset of a run on each of its days, which takes longer than to harvest them: a
# hundred days took half of a run. A run over so many days, the most that one has, takes with it
# whatever was delivered before them; twice the days that a landed file stays in the inbox.
MOST_DAYS = 14


def first_day(days: Collection[date]) -> date:
    """The first day of a run over these delivery days (at least one)."""
    return max(min(days), max(days) - timedelta(days=MOST_DAYS - 1))


def is_of_run(day: date, days: Collection[date]) -> bool:
    """Whether a delivery of a day belongs to a run over these days."""
    return day in days or (len(days) >= MOST_DAYS and day < min(days))


# Days without a delivery cost nothing; no feed is older than this.
delivery_days = dg.DailyPartitionsDefinition(
    start_date="2010-01-01", timezone="Europe/London", end_offset=1
)
