"""One exam at a time on a scanner, and none while it is down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import appointments, calendar
from pipelines.synthetic.calendar import DAY, MINUTE, Seconds
from pipelines.synthetic.offices import Room
from pipelines.synthetic.reporting import NEVER
from pipelines.synthetic.requests import Columns

# Larger than any instant: room and instant in one sortable number.
_ROOM = np.int64(2**40)
# New slots lie at the end of a session, in one of so many turns of this length.
_TURNS, _TURN = 4, 15 * MINUTE


@dataclass(frozen=True)
class ScannerQueue:
    """The rooms with their downtimes and sessions, all known before the first exam.

    Downtimes (UTC) are sorted by room and instant, as are the ends of the sessions (local seconds,
    with the room in front). `next_door` is a room of the same kind at the same site, -1 where none.
    """

    down_room: NDArray[np.int64]
    down_from: Seconds
    down_to: Seconds
    closing_keys: NDArray[np.int64]
    next_door: NDArray[np.int64]

    @classmethod
    def of(cls, rooms: list[Room], sessions: pl.DataFrame, downtime: pl.DataFrame) -> ScannerQueue:
        """From sessions (room, session_end) and the downtime of the scanners, local seconds."""
        number = {room.station_name: n for n, room in enumerate(rooms) if room.station_name}
        down = downtime.filter(pl.col("asset").is_in(list(number)))
        room = np.array([number[asset] for asset in down["asset"]], dtype=np.int64)
        span = [calendar.local_to_utc(down[name].to_numpy()) for name in ("down_from", "down_to")]
        order = np.lexsort((span[0], room))
        alike: dict[tuple[str, str], list[int]] = {}
        for n, one in enumerate(rooms):
            alike.setdefault((one.site_code, one.dicom_modality), []).append(n)
        neighbours = np.full(len(rooms), -1)
        for group in alike.values():
            if len(group) > 1:
                neighbours[group] = np.roll(group, -1)
        closes = sessions["room"].to_numpy().astype(np.int64) * _ROOM
        closes += sessions["session_end"].to_numpy()
        return cls(room[order], span[0][order], span[1][order], np.sort(closes), neighbours)

    def downtime_of(
        self, room: NDArray[np.int64], start: Seconds, end: Seconds
    ) -> NDArray[np.int64]:
        """The first downtime of the room that an exam from `start` to `end` would meet, or -1."""
        if not len(self.down_room):
            return np.full(len(room), -1)
        keys = self.down_room * _ROOM + self.down_to
        found = np.searchsorted(keys, room * _ROOM + start, "right")
        at = np.minimum(found, len(keys) - 1)
        meets = (found < len(keys)) & (self.down_room[at] == room) & (self.down_from[at] < end)
        return np.where(meets, at, -1)

    def perform(
        self,
        a: Columns,
        is_open: NDArray[np.bool_],
        end: int,
        taken_until: Seconds,
        rng: np.random.Generator,
    ) -> Seconds:
        """When each exam that is due before `end` starts (NEVER for the others).

        Exams that would meet a downtime of their scanner give way, and the rooms they leave or
        come to are queued again. `taken_until` is moved on.
        """
        is_done = is_open & (a["proposed"] < end)
        start, until = np.full(len(is_done), NEVER), taken_until.copy()
        _queue(a, is_done, start, until)
        has_changed_room = np.zeros(len(is_done), dtype=bool)
        while True:
            rows = np.flatnonzero(is_done)
            room = a["resource"][rows]
            met = self.downtime_of(room, start[rows], start[rows] + a["seconds"][rows])
            rows, met = rows[met >= 0], met[met >= 0]
            if not len(rows):
                break
            touched = np.zeros(len(until), dtype=bool)
            touched[a["resource"][rows]] = True
            self._give_way(a, rows, met, start, has_changed_room, rng)
            touched[a["resource"][rows]] = True
            is_done = is_open & (a["proposed"] < end)
            again = touched[a["resource"]]
            start[again] = NEVER
            until[touched] = taken_until[touched]
            _queue(a, is_done & again, start, until)
        taken_until[:] = until
        return start

    def _give_way(
        self,
        a: Columns,
        rows: NDArray[np.int64],
        met: NDArray[np.int64],
        start: Seconds,
        has_changed_room: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        """Appointments are cancelled and booked again; others go next door, or wait."""
        down_from, down_to = self.down_from[met], self.down_to[met]
        patience = int(appointments.habits()["failure_wait_minutes"]) * MINUTE
        waits_long = down_to - start[rows] > patience
        moved = waits_long & appointments.can_be_moved(a)[rows]
        door = self.next_door[a["resource"][rows]]
        is_up = self.downtime_of(door, start[rows], start[rows] + a["seconds"][rows]) < 0
        crosses = waits_long & ~moved & (door >= 0) & is_up & ~has_changed_room[rows]
        a["resource"][rows] = np.where(crosses, door, a["resource"][rows])
        has_changed_room[rows[crosses]] = True
        waits = ~moved & ~crosses
        a["proposed"][rows] = np.where(waits, down_to, a["proposed"][rows])
        if moved.any():
            slot = self._new_slots(a["resource"][rows[moved]], down_to[moved], rng)
            appointments.cancel_for_failure(a, rows[moved], down_from[moved], slot, rng)

    def _new_slots(
        self, room: NDArray[np.int64], down_to: Seconds, rng: np.random.Generator
    ) -> Seconds:
        """At the end of a session of the room some days after the failure, outside downtimes."""
        habits, count = appointments.habits(), len(room)
        shortest, longest = habits["failure_shortest_days"], habits["failure_longest_days"]
        wished = calendar.utc_to_local(down_to)
        wished += (rng.uniform(shortest, longest, count) * DAY).astype(np.int64)
        turn = rng.integers(_TURNS, size=count) * _TURN
        while True:
            at = np.searchsorted(self.closing_keys, room * _ROOM + wished)
            at = np.minimum(at, len(self.closing_keys) - 1)
            key = self.closing_keys[at]
            # After the last session known, on the day wished for.
            local = np.where(key // _ROOM == room, key % _ROOM, wished) + turn
            slot = calendar.local_to_utc(local)
            met = self.downtime_of(room, slot, slot + 2 * _TURN)
            if (met < 0).all():
                return slot
            again = calendar.utc_to_local(self.down_to[np.maximum(met, 0)])
            wished = np.where(met >= 0, again, wished)


def _queue(a: Columns, is_done: NDArray[np.bool_], start: Seconds, taken_until: Seconds) -> None:
    """One exam at a time on a resource: an exam starts when the one before it has ended.

    Fills `start` of the exams that are done. `taken_until` is the end of the last exam of each
    resource, and is moved on.
    """
    rows = np.flatnonzero(is_done)
    order = rows[np.lexsort((a["proposed"][rows], a["resource"][rows]))]
    resource = a["resource"][order]
    edges = np.flatnonzero(np.diff(resource)) + 1
    for part in np.split(order, edges):
        if not len(part):
            continue
        # Rounding to minutes later keeps the order, because start and end round the same way.
        room = a["resource"][part[0]]
        length = a["seconds"][part]
        earlier = np.cumsum(length) - length
        free = np.maximum(a["proposed"][part], taken_until[room])
        start[part] = np.maximum.accumulate(free - earlier) + earlier
        taken_until[room] = start[part[-1]] + length[-1]
