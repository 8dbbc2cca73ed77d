"""What is asked for, month by month: bookings of the offices, walk-ins, emergencies, inpatients."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.demand import (
    EMERGENCY_DEPARTMENT,
    INPATIENT,
    emergency_rate,
    hours_of_day,
    unscheduled_days,
)
from pipelines.synthetic.offices import Diaries, Office, Room
from pipelines.synthetic.waiting_list import PLANNED

if TYPE_CHECKING:
    from pipelines.synthetic.period import Period
    from pipelines.synthetic.reference_tables import Profile

Columns = dict[str, NDArray]

# Suspected cancer (T) and urgent (U) requests are seen within so many days; their share of all
# that are booked, by test, and at most so many of those seen so soon.
PROMPT_DAYS = 14
_CANCER_RATE = {
    "CT": 0.17,
    "MRI": 0.12,
    "NON_OBSTETRIC_ULTRASOUND": 0.08,
    "PET_CT": 0.45,
    "MAMMOGRAPHY": 0.45,
}
_OTHER_CANCER_RATE, _URGENT_RATE = 0.02, 0.11
_MOST_CANCER, _MOST_URGENT = 0.5, 0.35
# Of those who leave a list, this share held an appointment that day.
_LEFT_WITH_APPOINTMENT = 0.6
# Days waited by those booked by a date, who are never prompt.
_NO_WAIT_COUNTS = 10**6


def joined(*parts: Columns) -> Columns:
    """The rows of several sets of columns, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def taken(columns: Columns, chosen: NDArray) -> Columns:
    """The chosen rows: a mask or row numbers."""
    return {name: values[chosen] for name, values in columns.items()}


class Requests:
    """Hands out the requests of one month after the other; the diaries are kept by day."""

    def __init__(
        self,
        diaries: Diaries,
        rooms: list[Room],
        offices: list[Office],
        profile: Profile,
        period: Period,
        scale: float,
        seed: int,
    ) -> None:
        """Sort what the offices booked by the day it was asked for."""
        self.rooms, self.offices, self.seed = rooms, offices, seed
        self._mixes = [
            _weights(profile.setting_mix, office, "source_setting") for office in offices
        ]
        self._unscheduled_expected = _unscheduled_by_month(offices, profile, scale)
        self._lead = np.array([o.lead_days for o in offices])
        self._booked = self._by_day(diaries.referrals, period)
        self._prompt_shares = self._shares_of_prompt()
        free = diaries.walk_ins
        order = np.argsort(free["start"].to_numpy(), kind="stable")
        self._free = {name: free[name].to_numpy()[order] for name in ("office", "room", "start")}

    def of_month(self, month_on: date) -> Columns:
        """Every request made in one month, unsorted; times are local seconds, -1 where none.

        Columns: office, resource (room number), requested, source_setting, priority,
        is_unscheduled, is_walk_in, slot, missed_slot, left, due_day (days since 1970, -1 where
        the request is not for planned surveillance).
        """
        first_on, end_on = month_on, calendar.month_after(month_on)
        stream = (first_on.year, first_on.month)
        rng = np.random.default_rng([self.seed, 2, *stream])
        return joined(
            self._bookings(first_on, end_on, rng),
            self._walk_ins(first_on, end_on, rng),
            self._unscheduled(month_on, np.random.default_rng([self.seed, 1, *stream])),
        )

    def _by_day(self, frame: pl.DataFrame, period: Period) -> Columns:
        """What the offices booked, asked for within the period, in order of that day.

        Columns: day (asked for), due_day, office, is_planned, room, start, missed_start,
        removed_day, wait.
        """
        rng = np.random.default_rng([self.seed, 2])
        office = frame["office"].to_numpy()
        is_planned = frame["lane"].to_numpy() == PLANNED
        lead = self._lead[office]
        early = np.where(is_planned, rng.integers(lead[:, 0], lead[:, 1] + 1), 0)
        day = (frame["requested_day"].to_numpy() - early).astype(np.int32)
        first, end = calendar.day_number(period.first_on), calendar.day_number(period.end_on)
        order = np.argsort(day, kind="stable")
        order = order[(day[order] >= first) & (day[order] < end)]
        start = frame["start"].to_numpy()[order]
        missed = frame["missed_start"].to_numpy()[order]
        room = frame["room"].to_numpy()[order]
        seen = np.where(missed >= 0, missed, np.where(start >= 0, start, period.end)) // DAY
        return {
            "day": day[order],
            "due_day": frame["requested_day"].to_numpy()[order],
            "office": office[order],
            "is_planned": is_planned[order],
            "room": np.where(room < 0, frame["missed_room"].to_numpy()[order], room),
            "start": start,
            "missed_start": missed,
            "removed_day": frame["removed_day"].to_numpy()[order],
            "wait": np.where(is_planned[order], _NO_WAIT_COUNTS, seen - day[order]),
        }

    def _shares_of_prompt(self) -> NDArray[np.float64]:
        """Share of each office's bookings, planned ones left out, that are seen promptly."""
        listed = ~self._booked["is_planned"]
        soon = listed & (self._booked["wait"] <= PROMPT_DAYS)
        count = len(self.offices)
        all_listed = np.bincount(self._booked["office"][listed], minlength=count)
        all_soon = np.bincount(self._booked["office"][soon], minlength=count)
        return np.where(all_listed > 0, np.maximum(all_soon / np.maximum(all_listed, 1), 0.01), 1.0)

    def _bookings(self, first_on: date, end_on: date, rng: np.random.Generator) -> Columns:
        """What the offices booked for the requests of these days."""
        days = [calendar.day_number(first_on), calendar.day_number(end_on)]
        first, end = np.searchsorted(self._booked["day"], days)
        a = {name: values[first:end] for name, values in self._booked.items()}
        count = int(end - first)
        office, day = a["office"].astype(np.int64), a["day"].astype(np.int64)
        room = a["room"].astype(np.int64)
        room = np.where(room < 0, self._any_room(office, rng), room)
        removed = a["removed_day"].astype(np.int64)
        at_work = 9 * HOUR + rng.integers(0, 8 * HOUR, count)
        left = np.where(removed >= 0, removed * DAY + at_work, -1)
        is_unseen = (left >= 0) & (a["missed_start"] < 0)
        held = is_unseen & (rng.random(count) < _LEFT_WITH_APPOINTMENT)
        quarter = 15 * MINUTE
        later = (removed + rng.integers(2, 15, count)) * DAY + at_work // quarter * quarter
        by_date = np.array([o.is_booked_by_date for o in self.offices])
        return {
            "office": office,
            "resource": room,
            "requested": day * DAY + hours_of_day("elective", count, rng),
            "source_setting": self._settings(office, rng),
            "priority": self._priorities(office, a["is_planned"], a["wait"], rng),
            "is_unscheduled": np.zeros(count, dtype=bool),
            "is_walk_in": np.zeros(count, dtype=bool),
            "slot": np.where(held, later, a["start"]),
            "missed_slot": a["missed_start"],
            "left": left,
            "due_day": np.where(a["is_planned"] & ~by_date[office], a["due_day"], -1),
        }

    def _priorities(
        self,
        office: NDArray[np.int64],
        planned: NDArray[np.bool_],
        wait: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.str_]:
        """Planned, else by the wait: the prompt ones are mostly suspected cancers and urgent ones.

        What is booked by a date that is no surveillance (obstetric scans) is routine.
        """
        by_date = np.array([o.is_booked_by_date for o in self.offices])
        wanted = np.array([_CANCER_RATE.get(o.name, _OTHER_CANCER_RATE) for o in self.offices])
        cancer = np.minimum(wanted / self._prompt_shares, _MOST_CANCER)
        urgent = cancer + np.minimum(_URGENT_RATE / self._prompt_shares, _MOST_URGENT)
        u = rng.random(len(office))
        soon = (wait <= PROMPT_DAYS) & ~planned
        return np.select(
            [
                by_date[office],
                planned,
                soon & (u < cancer[office]),
                soon & (u < urgent[office]),
            ],
            ["R", "P", "T", "U"],
            "R",
        )

    def _settings(self, office: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.str_]:
        """Who referred the scheduled work of each modality."""
        setting = np.full(len(office), "03", dtype="<U2")
        for number, (codes, weight) in enumerate(self._mixes):
            mine = office == number
            setting[mine] = rng.choice(codes, int(mine.sum()), p=weight)
        return setting

    def _any_room(self, office: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A room of the office for each entry, by the rooms' share of its work."""
        chosen = np.zeros(len(office), dtype=np.int64)
        for number, settings in enumerate(self.offices):
            mine = office == number
            weight = np.array([self.rooms[r].weight for r in settings.rooms])
            chosen[mine] = rng.choice(settings.rooms, int(mine.sum()), p=weight / weight.sum())
        return chosen

    def _walk_ins(self, first_on: date, end_on: date, rng: np.random.Generator) -> Columns:
        """Patients sent from a clinic or by a general practitioner, seen in turn the same day."""
        days = [calendar.day_number(first_on) * DAY, calendar.day_number(end_on) * DAY]
        first, end = np.searchsorted(self._free["start"], days)
        office = self._free["office"][first:end].astype(np.int64)
        start = self._free["start"][first:end]
        count = int(end - first)
        none = np.full(count, -1, dtype=np.int64)
        u = rng.random(count)
        return {
            "office": office,
            "resource": self._free["room"][first:end].astype(np.int64),
            "requested": start - rng.integers(15 * MINUTE, 70 * MINUTE, count),
            "source_setting": self._settings(office, rng),
            "priority": np.select([u < _OTHER_CANCER_RATE, u < _URGENT_RATE], ["T", "U"], "R"),
            "is_unscheduled": np.zeros(count, dtype=bool),
            "is_walk_in": np.ones(count, dtype=bool),
            "slot": start,
            "missed_slot": none,
            "left": none,
            "due_day": none,
        }

    def _unscheduled(self, month_on: date, rng: np.random.Generator) -> Columns:
        """Emergencies and inpatients of every office."""
        parts = []
        for setting, of_offices in self._unscheduled_expected.items():
            office, day = unscheduled_days(of_offices[month_on], month_on, setting, rng)
            parts.append(
                {
                    "office": office,
                    "requested": day * DAY + hours_of_day(setting, len(day), rng),
                    "source_setting": np.full(len(day), setting),
                }
            )
        a = joined(*parts)
        count = len(a["office"])
        u = rng.random(count)
        emergency = np.where(u < 0.72, "S", "U")
        inpatient = np.select([u < 0.18, u < 0.62], ["S", "U"], "R")
        is_emergency = a["source_setting"] == EMERGENCY_DEPARTMENT
        none = np.full(count, -1, dtype=np.int64)
        return a | {
            "resource": self._any_room(a["office"], rng),
            "priority": np.where(is_emergency, emergency, inpatient),
            "is_unscheduled": np.ones(count, dtype=bool),
            "is_walk_in": np.zeros(count, dtype=bool),
            "slot": none,
            "missed_slot": none,
            "left": none,
            "due_day": none,
        }


def _weights(
    mix: pl.DataFrame, office: Office, name: str
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Values of one column of a mix for the modality of an office, and their probabilities."""
    mine = mix.filter(pl.col("modality_group") == office.modality_group)
    weight = mine["weight"].to_numpy()
    return mine[name].to_numpy().astype(str), weight / weight.sum()


def _unscheduled_by_month(
    offices: list[Office], profile: Profile, scale: float
) -> dict[str, dict[date, NDArray[np.float64]]]:
    """Expected unscheduled requests by setting and month: one number per office."""
    emergency = np.array([emergency_rate(profile, o.trust_code, o.modality_group) for o in offices])
    table: dict[date, list[float]] = {}
    for office in offices:
        for month_on, count in office.months.select("month_on", "unscheduled").iter_rows():
            table.setdefault(month_on, []).append(count * scale)
    return {
        EMERGENCY_DEPARTMENT: {m: np.array(counts) * emergency for m, counts in table.items()},
        INPATIENT: {m: np.array(counts) * (1 - emergency) for m, counts in table.items()},
    }
