"""Vetting, booking, and appointments that were not kept: missed, cancelled, booked again.

The offices say in which slot a patient was seen, and which slot was missed before. What leads
there is settled here: when the request was vetted or refused, when each appointment was made,
and which of the slots not kept the patient cancelled. An appointment that the department cancelled
lies before the slot that took place and took none of the office's slots, so no list changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE, Seconds
from pipelines.synthetic.reference_tables import read_text_table
from pipelines.synthetic.reporting import NEVER, to_working_hours
from pipelines.synthetic.requests import Columns

CANCEL_REASONS = {
    "DUP": "Duplicate request",
    "CLIN": "No longer clinically indicated",
    "PAT": "Patient declined",
    "ELSE": "Done elsewhere",
    "CONTRA": "Contraindication found",
}
# Who cancelled an appointment; clock_reset_rules.csv knows both words.
PATIENT, HOSPITAL = "patient", "hospital"
REFUSAL = "refusal"
EQUIPMENT_FAILURE = "EQUIP"
# The instants of this module; an appointment is the start of a slot and may lie ahead.
APPOINTMENTS = {
    "first_booked": "first_appointment",
    "moved_booked": "moved_appointment",
    "booked": "appointment",
}
TIMES = (
    "vetted", "first_booked", "first_appointment", "dna", "dna_told", "moved_booked",
    "moved_appointment", "moved", "booked", "appointment", "cancelled",
)  # fmt: skip
_VETTING_SPREAD = 0.8
# An appointment is made so long before its slot at least.
_SHORTEST_NOTICE = HOUR


@cache
def habits() -> dict[str, float]:
    """The figures of reference/appointment_habits.csv by name."""
    rows = read_text_table("appointment_habits").select("habit", "value").iter_rows()
    return {habit: float(value) for habit, value in rows}


@cache
def _reasons(kind: str) -> tuple[list[str], NDArray[np.float64]]:
    """Codes of one kind of reason, and their shares."""
    rows = read_text_table("pathway_reasons").filter(pl.col("kind") == kind)
    weight = rows["weight"].cast(pl.Float64).to_numpy()
    return rows["reason_code"].to_list(), weight / weight.sum()


@cache
def moves() -> tuple[list[str], list[str]]:
    """Who cancelled and why, by the number that stands for both in the column `move`."""
    rows = read_text_table("pathway_reasons").filter(pl.col("kind").is_in([HOSPITAL, PATIENT]))
    return rows["kind"].to_list(), rows["reason_code"].to_list()


def _move(code: str) -> int:
    return moves()[1].index(code)


def _is_by(move: NDArray[np.int8], who: str) -> NDArray[np.bool_]:
    """Which moves are by the patient, or by the hospital."""
    return np.isin(move, [n for n, kind in enumerate(moves()[0]) if kind == who])


@cache
def reason_texts(kind: str) -> dict[str, str]:
    """What the codes of one kind of reason mean."""
    rows = read_text_table("pathway_reasons").filter(pl.col("kind") == kind)
    return dict(rows.select("reason_code", "reason").iter_rows())


def set_bookings(
    a: Columns,
    is_vetted: NDArray[np.bool_],
    rng: np.random.Generator,
    vetting_rng: np.random.Generator,
    moves_rng: np.random.Generator,
) -> None:
    """When each request was vetted, each appointment made or given up, and the exam is due.

    `is_vetted` flags requests that are vetted before they are booked. Adds TIMES (UTC seconds,
    NEVER where it did not happen), `proposed` (when the exam is due to start), the flags
    is_cancelled and is_refused_at_vetting, the code cancel_reason, and `move` (see `moves`, -1
    for none).
    """
    slots = _find_slots(a, is_vetted, rng, vetting_rng)
    _book(a, slots, is_vetted, rng, vetting_rng, moves_rng)
    a["proposed"] = _due(a, slots, rng)
    _cancel(a, slots, rng, vetting_rng)


@dataclass(frozen=True)
class _Slots:
    """What the offices gave each request: local slot, appointments (UTC, NEVER where none)."""

    found: NDArray[np.bool_]
    has_booking: NDArray[np.bool_]
    is_missed: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    slot: Seconds
    appointment: Seconds
    missed: Seconds
    left: Seconds
    no_show: Seconds

    def __len__(self) -> int:
        return len(self.slot)


def _find_slots(
    a: Columns,
    is_vetted: NDArray[np.bool_],
    rng: np.random.Generator,
    vetting_rng: np.random.Generator,
) -> _Slots:
    """Whose slot took place or was missed; adds is_cancelled and is_refused_at_vetting."""
    count = len(a["slot"])
    u = rng.random(count)
    a["is_cancelled"] = (a["left"] >= 0) | (
        u < np.select([a["is_unscheduled"], a["is_walk_in"]], [0.015, 0.004], 0.0)
    )
    is_booked_work = ~a["is_unscheduled"] & ~a["is_walk_in"]
    left = calendar.local_to_utc(np.maximum(a["left"], 0))
    refused = _refused(a, is_vetted & is_booked_work, left, vetting_rng)
    a["is_refused_at_vetting"] = refused
    is_missed = a["missed_slot"] >= 0
    found = (a["slot"] >= 0) & ~refused
    slot = np.maximum(a["slot"], 0) // MINUTE * MINUTE
    first_slot = np.maximum(a["missed_slot"], 0) // MINUTE * MINUTE
    return _Slots(
        found=found,
        has_booking=(found | is_missed) & is_booked_work,
        is_missed=is_missed,
        refused=refused,
        slot=slot,
        appointment=np.where(found, calendar.local_to_utc(slot), NEVER),
        missed=np.where(is_missed, calendar.local_to_utc(first_slot), NEVER),
        left=left,
        no_show=rng.integers(15 * MINUTE, 50 * MINUTE, count),
    )


def _book(
    a: Columns,
    slots: _Slots,
    is_vetted: NDArray[np.bool_],
    rng: np.random.Generator,
    vetting_rng: np.random.Generator,
    moves_rng: np.random.Generator,
) -> None:
    """When each request was vetted, and each appointment made, missed, cancelled, made again."""
    count = len(slots)
    is_missed, missed, has_booking = slots.is_missed, slots.missed, slots.has_booking
    lag = (rng.uniform(0.03, 1.0, count) ** 2 * 4 * DAY).astype(np.int64)
    by_patient = is_missed & has_booking
    by_patient &= moves_rng.random(count) < habits()["patient_cancellation_rate"]
    usable = has_booking & slots.found & ~is_missed & ~a["is_cancelled"]
    by_hospital, earlier = _earlier_slots(usable, slots.slot, a["received"], moves_rng)
    initial = np.select([by_hospital, is_missed], [earlier, missed], slots.appointment)
    # A slot of the next morning: the request must be there before it.
    in_time = np.maximum(a["requested"] + MINUTE, initial - 6 * HOUR)
    a["received"] = np.where(has_booking, np.minimum(a["received"], in_time), a["received"])
    vets = is_vetted & ~a["is_unscheduled"] & ~a["is_walk_in"] & ~slots.refused
    a["vetted"] = _vetted(a, vets, initial, vetting_rng)
    start = np.where(vets, a["vetted"], a["received"])
    room = np.clip(initial - start - 2 * HOUR, 60, None)
    booked_first = start + np.minimum(lag, room // 2)
    booked_first = office_hours(booked_first, initial, rng)

    given_up = np.where(by_hospital, earlier, missed)
    a["move"] = _move_reasons({PATIENT: by_patient, HOSPITAL: by_hospital}, moves_rng)
    is_moved = by_patient | by_hospital
    moved, told_at_once = _cancelled_appointment(
        a["move"], by_patient, by_hospital, booked_first, given_up, moves_rng
    )
    a["moved"] = np.where(is_moved, moved, NEVER)
    a["moved_booked"] = np.where(is_moved, booked_first, NEVER)
    a["moved_appointment"] = np.where(is_moved, given_up, NEVER)

    # A missed slot is missed when it begins; the department says so some minutes later.
    is_dna = is_missed & ~by_patient
    a["dna"] = np.where(is_dna, missed, NEVER)
    a["dna_told"] = np.where(is_dna, missed + slots.no_show, NEVER)
    a["first_booked"] = np.where(has_booking & is_dna, booked_first, NEVER)
    a["first_appointment"] = np.where(has_booking & is_dna, missed, NEVER)
    again = np.where(is_dna, missed + slots.no_show + HOUR, 0) + np.minimum(lag, DAY)
    again = np.where(is_moved, moved + _until_rebooked(by_patient, moves_rng), again)
    latest = slots.appointment - _SHORTEST_NOTICE
    again = np.minimum(office_hours(again, slots.appointment, rng), latest)
    again = np.where(told_at_once, moved, again)
    booked = np.where(is_dna | is_moved, again, booked_first)
    is_booked = has_booking & slots.found
    a["booked"] = np.where(is_booked, booked, NEVER)
    a["appointment"] = np.where(is_booked, slots.appointment, NEVER)


def _due(a: Columns, slots: _Slots, rng: np.random.Generator) -> Seconds:
    """When each exam is due to start: at its appointment, or by its priority; NEVER if it waits."""
    u = rng.random(len(slots))
    hours = np.select(
        [a["priority"] == "S", a["source_setting"] == "05", a["priority"] == "U"],
        [0.6 * np.exp(0.7 * (u * 4 - 2)), 1.0 * np.exp(0.6 * (u * 4 - 2)), 1.0 + 11 * u * u],
        2.0 + 20 * u,
    )
    unplanned = a["received"] + (hours * HOUR).astype(np.int64)
    late = _delay(len(slots), rng)
    waits = ~slots.found & ~a["is_unscheduled"]
    booked = np.minimum(slots.appointment, NEVER - DAY) + late
    return np.select([slots.found, waits], [booked, NEVER], unplanned)


def _delay(count: int, rng: np.random.Generator) -> Seconds:
    """Seconds after the appointment at which a booked patient is called in."""
    known = habits()
    is_late = rng.random(count) < known["late_rate"]
    late = np.minimum(rng.gamma(1.5, known["late_minutes"], count), known["latest_minutes"])
    at_once = rng.integers(0, 80, count)
    return np.where(is_late, late * MINUTE, at_once).astype(np.int64)


def _cancel(
    a: Columns, slots: _Slots, rng: np.random.Generator, vetting_rng: np.random.Generator
) -> None:
    """When and why requests were given up; what was to come after that never did."""
    count = len(slots)
    wait = np.clip(np.minimum(a["proposed"], a["received"] + 2000 * DAY) - a["received"], 600, None)
    cancelled = a["received"] + (wait * rng.uniform(0.05, 0.95, count)).astype(np.int64)
    cancelled = np.where(a["left"] >= 0, np.maximum(slots.left, a["received"] + 600), cancelled)
    told = np.where(slots.is_missed, slots.missed + slots.no_show, 0)
    cancelled = np.maximum(cancelled, told + 600)
    a["cancelled"] = np.where(a["is_cancelled"], cancelled, NEVER)
    a["vetted"] = np.where(a["vetted"] < a["cancelled"], a["vetted"], NEVER)
    gone = a["is_cancelled"] & (a["booked"] > a["cancelled"])
    a["booked"] = np.where(gone, NEVER, a["booked"])
    a["appointment"] = np.where(gone, NEVER, a["appointment"])
    codes = rng.choice(list(CANCEL_REASONS), size=count).astype("<U8")
    refusals, shares = _reasons(REFUSAL)
    codes = np.where(slots.refused, vetting_rng.choice(refusals, size=count, p=shares), codes)
    a["cancel_reason"] = np.where(a["is_cancelled"], codes, "")


def _refused(
    a: Columns, is_vetted: NDArray[np.bool_], left: Seconds, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which of those who leave a list without being seen vetting refused."""
    soon = left - a["received"] <= habits()["refusal_within_days"] * DAY
    leaves = is_vetted & (a["left"] >= 0) & (a["missed_slot"] < 0) & soon
    return leaves & (rng.random(len(left)) < habits()["refusal_rate"])


def _vetted(
    a: Columns, vets: NDArray[np.bool_], initial: Seconds, rng: np.random.Generator
) -> Seconds:
    """In working hours, by priority; sooner where the first slot comes sooner."""
    usual = dict(read_text_table("vetting_habits").select("priority", "usual_hours").iter_rows())
    names = sorted(usual)
    hours = np.array([float(usual[name]) for name in names])[np.searchsorted(names, a["priority"])]
    count = len(vets)
    received = a["received"]
    took = hours * np.exp(_VETTING_SPREAD * rng.standard_normal(count)) * HOUR
    vetted = to_working_hours(received + MINUTE + took.astype(np.int64), vets, rng)
    latest = np.maximum(initial - 3 * HOUR, received + MINUTE)
    sooner = received + np.minimum((latest - received) // 10, took.astype(np.int64) + MINUTE)
    in_hours = to_working_hours(sooner, vets, rng)
    out_of_hours = office_hours(sooner, latest, rng)
    vetted = np.select([vetted <= latest, in_hours <= latest], [vetted, in_hours], out_of_hours)
    return np.where(vets, vetted, NEVER)


def _earlier_slots(
    usable: NDArray[np.bool_], slot: Seconds, received: Seconds, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Seconds]:
    """Whose earlier slot the department cancelled, and that slot: whole weeks before the last."""
    weeks = (slot - calendar.utc_to_local(received) - 2 * DAY) // (7 * DAY)
    most = np.clip(weeks, 1, int(habits()["longest_setback_weeks"]))
    earlier = slot - 7 * DAY * (1 + (rng.random(len(slot)) * most).astype(np.int64))
    chosen = usable & (weeks >= 1)
    chosen &= rng.random(len(slot)) < habits()["hospital_cancellation_rate"]
    if chosen.any():
        day = np.where(chosen, earlier // DAY, 0)
        first, last = int(day[chosen].min()), int(day[chosen].max()) + 1
        working = calendar.is_working_day(first, last - first)
        chosen &= working[np.clip(day - first, 0, last - first - 1)]
    return chosen, np.where(chosen, calendar.local_to_utc(earlier), NEVER)


def _move_reasons(
    chosen: dict[str, NDArray[np.bool_]], rng: np.random.Generator
) -> NDArray[np.int8]:
    """A move for those chosen by who cancels, -1 for the others."""
    move = np.full(len(chosen[PATIENT]), -1, dtype=np.int8)
    for who, rows in chosen.items():
        codes, shares = _reasons(who)
        numbers = np.array([_move(code) for code in codes], dtype=np.int8)
        move[rows] = rng.choice(numbers, size=int(rows.sum()), p=shares)
    return move


def _cancelled_appointment(
    move: NDArray[np.int8],
    by_patient: NDArray[np.bool_],
    by_hospital: NDArray[np.bool_],
    booked: Seconds,
    slot: Seconds,
    rng: np.random.Generator,
) -> tuple[Seconds, NDArray[np.bool_]]:
    """When an appointment was cancelled, and whether the new slot was named at once.

    A session that overruns sends its patient home within the hour after the slot.
    """
    count = len(slot)
    days = np.where(by_patient, habits()["patient_notice_days"], habits()["hospital_notice_days"])
    notice = 2 * HOUR + (rng.random(count) ** 2 * days * DAY).astype(np.int64)
    ahead = office_hours(np.maximum(slot - notice, booked + (slot - booked) // 2), slot, rng)
    overran = slot + rng.integers(15 * MINUTE, HOUR, count)
    at_once = by_hospital & (rng.random(count) < habits()["rebooked_at_once_rate"])
    return np.where(move == _move("OVERRUN"), overran, ahead), at_once


def _until_rebooked(by_patient: NDArray[np.bool_], rng: np.random.Generator) -> Seconds:
    """Seconds from a cancellation to the new booking; a patient who rings gets one there."""
    count = len(by_patient)
    later = HOUR + (rng.random(count) * habits()["rebooked_within_days"] * DAY).astype(np.int64)
    return np.where(by_patient, rng.integers(2 * MINUTE, 15 * MINUTE, count), later)


def office_hours(utc: Seconds, before: Seconds, rng: np.random.Generator) -> Seconds:
    """Move night instants to the morning, unless that would pass `before`."""
    local = calendar.utc_to_local(utc)
    second = local % DAY
    morning = 8 * HOUR + rng.integers(0, 2 * HOUR, len(utc))
    moved = np.select(
        [second < 8 * HOUR, second >= 19 * HOUR],
        [local - second + morning, local - second + DAY + morning],
        local,
    )
    instant = calendar.local_to_utc(moved)
    return np.where(instant < before - 30 * MINUTE, instant, utc)


def can_be_moved(a: Columns) -> NDArray[np.bool_]:
    """Who holds an appointment that the department can cancel.

    One who gave up an appointment before, and whose clock restarted with it, waits instead: the
    columns hold one appointment that was cancelled.
    """
    return (a["booked"] < NEVER) & ~_is_by(a["move"], PATIENT)


def cancel_for_failure(
    a: Columns, rows: NDArray[np.int64], down_from: Seconds, slot: Seconds, rng: np.random.Generator
) -> None:
    """Cancel the appointments of these rows because their scanner failed, and book `slot`.

    An earlier appointment that the department cancelled is forgotten; the booking of one moved
    because of a failure before stays the last that was kept.
    """
    count = len(rows)
    is_first = a["move"][rows] != _move(EQUIPMENT_FAILURE)
    was_moved = is_first & _is_by(a["move"][rows], HOSPITAL)
    made = np.where(was_moved, a["moved_booked"][rows], a["booked"][rows])
    told = down_from + rng.integers(
        5 * MINUTE, int(habits()["failure_told_minutes"]) * MINUTE, count
    )
    told = np.maximum(told, made + MINUTE)
    a["moved_booked"][rows] = np.where(is_first, made, a["moved_booked"][rows])
    a["moved_appointment"][rows] = np.where(
        is_first, a["appointment"][rows], a["moved_appointment"][rows]
    )
    a["moved"][rows] = np.where(is_first, told, a["moved"][rows])
    a["move"][rows] = _move(EQUIPMENT_FAILURE)
    again = told + HOUR // 2 + (rng.random(count) * DAY).astype(np.int64)
    a["booked"][rows] = np.minimum(office_hours(again, slot, rng), slot - _SHORTEST_NOTICE)
    a["appointment"][rows] = slot
    a["proposed"][rows] = slot + rng.integers(0, 80, count)


def hide_untold(a: Columns) -> None:
    """Once instants past the end are NEVER: what is then known of the appointments.

    An appointment is known once it is booked, however far ahead it lies. One that was missed, or
    will be cancelled past the end, is the last known; one that was cancelled already is none.
    """
    for booked, slot in APPOINTMENTS.items():
        a[slot] = np.where(a[booked] == NEVER, NEVER, a[slot])
    stands = (a["moved"] == NEVER) & (a["moved_booked"] < NEVER)
    unmade = (a["booked"] == NEVER) & (a["moved_booked"] == NEVER) & (a["first_booked"] < NEVER)
    for into, slot in (("booked", "moved_booked"), ("appointment", "moved_appointment")):
        first = {"booked": "first_booked", "appointment": "first_appointment"}[into]
        a[into] = np.select([stands, unmade], [a[slot], a[first]], a[into])
        a[slot] = np.where(stands, NEVER, a[slot])
    a["move"] = np.where(a["moved"] < NEVER, a["move"], -1)
    a["is_refused_at_vetting"] = a["is_refused_at_vetting"] & (a["cancelled"] < NEVER)
