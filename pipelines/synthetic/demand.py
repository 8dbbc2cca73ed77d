"""Requests outside the booking offices: emergencies and inpatients, by day and hour.

What an office books arrives with its referrals (`offices`); unscheduled work comes at any hour,
with the weekday and the time of day of an emergency department or a ward.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.reference_tables import Profile

EMERGENCY_DEPARTMENT = "05"
INPATIENT = "01"

# January to December: waiting-list activity of Greater Manchester, three-year mean.
ELECTIVE_SEASON = (1.02, 1.01, 1.07, 0.94, 1.00, 0.99, 1.03, 0.97, 0.99, 1.03, 1.01, 0.93)
_WEEKDAY = {  # Monday first, mean 1
    EMERGENCY_DEPARTMENT: (1.06, 1.00, 0.99, 0.99, 1.01, 0.97, 0.98),
    INPATIENT: (1.12, 1.14, 1.12, 1.10, 1.08, 0.75, 0.69),
}
_HOLIDAY = {EMERGENCY_DEPARTMENT: 0.97, INPATIENT: 0.75}
# Relative arrivals of emergency patients by local hour.
_EMERGENCY_HOURS = (
    22, 17, 14, 12, 11, 12, 17, 27, 43, 58, 68, 71, 69, 67, 66, 67, 68, 69, 67, 62, 55, 47, 38, 29,
)  # fmt: skip
_USUAL_EMERGENCY_RATE = 0.57


def emergency_rate(profile: Profile, trust_code: str, modality_group: str) -> float:
    """Share of a trust's unscheduled work that comes from its emergency department."""
    rows = profile.party_demand.filter(
        (pl.col("party_code") == trust_code) & (pl.col("modality_group") == modality_group)
    )
    return float(rows["emergency_department_rate"][0]) if len(rows) else _USUAL_EMERGENCY_RATE


def unscheduled_weights(first_on: date, end_on: date, setting: str) -> NDArray[np.float64]:
    """Relative requests of each day from `first_on` up to, not including, `end_on`; mean near 1."""
    first = calendar.day_number(first_on)
    numbers = np.arange(first, calendar.day_number(end_on))
    weekday = (numbers + 3) % 7
    weight = np.array(_WEEKDAY[setting])[weekday]
    holiday = (weekday < 5) & ~calendar.is_working_day(first, len(numbers))
    weight[holiday] *= _HOLIDAY[setting]
    return weight


def unscheduled_days(
    expected: NDArray[np.float64], month_on: date, setting: str, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Office and day number of every unscheduled request of one month and setting.

    `expected` holds the requests of the month by office; the results are in order of office, day.
    """
    weight = unscheduled_weights(month_on, calendar.month_after(month_on), setting)
    counts = rng.poisson(np.outer(expected, weight / len(weight)))
    office, day = np.indices(counts.shape)
    first = calendar.day_number(month_on)
    return np.repeat(office.ravel(), counts.ravel()), np.repeat(first + day.ravel(), counts.ravel())


def hours_of_day(setting: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Local second of the day of each request; any other setting than the two is elective."""
    if setting == EMERGENCY_DEPARTMENT:
        hours = np.array(_EMERGENCY_HOURS, dtype=float)
        second = rng.choice(24, size=count, p=hours / hours.sum()) * calendar.HOUR
        return second + rng.integers(calendar.HOUR, size=count)
    low, usual, high = (7, 10.5, 21) if setting == INPATIENT else (8.5, 11, 17.5)
    return (rng.triangular(low, usual, high, count) * calendar.HOUR).astype(np.int64)
