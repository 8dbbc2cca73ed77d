"""From the end of the exam to the verified report: who writes it, and when.

The effect of shared reporting on this network is known, because it is put in here: see `worlds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, Seconds
from pipelines.synthetic.reference_tables import read_text_table

NEVER = np.int64(2**62)

OUTSOURCE = "ZZT01"

# Median hours from exam end to verified report, in 2018. Emergency, unscheduled urgent,
# inpatient routine, urgent, suspected cancer, routine, planned.
_MEDIAN_HOURS = {
    "CT": (1.0, 4.5, 11, 44, 36, 105, 140),
    "MRI": (2.5, 16, 24, 60, 60, 140, 170),
    "Plain radiography": (12, 13, 22, 34, 24, 60, 70),
    "Ultrasound": (0.3, 0.3, 0.4, 0.35, 0.35, 0.4, 0.4),
    "Fluoroscopy": (3, 6, 16, 24, 24, 40, 40),
    "DEXA": (30, 30, 40, 60, 60, 70, 70),
    "Nuclear medicine": (6, 12, 20, 40, 36, 75, 90),
    "PET": (20, 24, 30, 40, 36, 60, 70),
    "Mammography": (4, 8, 20, 24, 20, 60, 70),
}
_SIGMA = {
    "CT": 0.95,
    "MRI": 0.88,
    "Plain radiography": 1.12,
    "Ultrasound": 0.7,
    "Fluoroscopy": 0.8,
    "DEXA": 0.7,
    "Nuclear medicine": 0.8,
    "PET": 0.7,
    "Mammography": 0.8,
}
_NEVER_REPORTED = {"Plain radiography": 0.006, "CT": 0.0006, "MRI": 0.0006}
_ERAS = (  # day, factor on the median: worse in and after the pandemic, better since 2024
    (date(2018, 4, 1), 1.0),
    (date(2020, 3, 1), 1.05),
    (date(2021, 1, 1), 1.35),
    (date(2022, 6, 1), 1.65),
    (date(2023, 6, 1), 1.60),
    (date(2024, 6, 1), 1.35),
    (date(2025, 6, 1), 1.15),
    (date(2026, 3, 31), 1.05),
)
_OUTSOURCED = ((date(2018, 4, 1), 0.15), (date(2021, 6, 1), 0.21), (date(2026, 3, 31), 0.30))
_OUTSOURCED_FACTOR = {
    "CT": 1.25,
    "MRI": 1.25,
    "Plain radiography": 0.85,
    "Ultrasound": 0.0,
    "Fluoroscopy": 0.1,
    "DEXA": 0.0,
    "Nuclear medicine": 0.1,
    "PET": 0.6,
    "Mammography": 0.0,
}
_ON_THE_SPOT = ("Ultrasound", "Fluoroscopy", "DEXA")
_KEPT_OUT_OF_HOURS = 0.17
_ADDENDUM_RATE = 0.02


@dataclass(frozen=True)
class Reports:
    """Arrays by exam: UTC seconds (NEVER when it did not happen) and the reporting organisation."""

    preliminary: Seconds
    verified: Seconds
    addendum: Seconds
    reporter_org: NDArray[np.str_]
    is_cross_site: NDArray[np.bool_]


def _over_time(days: NDArray[np.float64], points: tuple[tuple[date, float], ...]) -> NDArray:
    known = [calendar.day_number(day) for day, _ in points]
    return np.interp(days, known, [value for _, value in points])


def _turnaround_class(
    priority: NDArray[np.str_], is_unscheduled: NDArray[np.bool_]
) -> NDArray[np.int64]:
    return np.select(
        [
            priority == "S",
            (priority == "U") & is_unscheduled,
            (priority == "R") & is_unscheduled,
            priority == "U",
            priority == "T",
            priority == "P",
        ],
        [0, 1, 2, 3, 4, 6],
        5,
    )


def to_working_hours(utc: Seconds, moved: NDArray[np.bool_], rng: np.random.Generator) -> Seconds:
    """Move the chosen instants that fall at night or at weekends to the next working day."""
    if not len(utc):
        return utc
    local = calendar.utc_to_local(utc)
    day = local // DAY
    first, last = int(day.min()), int(day.max()) + 20
    working = calendar.is_working_day(first, last - first)
    next_working = np.zeros(len(working), dtype=np.int64)
    following = len(working) - 1
    for index in range(len(working) - 1, -1, -1):
        if working[index]:
            following = index
        next_working[index] = following
    second = local % DAY
    late = second >= 18 * HOUR
    outside = moved & (~working[day - first] | late | (second < 8 * HOUR))
    target = first + next_working[day - first + late]
    fresh = target * DAY + rng.triangular(8, 10, 18, len(utc)) * HOUR
    return np.where(outside, calendar.local_to_utc(fresh.astype(np.int64)), utc)


def write_reports(
    exams: dict[str, NDArray],
    adoption: Adoption,
    party_sizes: dict[str, float],
    preliminary_rates: dict[str, float],
    rng: np.random.Generator,
) -> Reports:
    """Reports of every completed exam. An effect grows in from the go-live of the acquiring party.

    `exams` holds arrays party, modality_group, priority, is_unscheduled and completed (UTC
    seconds, NEVER when the exam was not done).
    """
    done = exams["completed"] < NEVER
    count = int(done.sum())
    group = exams["modality_group"][done]
    party = exams["party"][done]
    completed = exams["completed"][done]
    day = completed / DAY
    parties = adoption.parties
    own = _index_of(party, parties)
    spot = np.isin(group, _ON_THE_SPOT)

    hours = _hours(exams, done, group, rng)
    hours *= _over_time(day, _ERAS) ** np.where(spot, 0.2, 1.0)
    hours *= adoption.world.drift("turnaround", parties, own, day)

    def of_party(name: str) -> NDArray[np.float64]:
        return adoption.world.effect(name, parties)[own]

    ramp = adoption.ramp("network_reporting", own, day)
    faster = (of_party("turnaround_factor_after") - 1.0) * ramp
    hours *= np.where(spot, 1.0, 1.0 + faster)

    night = (calendar.utc_to_local(completed) % DAY // HOUR + 4) % 24 < 12
    bought = 1.0 + (of_party("outsourcing_factor_after") - 1.0) * ramp
    outsourced = _outsourced(group, day, night, bought, exams["priority"][done], rng)
    rate = np.where(
        spot,
        of_party("cross_site_rate_on_the_spot") * ramp,
        adoption.level("cross_site_rate", ramp, own),
    )
    cross = ~outsourced & (rng.random(count) < rate)
    live_day = adoption.live_days["network_reporting"]
    sizes = np.array([party_sizes[code] for code in parties])
    elsewhere = _other_party(own, day, live_day, sizes, rng)
    org_index = np.where(cross, elsewhere, own)
    org = np.where(outsourced, OUTSOURCE, np.array(parties)[org_index])

    verified = completed + np.maximum(hours * HOUR, 120).astype(np.int64)
    urgent = exams["priority"][done] == "S"
    moved = ~spot & ~urgent & ~outsourced & (rng.random(count) >= _KEPT_OUT_OF_HOURS)
    verified = np.maximum(to_working_hours(verified, moved, rng), completed + 120)
    rates = np.array([_NEVER_REPORTED.get(g, 0.0) for g in _GROUPS])[_index_of(group, _GROUPS)]
    verified[rng.random(count) < rates] = NEVER

    prelim_rate = np.array([preliminary_rates[g] for g in _GROUPS])[_index_of(group, _GROUPS)]
    has_prelim = (rng.random(count) < prelim_rate) & ~outsourced & (verified < NEVER)
    share = rng.uniform(0.2, 0.9, count)
    prelim = completed + ((np.minimum(verified, completed + 60 * DAY) - completed) * share)
    has_addendum = (rng.random(count) < _ADDENDUM_RATE) & (verified < NEVER)
    delay = rng.gamma(1.4, 3.5 * DAY, count).astype(np.int64) + HOUR
    addendum = to_working_hours(
        np.where(has_addendum, verified + delay, completed), has_addendum, rng
    )

    def spread(values: NDArray, missing: object) -> NDArray:
        full = np.full(len(done), missing, dtype=values.dtype)
        full[done] = values
        return full

    return Reports(
        preliminary=spread(np.where(has_prelim, prelim.astype(np.int64), NEVER), NEVER),
        verified=spread(verified, NEVER),
        addendum=spread(np.where(has_addendum, addendum, NEVER), NEVER),
        reporter_org=spread(org, ""),
        is_cross_site=spread(cross, False),
    )


def correct_reports(reports: Reports, rng: np.random.Generator) -> Seconds:
    """When a verified report was corrected (NEVER for most); one with an addendum never is.

    At least one report of those given, so that the smallest network has some.
    """
    habits, count = report_habits(), len(reports.verified)
    usable = (reports.verified < NEVER) & (reports.addendum == NEVER)
    u = np.where(usable, rng.random(count), 1.0)
    corrected = u < max(habits["correction_rate"], u.min(initial=1.0) + 1e-12)
    corrected &= usable
    verified = reports.verified[corrected]
    delay = rng.gamma(habits["correction_shape"], habits["correction_days"] * DAY, len(verified))
    found = np.full(count, NEVER)
    found[corrected] = to_working_hours(
        verified + delay.astype(np.int64) + HOUR, np.ones(len(verified), dtype=bool), rng
    )
    return found


@cache
def report_habits() -> dict[str, float]:
    """The figures of reference/report_habits.csv by name."""
    rows = read_text_table("report_habits").select("habit", "value").iter_rows()
    return {habit: float(value) for habit, value in rows}


_GROUPS = list(_MEDIAN_HOURS)


def _index_of(values: NDArray[np.str_], known: list[str]) -> NDArray[np.int64]:
    order = np.argsort(known)
    return order[np.searchsorted(np.array(known)[order], values)]


def _hours(
    exams: dict[str, NDArray],
    done: NDArray[np.bool_],
    group: NDArray[np.str_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    index = _index_of(group, _GROUPS)
    kind = _turnaround_class(exams["priority"][done], exams["is_unscheduled"][done])
    median = np.array([_MEDIAN_HOURS[g] for g in _GROUPS])[index, kind]
    sigma = np.array([_SIGMA[g] for g in _GROUPS])[index]
    return median * np.exp(sigma * rng.standard_normal(len(group)))


def _outsourced(
    group: NDArray[np.str_],
    day: NDArray[np.float64],
    night: NDArray[np.bool_],
    bought: NDArray[np.float64],
    priority: NDArray[np.str_],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    factor = np.array([_OUTSOURCED_FACTOR[g] for g in _GROUPS])[_index_of(group, _GROUPS)]
    rate = _over_time(day, _OUTSOURCED) * factor
    rate = np.where(night & (priority == "S") & (group == "CT"), rate * 2.2, rate)
    return rng.random(len(group)) < np.minimum(rate * bought, 0.8)


def _other_party(
    own: NDArray[np.int64],
    day: NDArray[np.float64],
    live_day: NDArray[np.float64],
    sizes: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Another party, by size; parties already live are ten times as likely."""
    weight = sizes[None, :] * np.where(day[:, None] >= live_day[None, :], 1.0, 0.1)
    weight[np.arange(len(own)), own] = 0.0
    cumulative = np.cumsum(weight, axis=1)
    target = rng.random(len(own)) * cumulative[:, -1]
    return (cumulative < target[:, None]).sum(axis=1)
