"""A booking office: referrals join a list, slots are given out day by day, and the list emerges.

One office serves one trust and one kind of test. Its list has three lanes. Most patients wait in
the main lane and are booked by a due day inside the six-week target, which makes the cliff at six
weeks; when slots run short, everyone slips and the cliff moves. A share needs a scarce slot
(sedation, a device, a subspecialty) and waits for one in turn, which makes the long tail. Planned
examinations join on the day they fall due. A missed appointment uses its slot and resets the clock
(Diagnostic Waiting Times guidance); a removal leaves the list without a test.

Nothing here knows a waiting time: referrals and slots go in, waiting times come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic import calendar

MAIN, SCARCE, PLANNED = 0, 1, 2
LANES = (MAIN, SCARCE, PLANNED)
# Whose patients take a slot that its own lane cannot use: a scarce slot suits everyone.
_OTHER_LANE = {MAIN: MAIN, SCARCE: MAIN, PLANNED: PLANNED}
# Days from a missed appointment to the new due day.
REBOOKED_AFTER_DAYS = 14
# Empty slots of at most so many days, and so many in any case, are made good later.
OWED_DAYS, OWED_COUNT = 7, 1
# The spread of waits for a scarce slot is cut here.
LONGEST_SPREAD_DAYS = 400
# Where scarce slots are too few for a lane, their patients fall due this much later.
LATE_DUE_DAYS = 49


@dataclass(frozen=True)
class Demand:
    """What joins one list in one month.

    Counts are expected numbers: whole patients are drawn with carry, so that the sum over months
    does not drift. `shape` is the weight of each week (1 to 6) of the due day; `scarce_rate` the
    share of referrals that need a scarce slot, `scarce_spread_days` how unevenly they get one.
    With `is_thin` the scarce slots are too few to have a lane of their own (a small network):
    those patients fall due late in the main lane instead.
    """

    requests: float
    planned: float
    shape: NDArray[np.float64]
    scarce_rate: float
    scarce_spread_days: float
    missed_rate: float
    removal_rate: float
    is_thin: bool = False


@dataclass
class Bookings:
    """What became of every referral of one office: one entry per referral, days since 1970.

    `slot` and `missed_slot` number the slots of the office in order of time; -1 where none.
    """

    requested_day: list[int] = field(default_factory=list)
    lane: list[int] = field(default_factory=list)
    slot: list[int] = field(default_factory=list)
    missed_slot: list[int] = field(default_factory=list)
    removed_day: list[int] = field(default_factory=list)


class BookingOffice:
    """The list of one office, carried from day to day; `book_month` moves it on."""

    def __init__(self, rng: np.random.Generator, *, keep: bool = True) -> None:
        """Start with an empty list. `keep=False` leaves no `bookings`."""
        self.rng = rng
        self.bookings = Bookings() if keep else None
        self.clock_start: dict[int, int] = {}
        self.slots_offered = 0
        self.owed = [0, 0, 0]
        self.waits: list[list[tuple[float, int]]] = [[], [], []]
        self._missed_once: set[int] = set()
        self._missed_today: list[tuple[int, tuple[float, int]]] = []
        self._referrals = 0
        self._carry = dict.fromkeys(
            ((what, lane) for what in ("join", "leave", "miss") for lane in LANES), 0.0
        )

    def ages(self, day: int) -> NDArray[np.int64]:
        """Days waited at the end of a day by everyone on the list, planned ones left out."""
        starts = np.fromiter(self.clock_start.values(), np.int64, len(self.clock_start))
        return day - starts

    def book_month(
        self,
        days: NDArray[np.int64],
        demand: Demand,
        request_weights: NDArray[np.float64],
        slots: NDArray[np.int64],
    ) -> tuple[int, list[int]]:
        """Book the days of one month in order; returns the tests done from the list (not planned).

        `slots` has one row per lane and one column per day. What the scarce lane cannot use goes to
        the main one. A slot nobody can use stays empty and is owed: an extra one is given as soon
        as somebody waits. The second result is the number of slots each day had in the end, empty
        and extra ones included.
        """
        arrivals, due_after, lanes, removed = self._arrivals(days, demand, request_weights)
        missed = [self._missed(int(slots[lane].sum()), lane, demand.missed_rate) for lane in LANES]
        owed_at_most = (slots.sum(axis=1) * OWED_DAYS // len(days) + OWED_COUNT).tolist()
        done, next_arrival, offered = 0, 0, []
        for column, day in enumerate(days.tolist()):
            before = self.slots_offered
            for lane in LANES:
                self.owed[lane] = min(self.owed[lane], owed_at_most[lane])
                for _ in range(slots[lane, column]):
                    given = self._give(day, lane, missed[lane].pop())
                    self.owed[lane] += given is None
                    done += given or 0
                    self.slots_offered += 1
                while self.owed[lane] and (given := self._give(day, lane, False)) is not None:
                    self.owed[lane] -= 1
                    done += given
                    self.slots_offered += 1
            offered.append(self.slots_offered - before)
            # Nobody is seen on the day of the referral, or of the missed appointment.
            for lane, wait in self._missed_today:
                heappush(self.waits[lane], wait)
            self._missed_today.clear()
            for _ in range(arrivals[column]):
                self._join(day, due_after[next_arrival], lanes[next_arrival], removed[next_arrival])
                next_arrival += 1
        return done, offered

    def _whole(self, what: str, lane: int, expected: float, at_most: int | None = None) -> int:
        """A whole number near `expected`; what is left of it is carried to the next month."""
        total = self._carry[what, lane] + expected
        whole = max(int(np.floor(total + 0.5)), 0)
        whole = whole if at_most is None else min(whole, at_most)
        self._carry[what, lane] = total - whole
        return whole

    def _arrivals(
        self, days: NDArray[np.int64], demand: Demand, weights: NDArray[np.float64]
    ) -> tuple[list[int], list[float], list[int], list[bool]]:
        """Arrivals per day; per arrival the days to its due day, its lane, and whether it leaves.

        A leaver is found gone when its turn comes; until then it is on the list, as in life.
        """
        rng = self.rng
        scarce = demand.requests * demand.scarce_rate
        expected = {MAIN: demand.requests - scarce, SCARCE: scarce, PLANNED: demand.planned}
        counts = [self._whole("join", lane, expected[lane]) for lane in LANES]
        total = sum(counts)
        lanes = np.repeat(LANES, counts)
        leaves = np.zeros(total, dtype=bool)
        first = 0
        for lane, count in zip((MAIN, SCARCE), counts, strict=False):
            gone = self._whole("leave", lane, expected[lane] * demand.removal_rate, count)
            leaves[first + rng.permutation(count)[:gone]] = True
            first += count
        weeks = rng.choice(len(demand.shape), total, p=demand.shape / demand.shape.sum())
        spread = rng.exponential(max(demand.scarce_spread_days, 0.1), total)
        spread = np.minimum(spread, LONGEST_SPREAD_DAYS) + LATE_DUE_DAYS * demand.is_thin
        after = np.select(
            [lanes == SCARCE, lanes == PLANNED],
            [spread, rng.uniform(0, 7, total)],
            (weeks + rng.random(total)) * 7,
        )
        if demand.is_thin:
            lanes[lanes == SCARCE] = MAIN
        day_of = rng.choice(len(days), total, p=weights / weights.sum())
        order = np.argsort(day_of, kind="stable")
        per_day = np.bincount(day_of, minlength=len(days))
        return (
            per_day.tolist(),
            after[order].tolist(),
            lanes[order].tolist(),
            leaves[order].tolist(),
        )

    def _missed(self, slots: int, lane: int, rate: float) -> list[bool]:
        flags = np.zeros(slots, dtype=bool)
        flags[self.rng.permutation(slots)[: self._whole("miss", lane, slots * rate, slots)]] = True
        return flags.tolist()

    def _join(self, day: int, due_after: float, lane: int, leaves: bool) -> None:
        number = self._referrals
        self._referrals += 1
        if lane != PLANNED:
            self.clock_start[number] = day
        # The sign of the number in the heap says whether the patient will be gone.
        heappush(self.waits[lane], (day + due_after, ~number if leaves else number))
        if self.bookings is not None:
            self.bookings.requested_day.append(day)
            self.bookings.lane.append(lane)
            self.bookings.slot.append(-1)
            self.bookings.missed_slot.append(-1)
            self.bookings.removed_day.append(-1)

    def _give(self, day: int, lane: int, is_missed: bool) -> int | None:
        """Give one slot to the first of a lane.

        Returns 1 when a test of the list is done, 0 when it is a planned one or is missed, None
        when nobody waits.
        """
        while True:
            heap = self.waits[lane] or self.waits[_OTHER_LANE[lane]]
            if not heap:
                return None
            _, number = heappop(heap)
            if number >= 0:
                break
            self.clock_start.pop(~number, None)
            if self.bookings is not None:
                self.bookings.removed_day[~number] = day
        is_listed = number in self.clock_start
        if is_missed and number not in self._missed_once:
            self._missed_once.add(number)
            if is_listed:
                self.clock_start[number] = day
            own = MAIN if heap is self.waits[MAIN] else lane
            self._missed_today.append((own, (day + REBOOKED_AFTER_DAYS, number)))
            if self.bookings is not None:
                self.bookings.missed_slot[number] = self.slots_offered
            return 0
        if self.bookings is not None:
            self.bookings.slot[number] = self.slots_offered
        self._missed_once.discard(number)
        if is_listed:
            del self.clock_start[number]
        return int(is_listed)


def slot_weights(month_on: date) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Days of a month and how much of its elective work falls on each."""
    first = calendar.day_number(month_on)
    count = calendar.day_number(calendar.month_after(month_on)) - first
    days = np.arange(first, first + count)
    weekday = (days + 3) % 7
    working = calendar.is_working_day(first, count)
    weekend = np.select([weekday == 5, weekday == 6], [0.35, 0.2], 0.1)
    return days, np.where(working, 1.0, weekend)


def spread_over(
    weights: NDArray[np.float64], count: float, phase: float
) -> tuple[NDArray[np.int64], float]:
    """Whole slots per day, and what the rounding leaves for the next month."""
    if weights.sum() == 0:
        return np.zeros(len(weights), dtype=np.int64), count + phase
    upto = np.floor(np.cumsum(weights) / weights.sum() * count + phase + 1e-9)
    return np.diff(upto, prepend=0.0).astype(np.int64), float(max(count + phase - upto[-1], 0.0))
