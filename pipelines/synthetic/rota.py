"""Staffed sessions of every scanner, and the diary that books exams into them.

The synthetic network is one exam in a hundred of a real region, so sessions are short: as many
minutes a week as the scheduled exams of the last year need at the wanted utilisation.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import Profile

if TYPE_CHECKING:
    from pipelines.network import Network

# Room minutes of scheduled exams over staffed minutes. Images show less than that: one X-ray
# image has no length of its own, so an X-ray visit counts five minutes.
WANTED_UTILISATION = {"DX": 0.80, "CT": 0.66, "MR": 0.62, "US": 0.70}
_OTHER_UTILISATION = 0.60
PLANNED_AHEAD_DAYS = 420
WLI_RATE = 0.06

# Usual and shortest session, minutes. The shortest must hold the longest exam of the modality.
_SESSION_MINUTES = {
    "DX": (60, 45),
    "CT": (90, 60),
    "MR": (110, 75),
    "US": (90, 45),
}
_OTHER_SESSION_MINUTES = (90, 60)
_STARTS = (9 * 60, 9 * 60 + 30, 13 * 60 + 30, 10 * 60, 14 * 60)


@dataclass(frozen=True)
class Resource:
    """A room that does one exam at a time. `station_name` is None when no scanner is registered."""

    site_code: str
    dicom_modality: str
    station_name: str | None


@dataclass
class Diary:
    """Sessions of one resource in date order, and how far each is filled (local seconds)."""

    days: list[int] = field(default_factory=list)
    opens: list[int] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)

    def book(
        self, *, seconds: int, not_before: int, wanted_day: int, last_day: int, strict: bool = False
    ) -> int:
        """Take the first free slot from the wanted day on, and return its local start second.

        When the days up to `last_day` are full, an earlier day is taken, then a later one
        (never with `strict`). Returns -1 when nothing is free.
        """
        middle = bisect_left(self.days, wanted_day)
        index = middle
        while index < len(self.days) and self.days[index] <= last_day:
            if (slot := self._take(index, seconds, not_before)) >= 0:
                return slot
            index += 1
        earlier = middle - 1
        first_day = not_before // calendar.DAY
        while earlier >= 0 and self.days[earlier] >= first_day:
            if (slot := self._take(earlier, seconds, not_before)) >= 0:
                return slot
            earlier -= 1
        while not strict and index < len(self.days):
            if (slot := self._take(index, seconds, not_before)) >= 0:
                return slot
            index += 1
        return -1

    def _take(self, index: int, seconds: int, not_before: int) -> int:
        slot = max(self.filled[index], not_before)
        if slot + seconds > self.closes[index]:
            return -1
        self.filled[index] = slot + seconds
        return slot

    def next_session(self, day: int) -> int:
        """Index of the first session on or after a day; the last one when there is none."""
        return min(bisect_left(self.days, day), len(self.days) - 1)


def list_resources(
    network: Network, places_without_scanner: list[tuple[str, str]]
) -> list[Resource]:
    """Scanners of the register in its order, then one unnamed room per (site, modality) given."""
    scanners = [
        Resource(site, modality, station)
        for station, site, modality in network.scanner_register.select(
            "station_name", "site_code", "dicom_modality"
        ).iter_rows()
    ]
    return scanners + [Resource(site, modality, None) for site, modality in places_without_scanner]


def session_pattern(
    resource: Resource, index: int, weekly_minutes: float
) -> tuple[list[int], int, int]:
    """Weekdays (0 Monday), start minute and length in minutes of a resource's sessions."""
    usual, shortest = _SESSION_MINUTES.get(resource.dicom_modality, _OTHER_SESSION_MINUTES)
    wanted = WANTED_UTILISATION.get(resource.dicom_modality, _OTHER_UTILISATION)
    staffed = weekly_minutes / wanted
    count = int(np.clip(round(staffed / usual), 1, 5))
    length = int(np.clip(round(staffed / count / 15) * 15, shortest, 240))
    step = 2 if count <= 3 else 1
    weekdays = sorted((index + step * n) % 5 for n in range(count))
    return weekdays, _STARTS[index % len(_STARTS)], length


def plan_sessions(
    resources: list[Resource],
    weekly_minutes: np.ndarray,
    profile: Profile,
    period: Period,
    rng: np.random.Generator,
) -> tuple[list[Diary], pl.DataFrame]:
    """Diaries by resource, and one row per session.

    Columns: resource, site_code, station_name, dicom_modality, session_start, session_end (local
    seconds), pay_type. No session on bank holidays; in the pandemic months sessions fall away
    with the elective demand.
    """
    first = calendar.day_number(period.first_on)
    count = calendar.day_number(period.end_on) - first + PLANNED_AHEAD_DAYS
    days = np.arange(first, first + count)
    open_day = calendar.is_working_day(first, count)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(int)
    keep = np.ones(count)
    for month_on, factor in profile.covid_demand.select("month_on", "elective_factor").iter_rows():
        month = (month_on.year - 1970) * 12 + month_on.month - 1
        keep[months == month] = min(1.0, factor + 0.12)
    weekday = (days + 3) % 7
    diaries: list[Diary] = []
    frames: list[pl.DataFrame] = []
    for index, resource in enumerate(resources):
        weekdays, start, length = session_pattern(resource, index, float(weekly_minutes[index]))
        held = open_day & np.isin(weekday, weekdays) & (rng.random(count) < keep)
        opens = days[held] * calendar.DAY + start * calendar.MINUTE
        closes = opens + length * calendar.MINUTE
        diaries.append(Diary(days[held].tolist(), opens.tolist(), closes.tolist(), opens.tolist()))
        frames.append(
            pl.DataFrame(
                {
                    "resource": np.full(len(opens), index),
                    "session_start": opens,
                    "session_end": closes,
                    "pay_type": np.where(rng.random(len(opens)) < WLI_RATE, "WLI", "plain"),
                }
            ).with_columns(
                pl.lit(resource.site_code).alias("site_code"),
                pl.lit(resource.station_name, dtype=pl.String).alias("station_name"),
                pl.lit(resource.dicom_modality).alias("dicom_modality"),
            )
        )
    return diaries, pl.concat(frames)
