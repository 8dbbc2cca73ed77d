"""The exam table: every request of the network and what became of it. This is the truth.

The booking offices say who was seen when; emergencies and inpatients come between; exams queue
on their scanner, reports follow. Everything before the history extract is known to the minute, everything after it to the
second, as the feeds give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar, patients, reporting
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE, Seconds
from pipelines.synthetic.demand import (
    EMERGENCY_DEPARTMENT,
    INPATIENT,
    emergency_rate,
    hours_of_day,
    unscheduled_days,
)
from pipelines.synthetic.offices import Diaries, Office, Room, find_offices, keep_diaries
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import Profile
from pipelines.synthetic.reporting import NEVER
from pipelines.synthetic.waiting_list import PLANNED
from pipelines.synthetic.worlds import World

if TYPE_CHECKING:
    from pipelines.network import Network

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

CANCEL_REASONS = {
    "DUP": "Duplicate request",
    "CLIN": "No longer clinically indicated",
    "PAT": "Patient declined",
    "ELSE": "Done elsewhere",
    "CONTRA": "Contraindication found",
}

# Minutes in the room: shortest, usual, longest. The longest fits the shortest session.
_MINUTES = {
    "DX": (4, 6, 12),
    "CT": (7, 12, 22),
    "MR": (17, 25, 45),
    "US": (9, 14, 24),
    "RF": (15, 20, 30),
    "BMD": (8, 12, 18),
    "NM": (15, 28, 45),
    "PT": (20, 30, 45),
    "MG": (7, 11, 18),
}
_TIMES = (
    "requested",
    "received",
    "first_booked",
    "first_appointment",
    "dna",
    "dna_told",
    "booked",
    "appointment",
    "cancelled",
    "started",
    "completed",
    "preliminary",
    "verified",
    "addendum",
)


@dataclass(frozen=True)
class Simulation:
    """The exam table, the sessions and the resources.

    `exams`: one row per request, in order of request. Times are UTC seconds (Int64, null when it
    has not happened by the end of the period).
    `sessions`: one row per session: site_code, station_name, dicom_modality, session_start,
    session_end (local seconds), pay_type.
    """

    exams: pl.DataFrame
    sessions: pl.DataFrame
    rooms: list[Room]


def simulate(
    network: Network,
    profile: Profile,
    period: Period,
    patient_table: pl.DataFrame,
    scale: float,
    seed: int,
    world: World,
) -> Simulation:
    """Run the booking offices, draw the rest, carry each to its report; same seed, same tables."""
    rooms, offices = find_offices(network, profile, period, scale)
    diaries = keep_diaries(rooms, offices, scale, seed)
    rng = np.random.default_rng([seed, 2])
    a = _joined(
        _booked(diaries, rooms, offices, profile, period, rng),
        _walk_ins(diaries, offices, profile, period, rng),
        _unscheduled(rooms, offices, profile, period, scale, np.random.default_rng([seed, 1])),
    )
    party_of = dict(network.sites.select("site_code", "party_code").iter_rows())
    site = np.array([room.site_code for room in rooms])
    a["site_code"] = site[a["resource"]]
    a["party_code"] = np.array([party_of[code] for code in site.tolist()])[a["resource"]]
    a["modality_group"] = np.array([o.modality_group for o in offices])[a["office"]]
    a["dicom_modality"] = np.array([o.dicom_modality for o in offices])[a["office"]]
    a["seconds"] = _durations(a["dicom_modality"], rng)
    order = np.argsort(a["requested"], kind="stable")
    a = {name: values[order] for name, values in a.items()}
    a["requested"] = calendar.local_to_utc(a["requested"])
    a["received"] = a["requested"] + _received_after(a, rng)
    _choose_exam_and_patient(a, offices, network, profile, patient_table, rng)
    _set_bookings(a, np.random.default_rng([seed, 5]))
    _queue(a)
    _report(a, profile, world, np.random.default_rng([seed, 6]))
    _round_and_hide(a, period)
    exams = _as_frame(a, network, period, rooms, np.random.default_rng([seed, 7]))
    return Simulation(exams, _room_sessions(diaries.sessions, rooms), rooms)


def _joined(*parts: dict[str, NDArray]) -> dict[str, NDArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _booked(
    diaries: Diaries,
    rooms: list[Room],
    offices: list[Office],
    profile: Profile,
    period: Period,
    rng: np.random.Generator,
) -> dict[str, NDArray]:
    """What the offices booked, from the first day of the period on; times are local seconds."""
    frame = diaries.referrals
    office = frame["office"].to_numpy().astype(np.int64)
    lane = frame["lane"].to_numpy()
    lead = np.array([o.lead_days for o in offices])[office]
    planned = lane == PLANNED
    early = np.where(planned, rng.integers(lead[:, 0], lead[:, 1] + 1), 0)
    day = frame["requested_day"].to_numpy().astype(np.int64) - early
    asked_in = (day >= calendar.day_number(period.first_on)) & (
        day < calendar.day_number(period.end_on)
    )
    frame, office, lane, day = (
        frame.filter(pl.Series(asked_in)),
        office[asked_in],
        lane[asked_in],
        day[asked_in],
    )
    planned = planned[asked_in]
    count = len(day)
    start = frame["start"].to_numpy()
    missed = frame["missed_start"].to_numpy()
    removed_day = frame["removed_day"].to_numpy().astype(np.int64)
    room = frame["room"].to_numpy().astype(np.int64)
    room = np.where(room < 0, frame["missed_room"].to_numpy(), room)
    room = np.where(room < 0, _any_room(office, offices, rooms, rng), room)
    seen = np.where(missed >= 0, missed, np.where(start >= 0, start, period.end)) // DAY
    wait = np.where(planned, 10**6, seen - day)
    at_work = 9 * HOUR + rng.integers(0, 8 * HOUR, count)
    left = np.where(removed_day >= 0, removed_day * DAY + at_work, -1)
    held = (left >= 0) & (missed < 0) & (rng.random(count) < _LEFT_WITH_APPOINTMENT)
    later = (removed_day + rng.integers(2, 15, count)) * DAY + at_work // (
        15 * MINUTE
    ) * 15 * MINUTE
    return {
        "office": office,
        "resource": room,
        "requested": day * DAY + hours_of_day("elective", count, rng),
        "source_setting": _settings(office, offices, profile, rng),
        "priority": _booked_priorities(office, offices, planned, wait, rng),
        "is_unscheduled": np.zeros(count, dtype=bool),
        "is_walk_in": np.zeros(count, dtype=bool),
        "slot": np.where(held, later, start),
        "missed_slot": missed,
        "left": left,
    }


def _booked_priorities(
    office: NDArray[np.int64],
    offices: list[Office],
    planned: NDArray[np.bool_],
    wait: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.str_]:
    """Planned, else by the wait: the prompt ones are mostly the suspected cancers and urgent ones.

    What is booked by a date that is no surveillance (obstetric scans) is routine.
    """
    prompt = (wait <= PROMPT_DAYS) & ~planned
    priority = np.where(planned, "P", "R")
    u = rng.random(len(office))
    for number, settings in enumerate(offices):
        mine = office == number
        if settings.is_booked_by_date:
            priority[mine] = "R"
            continue
        booked = int((mine & ~planned).sum())
        soon = mine & prompt
        share = max(int(soon.sum()) / booked, 0.01) if booked else 1.0
        wanted = _CANCER_RATE.get(settings.name, _OTHER_CANCER_RATE)
        cancer = min(wanted / share, _MOST_CANCER)
        urgent = cancer + min(_URGENT_RATE / share, _MOST_URGENT)
        priority[soon & (u < urgent)] = "U"
        priority[soon & (u < cancer)] = "T"
    return priority


def _settings(
    office: NDArray[np.int64], offices: list[Office], profile: Profile, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Who referred the scheduled work of each modality."""
    setting = np.full(len(office), "03", dtype="<U2")
    for number, settings in enumerate(offices):
        mine = office == number
        mix = profile.setting_mix.filter(pl.col("modality_group") == settings.modality_group)
        weight = mix["weight"].to_numpy()
        codes = mix["source_setting"].to_numpy().astype(str)
        setting[mine] = rng.choice(codes, int(mine.sum()), p=weight / weight.sum())
    return setting


def _any_room(
    office: NDArray[np.int64], offices: list[Office], rooms: list[Room], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A room of the office for each entry, by the rooms' share of its work."""
    chosen = np.zeros(len(office), dtype=np.int64)
    for number, settings in enumerate(offices):
        mine = office == number
        weight = np.array([rooms[r].weight for r in settings.rooms])
        chosen[mine] = rng.choice(settings.rooms, int(mine.sum()), p=weight / weight.sum())
    return chosen


def _walk_ins(
    diaries: Diaries,
    offices: list[Office],
    profile: Profile,
    period: Period,
    rng: np.random.Generator,
) -> dict[str, NDArray]:
    """Patients sent from a clinic or by a general practitioner, seen in turn the same day."""
    frame = diaries.walk_ins.filter(
        pl.col("start").is_between(
            calendar.day_number(period.first_on) * DAY,
            calendar.day_number(period.end_on) * DAY - 1,
        )
    )
    count = len(frame)
    office = frame["office"].to_numpy().astype(np.int64)
    none = np.full(count, -1, dtype=np.int64)
    u = rng.random(count)
    return {
        "office": office,
        "resource": frame["room"].to_numpy().astype(np.int64),
        "requested": frame["start"].to_numpy() - rng.integers(15 * MINUTE, 70 * MINUTE, count),
        "source_setting": _settings(office, offices, profile, rng),
        "priority": np.select([u < _OTHER_CANCER_RATE, u < _URGENT_RATE], ["T", "U"], "R"),
        "is_unscheduled": np.zeros(count, dtype=bool),
        "is_walk_in": np.ones(count, dtype=bool),
        "slot": frame["start"].to_numpy(),
        "missed_slot": none,
        "left": none,
    }


def _unscheduled(
    rooms: list[Room],
    offices: list[Office],
    profile: Profile,
    period: Period,
    scale: float,
    rng: np.random.Generator,
) -> dict[str, NDArray]:
    """Emergencies and inpatients of every office; times are local seconds."""
    parts = []
    for number, settings in enumerate(offices):
        rate = emergency_rate(profile, settings.trust_code, settings.modality_group)
        for setting, share in ((EMERGENCY_DEPARTMENT, rate), (INPATIENT, 1 - rate)):
            months = settings.months.select("month_on", expected=pl.col("unscheduled") * share)
            days = unscheduled_days(months, period, setting, scale, rng)
            parts.append(
                {
                    "office": np.full(len(days), number),
                    "requested": days * DAY + hours_of_day(setting, len(days), rng),
                    "source_setting": np.full(len(days), setting),
                }
            )
    a = _joined(*parts)
    count = len(a["office"])
    u = rng.random(count)
    emergency = np.where(u < 0.72, "S", "U")
    inpatient = np.select([u < 0.18, u < 0.62], ["S", "U"], "R")
    is_emergency = a["source_setting"] == EMERGENCY_DEPARTMENT
    none = np.full(count, -1, dtype=np.int64)
    return a | {
        "resource": _any_room(a["office"], offices, rooms, rng),
        "priority": np.where(is_emergency, emergency, inpatient),
        "is_unscheduled": np.ones(count, dtype=bool),
        "is_walk_in": np.zeros(count, dtype=bool),
        "slot": none,
        "missed_slot": none,
        "left": none,
    }


def _room_sessions(sessions: pl.DataFrame, rooms: list[Room]) -> pl.DataFrame:
    described = pl.DataFrame(
        [(n, r.site_code, r.station_name, r.dicom_modality) for n, r in enumerate(rooms)],
        schema={
            "room": pl.Int32,
            "site_code": pl.String,
            "station_name": pl.String,
            "dicom_modality": pl.String,
        },
        orient="row",
    )
    return sessions.join(described, on="room", how="left", maintain_order="left").drop("room")


def _durations(modality: NDArray[np.str_], rng: np.random.Generator) -> Seconds:
    seconds = np.zeros(len(modality), dtype=np.int64)
    for name, (low, usual, high) in _MINUTES.items():
        mask = modality == name
        seconds[mask] = rng.triangular(low, usual, high, int(mask.sum())) * MINUTE
    return seconds


def _received_after(a: dict[str, NDArray], rng: np.random.Generator) -> Seconds:
    count = len(a["requested"])
    prompt = rng.integers(20, 6 * MINUTE, count)
    electronic = (rng.exponential(2.5 * HOUR, count)).astype(np.int64) + MINUTE
    return np.where(a["is_unscheduled"] | a["is_walk_in"], prompt, electronic)


def _choose_exam_and_patient(
    a: dict[str, NDArray],
    offices: list[Office],
    network: Network,
    profile: Profile,
    patient_table: pl.DataFrame,
    rng: np.random.Generator,
) -> None:
    """Exam code by office, then a patient whom the exam fits."""
    count = len(a["requested"])
    codes = network.exam_codes.join(profile.exam_mix, on="exam_code", how="left").fill_null(0.0)
    exam = np.full(count, "", dtype="<U8")
    for number, office in enumerate(offices):
        table = _codes_of(office, codes)
        for flag, column in ((True, "unscheduled_weight"), (False, "scheduled_weight")):
            mask = (a["office"] == number) & (a["is_unscheduled"] == flag)
            weight = table[column].to_numpy()
            exam[mask] = rng.choice(
                table["exam_code"].to_numpy().astype(str), int(mask.sum()), p=weight / weight.sum()
            )
    a["exam_code"] = exam
    children = network.sites.filter(pl.col("site_name").str.to_lowercase().str.contains("children"))
    child = np.isin(a["site_code"], children["site_code"].to_list()) & (exam != "UOBST")
    breast = np.isin(exam, ("XMAMB", "XMAML", "XMAMR"))
    fit = np.select(
        [child, exam == "UOBST", exam == "MPROS", exam == "NDEXA", breast], [1, 2, 3, 4, 5], 0
    )

    birth = patient_table["birth_on"].cast(pl.Int32).to_numpy()
    sex = patient_table["sex"].to_numpy().astype(str)
    home = patient_table["home_party"].to_numpy().astype(str)
    age = (calendar.day_number(date(2022, 7, 1)) - birth) / 365.25
    fits = {
        0: age > 4,
        1: age < 16,
        2: (sex == "2") & (age > 18) & (age < 44),
        3: (sex == "1") & (age > 50),
        4: age > 45,
        5: (sex == "2") & (age > 35),
    }
    local = rng.random(count) < 0.86
    u = rng.random(count)
    chosen = np.zeros(count, dtype=np.int64)
    for number, fitting in fits.items():
        everyone = np.flatnonzero(fitting)
        visitors = (fit == number) & ~local
        chosen[visitors] = everyone[(u[visitors] ** 1.6 * len(everyone)).astype(np.int64)]
        for party in np.unique(a["party_code"]):
            mask = (fit == number) & local & (a["party_code"] == party)
            pool = np.flatnonzero(fitting & (home == party))
            pool = pool if len(pool) else everyone
            chosen[mask] = pool[(u[mask] ** 1.6 * len(pool)).astype(np.int64)]
    a["patient_no"] = chosen


def _codes_of(office: Office, codes: pl.DataFrame) -> pl.DataFrame:
    """Exam codes of one office: those of its waiting-list test, else those without one."""
    listed = codes.filter(pl.col("dm01_test") == office.name)
    if len(listed):
        return listed
    same_group = pl.col("modality_group") == office.modality_group
    return codes.filter(same_group & pl.col("dm01_test").is_null())


def _set_bookings(a: dict[str, NDArray], rng: np.random.Generator) -> None:
    """When each appointment was made, missed, and made again, and when the exam is due to start."""
    count = len(a["slot"])
    u = rng.random(count)
    a["is_cancelled"] = (a["left"] >= 0) | (
        u < np.select([a["is_unscheduled"], a["is_walk_in"]], [0.015, 0.004], 0.0)
    )
    a["is_missed"] = a["missed_slot"] >= 0
    no_show = rng.integers(15 * MINUTE, 50 * MINUTE, count)
    found = a["slot"] >= 0
    slot = np.maximum(a["slot"], 0) // MINUTE * MINUTE
    first_slot = np.maximum(a["missed_slot"], 0) // MINUTE * MINUTE
    appointment = np.where(found, calendar.local_to_utc(slot), NEVER)
    first = np.where(a["is_missed"], calendar.local_to_utc(first_slot), NEVER)
    has_booking = (found | a["is_missed"]) & ~a["is_unscheduled"] & ~a["is_walk_in"]
    lag = (rng.uniform(0.03, 1.0, count) ** 2 * 4 * DAY).astype(np.int64)
    initial = np.where(a["is_missed"], first, appointment)
    start = a["received"]
    room = np.clip(initial - start - 2 * HOUR, 60, None)
    booked_first = start + np.minimum(lag, room // 2)
    booked_first = _office_hours(booked_first, initial, rng)
    # A missed slot is missed when it begins; the department says so some minutes later.
    a["dna"] = first
    a["dna_told"] = np.where(a["is_missed"], first + no_show, NEVER)
    rebooked = np.where(a["is_missed"], first + no_show + HOUR, 0) + np.minimum(lag, DAY)
    rebooked = np.minimum(_office_hours(rebooked, appointment, rng), appointment - HOUR)
    rebooked = np.where(a["is_missed"], rebooked, NEVER)
    a["first_booked"] = np.where(has_booking & a["is_missed"], booked_first, NEVER)
    a["first_appointment"] = np.where(has_booking & a["is_missed"], first, NEVER)
    a["booked"] = np.where(
        has_booking & found, np.where(a["is_missed"], rebooked, booked_first), NEVER
    )
    a["appointment"] = np.where(has_booking & found, appointment, NEVER)

    u = rng.random(count)
    hours = np.select(
        [a["priority"] == "S", a["source_setting"] == "05", a["priority"] == "U"],
        [0.6 * np.exp(0.7 * (u * 4 - 2)), 1.0 * np.exp(0.6 * (u * 4 - 2)), 1.0 + 11 * u * u],
        2.0 + 20 * u,
    )
    unplanned = a["received"] + (hours * HOUR).astype(np.int64)
    late = rng.integers(0, 80, count)
    waits = ~found & ~a["is_unscheduled"]
    a["proposed"] = np.select(
        [found, waits], [np.minimum(appointment, NEVER - DAY) + late, NEVER], unplanned
    )

    wait = np.clip(np.minimum(a["proposed"], a["received"] + 2000 * DAY) - a["received"], 600, None)
    cancelled = a["received"] + (wait * rng.uniform(0.05, 0.95, count)).astype(np.int64)
    left = calendar.local_to_utc(np.maximum(a["left"], 0))
    cancelled = np.where(a["left"] >= 0, np.maximum(left, a["received"] + 600), cancelled)
    told = np.where(a["is_missed"], first + no_show, 0)
    cancelled = np.maximum(cancelled, told + 600)
    a["cancelled"] = np.where(a["is_cancelled"], cancelled, NEVER)
    gone = a["is_cancelled"] & (a["booked"] > a["cancelled"])
    a["booked"] = np.where(gone, NEVER, a["booked"])
    a["appointment"] = np.where(gone, NEVER, a["appointment"])
    a["cancel_reason"] = np.where(
        a["is_cancelled"], rng.choice(list(CANCEL_REASONS), size=count), ""
    )


def _office_hours(utc: Seconds, before: Seconds, rng: np.random.Generator) -> Seconds:
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


def _queue(a: dict[str, NDArray]) -> None:
    """One exam at a time on a resource: an exam starts when the one before it has ended."""
    done = ~a["is_cancelled"] & (a["proposed"] < NEVER)
    start = np.full(len(done), NEVER)
    order = np.lexsort((a["proposed"], a["resource"]))
    order = order[done[order]]
    resource = a["resource"][order]
    edges = np.flatnonzero(np.diff(resource)) + 1
    for part in np.split(order, edges):
        # Rounding to minutes later keeps the order, because start and end round the same way.
        length = a["seconds"][part]
        earlier = np.cumsum(length) - length
        start[part] = np.maximum.accumulate(a["proposed"][part] - earlier) + earlier
    a["started"] = start
    a["completed"] = np.where(done, start + a["seconds"], NEVER)


def _report(
    a: dict[str, NDArray], profile: Profile, world: World, rng: np.random.Generator
) -> None:
    sizes = profile.party_demand.group_by("party_code", maintain_order=True).agg(
        pl.col("weight").sum()
    )
    reports = reporting.write_reports(
        {
            "party": a["party_code"],
            "modality_group": a["modality_group"],
            "priority": a["priority"],
            "is_unscheduled": a["is_unscheduled"],
            "completed": a["completed"],
        },
        reporting.network_reporting_days(profile.go_lives),
        dict(sizes.iter_rows()),
        dict(profile.modality_demand.select("modality_group", "preliminary_rate").iter_rows()),
        world,
        rng,
    )
    a["preliminary"] = reports.preliminary
    a["verified"] = reports.verified
    a["addendum"] = reports.addendum
    a["reporter_org"] = reports.reporter_org
    a["is_cross_site"] = reports.is_cross_site


def _round_and_hide(a: dict[str, NDArray], period: Period) -> None:
    """Minutes before the extract, seconds after; what lies past the end has not happened."""
    for name in _TIMES:
        values = np.where(a[name] < period.cutoff, a[name] // MINUTE * MINUTE, a[name])
        if name not in ("appointment", "first_appointment"):
            values = np.where(values >= period.end, NEVER, values)
        a[name] = values
    # A start is told by the message of the completed exam only, or by the history extract.
    untold = (a["completed"] == NEVER) & (a["started"] >= period.cutoff)
    a["started"] = np.where(untold, NEVER, a["started"])
    # An appointment is known once it is booked, however far ahead it lies.
    for booked, slot in (("booked", "appointment"), ("first_booked", "first_appointment")):
        a[slot] = np.where(a[booked] == NEVER, NEVER, a[slot])
    # A missed appointment whose rebooking lies past the end leaves the missed one as the last.
    unmade = (a["booked"] == NEVER) & (a["first_booked"] < NEVER)
    a["booked"] = np.where(unmade, a["first_booked"], a["booked"])
    a["appointment"] = np.where(unmade, a["first_appointment"], a["appointment"])


def _as_frame(
    a: dict[str, NDArray],
    network: Network,
    period: Period,
    rooms: list[Room],
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Typed table of the requests made within the period, with codes and identifiers."""
    names = (
        "party_code", "site_code", "resource", "modality_group", "dicom_modality", "exam_code",
        "source_setting", "priority", "patient_no", "is_unscheduled", "cancel_reason",
        "reporter_org", "is_cross_site", *_TIMES,
    )  # fmt: skip
    exams = pl.DataFrame({name: a[name] for name in names}).filter(pl.col("requested") < period.end)
    exams = exams.with_columns(
        *(pl.when(pl.col(t) < int(NEVER)).then(pl.col(t)).alias(t) for t in _TIMES)
    )
    exams = exams.with_columns(
        pl.when(pl.col("cancelled").is_not_null()).then("cancel_reason").alias("cancel_reason"),
        *(
            pl.when(pl.coalesce("verified", "preliminary").is_not_null()).then(name).alias(name)
            for name in ("reporter_org", "is_cross_site")
        ),
        pl.Series(
            "station_name",
            [rooms[i].station_name for i in exams["resource"].to_list()],
            dtype=pl.String,
        ),
    )
    codes = network.exam_codes.select(
        "exam_code", "snomed_code", "exam_name", "body_region", "dm01_test"
    )
    exams = exams.join(codes, on="exam_code", how="left", maintain_order="left")
    return _with_identifiers(_with_trust(exams, network), network, period, rng)


def _with_trust(exams: pl.DataFrame, network: Network) -> pl.DataFrame:
    """Add trust_as_was: the owner of the site on the local day of the exam, else of the request."""
    moment = exams.select(pl.coalesce("completed", "requested")).to_series().to_numpy()
    day = pl.Series("owned_on", calendar.utc_to_local(moment) // DAY).cast(pl.Int32).cast(pl.Date)
    exams = exams.with_row_index("exam_no").with_columns(day)
    owners = network.site_trust_history.select(
        "site_code",
        "trust_code",
        pl.col("valid_from").str.to_date().fill_null(date(1990, 1, 1)),
        pl.col("valid_to").str.to_date().fill_null(date(2100, 1, 1)),
    )
    owned = (
        exams.select("exam_no", "site_code", "owned_on")
        .join(owners, on="site_code")
        .filter(pl.col("owned_on").is_between("valid_from", "valid_to"))
        .select("exam_no", pl.col("trust_code").alias("trust_as_was"))
    )
    return exams.join(owned, on="exam_no", how="left", maintain_order="left").drop("owned_on")


def _with_identifiers(
    exams: pl.DataFrame, network: Network, period: Period, rng: np.random.Generator
) -> pl.DataFrame:
    """Add accession number, study UID and the invented codes of staff and referrers.

    Accession numbers count per party and year, so the same number occurs at several parties.
    """
    count = exams.height
    parties = network.programme_parties["party_code"].to_list()
    party = np.array([parties.index(p) for p in exams["party_code"].to_list()])
    orgs = network.reporting_organisations["reporting_org_code"].to_list()
    org = np.array([orgs.index(o) if o else 0 for o in exams["reporter_org"].to_list()])
    high, low = rng.integers(2**60, 2**61, count), rng.integers(0, 2**62, count)
    uids = [f"2.25.{(h << 62) | w}" for h, w in zip(high.tolist(), low.tolist(), strict=True)]
    year = pl.from_epoch("requested", time_unit="s").dt.strftime("%y")
    running = pl.int_range(1, pl.len() + 1).over("party_code", "year").cast(pl.String)
    is_gp = pl.col("source_setting") == "04"
    staff, reader, doctor, practice = (rng.integers(n, size=count) for n in (24, 40, 90, 60))
    return (
        exams.with_columns(year.alias("year"))
        .with_columns(
            (pl.lit("A") + pl.col("year") + running.str.zfill(6)).alias("accession_number"),
            pl.Series(
                "patient_id", patients.local_patient_ids(exams["patient_no"].to_numpy(), party)
            )
            .cast(pl.String)
            .str.zfill(7)
            .map_elements(lambda text: f"H{text}", return_dtype=pl.String),
            pl.when(pl.col("completed").is_not_null())
            .then(pl.Series(uids))
            .alias("study_instance_uid"),
            pl.when(pl.col("completed").is_not_null())
            .then(_codes("R999", party, staff))
            .alias("radiographer_code"),
            pl.when(pl.col("reporter_org").is_not_null())
            .then(_codes("C999", org, reader))
            .alias("reporter_code"),
            pl.when(is_gp)
            .then(_codes("G999", party, doctor))
            .otherwise(_codes("C998", party, doctor))
            .alias("referrer_code"),
            pl.when(is_gp)
            .then(_codes("ZZG", party, practice))
            .otherwise("party_code")
            .alias("referring_org_code"),
            (pl.col("requested") < period.cutoff).alias("is_in_extract"),
        )
        .drop("year")
    )


def _codes(prefix: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> pl.Series:
    return pl.Series(first * 100 + second).cast(pl.String).str.zfill(4).str.replace("^", prefix)
