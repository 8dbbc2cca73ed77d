"""Booking offices at work: rooms and their slots, and which referral was given which slot.

Every trust has an office per test. Its rooms are the scanners of the sites the trust runs today
(one list is kept for all of them), its referrals and slots per month are the fitted inputs times
the scale. A site keeps its programme party whatever the trust.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.problems import Problem
from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, MINUTE
from pipelines.synthetic.demand import ELECTIVE_SEASON
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import Profile
from pipelines.synthetic.waiting_list import (
    MAIN,
    PLANNED,
    SCARCE,
    BookingOffice,
    Demand,
    slot_weights,
    spread_over,
)

if TYPE_CHECKING:
    from pipelines.network import Network

# Months run past the last day, so that the appointments booked ahead are known. Before the first
# day the offices run from the start of their inputs: a list carries its past.
AHEAD_MONTHS = 4
# Usual minutes of one staffed session by modality; a room holds as few sessions a week as hold
# its slots, and more rooms are equipped when ten hours a day do not.
_SESSION_MINUTES = {"DX": 60, "CT": 90, "MR": 110, "US": 90}
_OTHER_SESSION_MINUTES = 90
_ROOM_MINUTES_A_DAY = 600
_OPENS = (9 * 60, 9 * 60 + 30, 13 * 60 + 30, 10 * 60, 14 * 60)
_LONG_DAY_OPENS = 8 * 60
_WORKING_DAYS_A_MONTH = 21
_OTHER_SITE_WEIGHT = 0.45
# A month with fewer scarce slots than this has no lane for them.
_FEWEST_SCARCE_SLOTS = 8.0
_EXTRA_SESSION_RATE = 0.06
# Volumes without a published list are those of this year; growth runs backwards from it.
_VOLUMES_OF = date(2025, 10, 1)


class RegisterTooSmall(Problem):
    """The scanner register cannot hold the volume; the message names site, modality and minutes."""


@dataclass(frozen=True)
class Room:
    """Does one exam at a time. `station_name` is None when no scanner is registered there."""

    site_code: str
    dicom_modality: str
    station_name: str | None
    weight: float


@dataclass(frozen=True)
class Office:
    """One booking office and what it is given.

    `rooms` are numbers in the list of rooms. `months`: month_on, requests, slots, scarce_slots,
    planned, unscheduled, walk_ins, all at full scale. `lead_days` is how long before its due day
    a planned examination is requested (shortest, longest). With `is_booked_by_date` all are
    planned, by a date that is no surveillance (a week of pregnancy). With `is_vetted` a
    radiologist vets each request before it is booked.
    """

    trust_code: str
    name: str
    modality_group: str
    dicom_modality: str
    slot_minutes: float
    rooms: list[int]
    demand: Demand
    months: pl.DataFrame
    lead_days: tuple[int, int]
    is_booked_by_date: bool
    is_vetted: bool


@dataclass(frozen=True)
class Diaries:
    """Every referral of the offices, and every staffed session.

    `referrals`, one row each: office, requested_day, lane, removed_day (-1 unless it left), and
    room, start, missed_room, missed_start (local seconds; -1 where there is no such slot).
    `walk_ins`, one row per patient seen without an appointment: office, room, start.
    `sessions`: room, session_start, session_end (local seconds), pay_type.
    """

    referrals: pl.DataFrame
    walk_ins: pl.DataFrame
    sessions: pl.DataFrame


def find_offices(
    network: Network,
    profile: Profile,
    period: Period,
    scale: float,
    *,
    may_add_rooms: bool = False,
) -> tuple[list[Room], list[Office]]:
    """Rooms, and the offices in the order of trust and name, equipped for their volume.

    Raises RegisterTooSmall where the registered scanners cannot hold the volume of the scale,
    unless rooms may be added (`<station name>-2` and so on), which no register knows.
    """
    inputs = _monthly_inputs(profile, period)
    settings = profile.offices.rows_by_key("office", named=True, unique=True)
    minutes: dict[tuple[str, str], float] = {}
    for (trust, name), months in inputs.items():
        modality = settings[name]["dicom_modality"]
        monthly = _lately(months, "slots", "planned", "unscheduled", "walk_ins")
        monthly *= settings[name]["slot_minutes"] * scale
        minutes[trust, modality] = minutes.get((trust, modality), 0.0) + monthly
    rooms: list[Room] = []
    numbers: dict[tuple[str, str], list[int]] = {}
    for trust, modality in sorted(minutes):
        places = find_places(network, trust, modality)
        whole = sum(weight for _, _, weight in places)
        found = []
        for site, station, weight in places:
            daily = minutes[trust, modality] / _WORKING_DAYS_A_MONTH * weight / whole
            bays = max(1, int(np.ceil(daily / _ROOM_MINUTES_A_DAY)))
            if bays > 1 and station is not None and not may_add_rooms:
                raise RegisterTooSmall(
                    f"{site} has {daily:,.0f} minutes of {modality} a day at scale {scale}, "
                    f"{bays} times what one scanner holds; add scanners to scanner_register.csv "
                    "or choose a smaller scale"
                )
            for bay in range(1, bays + 1):
                name = station if bay == 1 or station is None else f"{station}-{bay}"
                found.append(len(rooms))
                rooms.append(Room(site, modality, name, weight / bays))
        numbers[trust, modality] = found
    offices = [
        Office(
            trust_code=trust,
            name=name,
            modality_group=settings[name]["modality_group"],
            dicom_modality=settings[name]["dicom_modality"],
            slot_minutes=settings[name]["slot_minutes"],
            rooms=numbers[trust, settings[name]["dicom_modality"]],
            demand=_demand(profile, trust, name),
            months=months,
            lead_days=(
                int(settings[name]["planned_lead_shortest"]),
                int(settings[name]["planned_lead_longest"]),
            ),
            is_booked_by_date=settings[name]["is_booked_by_date"] == "yes",
            is_vetted=settings[name]["is_vetted"] == "yes",
        )
        for (trust, name), months in sorted(inputs.items())
        if numbers[trust, settings[name]["dicom_modality"]]
    ]
    return rooms, offices


def register_of(rooms: list[Room], network: Network) -> pl.DataFrame:
    """The scanner register with the rooms that were added; the columns of the network's own."""
    known = network.scanner_register
    added = []
    for room in rooms:
        station = room.station_name
        if station is None or station in set(known["station_name"]):
            continue
        first, _, bay = station.rpartition("-")
        like = known.row(by_predicate=pl.col("station_name") == first, named=True)
        names = ("device_serial_number", "ae_title", "room")
        added.append(like | {"station_name": station} | {n: f"{like[n]}-{bay}" for n in names})
    return pl.concat([known, pl.DataFrame(added, schema=known.schema)]) if added else known


def _lately(months: pl.DataFrame, *counts: str) -> float:
    """Monthly mean of counts over the last year."""
    return float(months.tail(12).select(pl.sum_horizontal(counts)).to_series().to_numpy().mean())


def find_places(network: Network, trust: str, modality: str) -> list[tuple[str, str | None, float]]:
    """Site, station and weight of every scanner of a trust's sites, in the register's order.

    A modality without scanners in the register (fluoroscopy, DEXA) is done in one unregistered
    room where the trust has its first MR scanner. Sites with CT take most of the work.
    """
    current = network.site_trust_history.filter(pl.col("valid_to").is_null())
    mine = set(current.filter(pl.col("trust_code") == trust)["site_code"])
    scanners = [
        row
        for row in network.scanner_register.select(
            "site_code", "dicom_modality", "station_name"
        ).iter_rows()
        if row[0] in mine
    ]
    acute = {site for site, kind, _ in scanners if kind == "CT"}
    found: list[tuple[str, str | None, float]] = [
        (site, station, 1.0 if site in acute else _OTHER_SITE_WEIGHT)
        for site, kind, station in scanners
        if kind == modality
    ]
    if not found and modality not in set(network.scanner_register["dicom_modality"]):
        found = [(site, None, 1.0) for site, kind, _ in scanners if kind == "MR"][:1]
    return found


def _monthly_inputs(profile: Profile, period: Period) -> dict[tuple[str, str], pl.DataFrame]:
    """Months of every office at full scale; those before and after the table repeat its ends."""
    known = profile.waiting_list_inputs["month_on"].to_list()
    first = min(period.first_on.replace(day=1), *known)
    wanted = calendar.months_between(first, calendar.month_after(period.end_on, AHEAD_MONTHS))
    found = {}
    for (trust, name), rows in profile.waiting_list_inputs.partition_by(
        ["trust_code", "dm01_test"], as_dict=True
    ).items():
        found[str(trust), str(name)] = _extended(rows, wanted)
    for row in profile.service_volumes.iter_rows(named=True):
        found[row["trust_code"], row["office"]] = _unpublished(row, profile, wanted)
    return found


_COUNTS = ("requests", "slots", "scarce_slots", "planned", "unscheduled", "walk_ins")


def _extended(rows: pl.DataFrame, wanted: list[date]) -> pl.DataFrame:
    """The wanted months; a month inside the table that was not published is empty."""
    known = rows.with_columns(walk_ins=pl.lit(0.0)).select("month_on", *_COUNTS)
    months = pl.DataFrame({"month_on": wanted}).join(
        known, on="month_on", how="left", maintain_order="left"
    )
    first, last = known["month_on"].min(), known["month_on"].max()
    ends = {name: (known[name][0], known[name].tail(12).mean()) for name in _COUNTS}
    return months.with_columns(
        pl.when(pl.col("month_on") < first)
        .then(pl.lit(ends[name][0]))
        .when(pl.col("month_on") > last)
        .then(pl.lit(ends[name][1]))
        .otherwise(pl.col(name).fill_null(0.0))
        .alias(name)
        for name in _COUNTS
    )


def _unpublished(row: dict[str, object], profile: Profile, wanted: list[date]) -> pl.DataFrame:
    """Months of an office without a national waiting list, from its yearly volume."""
    name = str(row["office"])
    settings = profile.offices.row(by_predicate=pl.col("office") == name, named=True)
    months = pl.DataFrame({"month_on": wanted}).join(
        profile.covid_demand, on="month_on", how="left", maintain_order="left"
    )
    then = calendar.day_number(_VOLUMES_OF)
    years = np.array([(calendar.day_number(m) - then) / 365.25 for m in wanted])
    season = np.array([ELECTIVE_SEASON[m.month - 1] for m in wanted])
    size = float(str(row["exams_per_year"])) / 12 * (1 + settings["growth_per_year"]) ** years
    elective = months["elective_factor"].fill_null(1.0).to_numpy()
    urgent = months["emergency_factor"].fill_null(1.0).to_numpy()
    unscheduled_rate = float(str(row["unscheduled_rate"]))
    scheduled = size * season * elective * (1 - unscheduled_rate)
    walk_in_rate = float(str(row["walk_in_rate"]))
    booked = scheduled * (1 - walk_in_rate)
    is_planned = settings["is_booked_by_date"] == "yes"
    # A list of a quarter of a month stands at the start; it is never worked off.
    backlog = np.where(np.arange(len(wanted)) == 0, 1.25, 1.0)
    waiting = np.zeros(len(wanted)) if is_planned else booked
    remaining, kept = 1 - settings["removal_rate"], 1 - settings["missed_rate"]
    return pl.DataFrame(
        {
            "month_on": wanted,
            "requests": waiting * backlog / remaining,
            "slots": waiting / kept,
            "scarce_slots": np.zeros(len(wanted)),
            "planned": booked if is_planned else np.zeros(len(wanted)),
            "unscheduled": size * urgent * unscheduled_rate,
            "walk_ins": scheduled * walk_in_rate,
        }
    )


def _demand(profile: Profile, trust: str, name: str) -> Demand:
    settings = profile.offices.row(by_predicate=pl.col("office") == name, named=True)
    rates = profile.waiting_list_habits.filter(
        (pl.col("trust_code") == trust) & (pl.col("dm01_test") == name)
    )
    return Demand(
        requests=0.0,
        planned=0.0,
        shape=profile.shape_of(name),
        scarce_rate=float(rates["scarce_rate"][0]) if len(rates) else 0.0,
        scarce_spread_days=float(rates["scarce_spread_days"][0]) if len(rates) else 0.0,
        missed_rate=settings["missed_rate"],
        removal_rate=float(rates["removal_rate"][0]) if len(rates) else settings["removal_rate"],
    )


def keep_diaries(rooms: list[Room], offices: list[Office], scale: float, seed: int) -> Diaries:
    """Run every office over its months and note who was given which slot."""
    sharing: dict[tuple[int, ...], list[int]] = {}
    for number, office in enumerate(offices):
        sharing.setdefault(tuple(office.rooms), []).append(number)
    # Offices that share rooms share their days; of the others nothing needs to be known.
    parts = [_keep_diaries_of(numbers, rooms, offices, scale, seed) for numbers in sharing.values()]
    return Diaries(
        pl.concat([part.referrals for part in parts]),
        pl.concat([part.walk_ins for part in parts]),
        pl.concat([part.sessions for part in parts]),
    )


def _keep_diaries_of(
    numbers: list[int], rooms: list[Room], offices: list[Office], scale: float, seed: int
) -> Diaries:
    """Diaries of the offices that share one set of rooms."""
    booked, slot_parts = [], []
    for number in numbers:
        rng = np.random.default_rng([seed, 20, number])
        referrals, slots = _run(offices[number], rooms, scale, rng)
        office = pl.lit(number, dtype=pl.Int16).alias("office")
        booked.append((number, referrals.with_columns(office)))
        slot_parts.append(slots.with_columns(office))
    slots = _clock(pl.concat(slot_parts), rooms, offices)
    walk_ins = slots.filter(pl.col("slot_no") < 0).select("office", "room", "start")
    referrals = []
    for number, frame in booked:
        mine = slots.filter((pl.col("office") == number) & (pl.col("slot_no") >= 0))
        mine = mine.sort("slot_no").select("room", "start")
        referrals.append(
            frame.select(
                "office",
                "requested_day",
                "lane",
                "removed_day",
                *_looked_up(frame["slot"], mine, ""),
                *_looked_up(frame["missed_slot"], mine, "missed_"),
            )
        )
    sessions = _sessions(slots, np.random.default_rng([seed, 21, numbers[0]]))
    return Diaries(pl.concat(referrals), walk_ins, sessions)


def _looked_up(slot: pl.Series, slots: pl.DataFrame, prefix: str) -> list[pl.Series]:
    """Room and start of each slot number; -1 where there is no slot."""
    number = slot.to_numpy()
    found = []
    for name in ("room", "start"):
        values = slots[name].to_numpy()
        known = values[np.maximum(number, 0)] if len(values) else np.full(len(number), -1)
        column = pl.Series(f"{prefix}{name}", np.where(number >= 0, known, -1))
        found.append(column.cast(slots.schema[name]))
    return found


def _run(
    office: Office, rooms: list[Room], scale: float, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Referrals of one office, and its slots: slot_no, room, day, rank in the room's day.

    A slot for a patient without an appointment has no number (-1).
    """
    desk = BookingOffice(rng)
    patterns = [_pattern(office, rooms, index, scale) for index in range(len(office.rooms))]
    weight = np.array([rooms[r].weight for r in office.rooms])
    share = weight / weight.sum()
    phase = rng.random(len(office.rooms))
    free_phase = rng.random(len(office.rooms))
    lane_phase = rng.random(2)
    booked_slots, free_slots = _SlotNotes(), _SlotNotes()
    scarce_slots = float(office.months["scarce_slots"].to_numpy().mean()) * scale
    is_thin = scarce_slots < _FEWEST_SCARCE_SLOTS
    for row in office.months.iter_rows(named=True):
        days, plain = slot_weights(row["month_on"])
        month = replace(
            office.demand,
            requests=row["requests"] * scale,
            planned=row["planned"] * scale,
            is_thin=is_thin,
        )
        planned = month.planned / (1 - month.missed_rate)
        total = row["slots"] * scale + planned
        grid = np.zeros((len(office.rooms), len(days)), dtype=np.int64)
        for index, pattern in enumerate(patterns):
            grid[index], phase[index] = spread_over(
                _open_on(pattern, days, plain), total * share[index], phase[index]
            )
        per_day = grid.sum(axis=0)
        lanes = np.zeros((3, len(days)), dtype=np.int64)
        if per_day.sum():
            left = per_day
            for place, (lane, count) in enumerate(
                ((SCARCE, 0.0 if is_thin else row["scarce_slots"] * scale), (PLANNED, planned))
            ):
                wanted = min(count + lane_phase[place], float(left.sum()))
                lanes[lane] = np.minimum(spread_over(left, wanted, 0.0)[0], left)
                lane_phase[place] += count - lanes[lane].sum()
                left = left - lanes[lane]
            lanes[MAIN] = left
        _, offered = desk.book_month(days, month, plain, lanes)
        _add_extra(grid, np.array(offered) - per_day, share)
        booked_slots.add(grid, days, office.rooms)
        walk_ins = grid * 0
        for index in np.flatnonzero(share) if row["walk_ins"] else []:
            count = row["walk_ins"] * scale * share[index]
            walk_ins[index], free_phase[index] = spread_over(
                _open_on(patterns[index], days, plain), count, free_phase[index]
            )
        free_slots.add(walk_ins, days, office.rooms)
    bookings = desk.bookings
    assert bookings is not None
    return (
        pl.DataFrame(
            {
                "requested_day": pl.Series(bookings.requested_day, dtype=pl.Int32),
                "lane": pl.Series(bookings.lane, dtype=pl.Int8),
                "slot": pl.Series(bookings.slot, dtype=pl.Int32),
                "missed_slot": pl.Series(bookings.missed_slot, dtype=pl.Int32),
                "removed_day": pl.Series(bookings.removed_day, dtype=pl.Int32),
            }
        ),
        pl.concat(
            [booked_slots.as_frame(is_numbered=True), free_slots.as_frame(is_numbered=False)]
        ),
    )


def _open_on(
    pattern: NDArray[np.float64], days: NDArray[np.int64], plain: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weight of each day for a room; all days where none of its weekdays is open."""
    weights = pattern[(days + 3) % 7] * plain
    return weights if weights.sum() else plain


def _pattern(office: Office, rooms: list[Room], index: int, scale: float) -> NDArray[np.float64]:
    """Weight of each weekday (Monday first) of a room: a small room is staffed on few days."""
    room = rooms[office.rooms[index]]
    whole = sum(rooms[r].weight for r in office.rooms)
    monthly = _lately(office.months, "slots", "planned", "walk_ins") * scale
    weekly = monthly * 12 / 365.25 * 7 * room.weight / whole * office.slot_minutes
    usual = _SESSION_MINUTES.get(room.dicom_modality, _OTHER_SESSION_MINUTES)
    count = int(np.clip(round(weekly / usual), 1, 6))
    weekdays = np.zeros(7)
    if count == 6:
        return np.ones(7)
    step = 2 if count <= 3 else 1
    weekdays[[(office.rooms[index] + step * n) % 5 for n in range(count)]] = 1.0
    return weekdays


def _add_extra(
    grid: NDArray[np.int64], extra: NDArray[np.int64], share: NDArray[np.float64]
) -> None:
    """Put the extra slots of a day into the rooms open that day, else into the largest room."""
    for column in np.flatnonzero(extra).tolist():
        rooms = np.flatnonzero(grid[:, column])
        rooms = rooms if len(rooms) else np.array([int(np.argmax(share))])
        for turn in range(int(extra[column])):
            grid[rooms[turn % len(rooms)], column] += 1


class _SlotNotes:
    """Slots in the order they are given out: by day, then by turn within the room, then room."""

    def __init__(self) -> None:
        self.days: list[NDArray[np.int64]] = []
        self.rooms: list[NDArray[np.int64]] = []
        self.ranks: list[NDArray[np.int64]] = []

    def add(self, grid: NDArray[np.int64], days: NDArray[np.int64], rooms: list[int]) -> None:
        """Add one month; `grid` has the slots of each room (row) and day (column)."""
        count = grid.ravel()
        room_index = np.repeat(np.repeat(np.arange(len(rooms)), len(days)), count)
        day_index = np.repeat(np.tile(np.arange(len(days)), len(rooms)), count)
        rank = np.arange(len(room_index)) - np.repeat(np.cumsum(count) - count, count)
        order = np.lexsort((room_index, rank, day_index))
        self.days.append(days[day_index[order]])
        self.rooms.append(np.array(rooms)[room_index[order]])
        self.ranks.append(rank[order])

    def as_frame(self, *, is_numbered: bool) -> pl.DataFrame:
        """Columns slot_no (from 0, or -1 throughout), room, day, rank."""
        day = np.concatenate(self.days).astype(np.int32)
        number = np.arange(len(day)) if is_numbered else np.full(len(day), -1)
        return pl.DataFrame(
            {
                "slot_no": number.astype(np.int32),
                "room": np.concatenate(self.rooms).astype(np.int32),
                "day": day,
                "rank": np.concatenate(self.ranks).astype(np.int32),
            }
        )


def _clock(slots: pl.DataFrame, rooms: list[Room], offices: list[Office]) -> pl.DataFrame:
    """Add start and length (local seconds): slots of a room follow each other through its day."""
    length = np.array([int(o.slot_minutes * MINUTE) for o in offices], dtype=np.int64)
    slots = slots.with_columns(seconds=pl.Series(length[slots["office"].to_numpy()])).sort(
        "room", "day", "rank", "office"
    )
    elapsed = pl.col("seconds").cum_sum().over("room", "day")
    whole = pl.col("seconds").sum().over("room", "day")
    usual = np.array([_OPENS[n % len(_OPENS)] * MINUTE for n in range(len(rooms))])
    opens = pl.Series(usual[slots["room"].to_numpy()])
    return slots.with_columns(
        opens=pl.when(whole > 4 * 3600).then(_LONG_DAY_OPENS * MINUTE).otherwise(opens)
    ).with_columns(
        start=pl.col("day").cast(pl.Int64) * DAY + pl.col("opens") + elapsed - pl.col("seconds")
    )


def _sessions(slots: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """One staffed session per room and day with slots; ends are whole quarters of an hour."""
    quarter = 15 * MINUTE
    sessions = (
        slots.group_by("room", "day")
        .agg(
            session_start=pl.col("start").min(),
            session_end=(pl.col("start") + pl.col("seconds")).max(),
        )
        .sort("room", "day")
        .with_columns(session_end=(pl.col("session_end") + quarter - 1) // quarter * quarter)
        .drop("day")
    )
    extra = pl.Series(rng.random(len(sessions)) < _EXTRA_SESSION_RATE)
    return sessions.with_columns(
        pay_type=pl.when(extra).then(pl.lit("WLI")).otherwise(pl.lit("plain"))
    )
