"""The days the synthetic network covers and the deliveries it makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from pipelines.demo import DEMO_MONTHS, DEMO_START
from pipelines.synthetic import calendar

LIVE_DAYS = 84


@dataclass(frozen=True)
class Period:
    """First request day, first live day (day of the history extract), day after the last day."""

    first_on: date
    live_on: date
    end_on: date

    @classmethod
    def of(cls, start: date = DEMO_START, months: int = DEMO_MONTHS) -> Period:
        """Whole months from the one `start` lies in; the last 12 weeks arrive live.

        Raises ValueError when they are too few to hold the live weeks.
        """
        first, end = start.replace(day=1), calendar.month_after(start, months)
        live = end - timedelta(days=LIVE_DAYS)
        if live <= first:
            raise ValueError(f"{months} months hold no history before the {LIVE_DAYS} live days")
        return cls(first, live, end)

    @property
    def cutoff(self) -> int:
        """UTC second at which the history extract was taken (local midnight)."""
        return midnight(self.live_on)

    @property
    def end(self) -> int:
        """UTC second at which the last delivered day ends (local midnight)."""
        return midnight(self.end_on)

    @property
    def months(self) -> list[date]:
        """First day of every month, in order."""
        return calendar.months_between(self.first_on, self.end_on)

    @property
    def live_days(self) -> list[date]:
        """Every local day of the live weeks, in order."""
        return [self.live_on + timedelta(days=n) for n in range((self.end_on - self.live_on).days)]


def midnight(day: date) -> int:
    """UTC second at which a local day begins."""
    local = np.array([calendar.day_number(day) * calendar.DAY], dtype=np.int64)
    return int(calendar.local_to_utc(local)[0])
