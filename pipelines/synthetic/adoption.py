"""How far the go-lives of each party have grown in, and what they have changed by then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.worlds import EFFECT_KINDS, World

_NEVER_LIVE = 10**6


@dataclass(frozen=True)
class Adoption:
    """Go-lives of `parties` in one world; `live_days` holds day numbers by type and party.

    Wherever a party is asked for, it is the index in `parties`.
    """

    world: World
    parties: list[str]
    live_days: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, world: World, go_lives: pl.DataFrame, parties: list[str]) -> Adoption:
        """Read go-lives (party_code, go_live_type, go_live_on); a party without one never is."""
        days = {
            (kind, party): calendar.day_number(day)
            for kind, party, day in go_lives.select(
                "go_live_type", "party_code", "go_live_on"
            ).iter_rows()
        }
        return cls(
            world,
            parties,
            {
                kind: np.array([days.get((kind, p), _NEVER_LIVE) for p in parties], dtype=float)
                for kind in EFFECT_KINDS
            },
        )

    def ramp(
        self, go_live_type: str, party: NDArray[np.int64], day: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Share (0 to 1) of the effect that has grown in at a party by a day number."""
        days = self.world.effect(f"{go_live_type}_ramp_days", self.parties)[party]
        return np.clip((day - self.live_days[go_live_type][party]) / days, 0, 1)

    def shared_archive(
        self, one: NDArray[np.int64], other: NDArray[np.int64], day: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Share of the effect between two parties: that of the one who went live later."""
        return np.minimum(self.ramp("archive", one, day), self.ramp("archive", other, day))

    def level(
        self, name: str, ramp: NDArray[np.float64], party: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """A quantity of worlds.csv on its way from `<name>_before` to `<name>_after`."""
        before = self.world.effect(f"{name}_before", self.parties)[party]
        after = self.world.effect(f"{name}_after", self.parties)[party]
        return before + (after - before) * ramp

    def level_at(
        self, name: str, codes: list[str], day: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Level at each party (by code) on each day, by the go-live that brings the effect."""
        party = party_index(pl.Series(codes, dtype=pl.String), self.parties)
        go_live = self.world.go_live_of(f"{name}_after")
        return self.level(name, self.ramp(go_live, party, day), party)

    def drift_at(
        self, name: str, codes: list[str], day: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Factor of the world's trends and shocks at each party (by code) on each day."""
        party = party_index(pl.Series(codes, dtype=pl.String), self.parties)
        return self.world.drift(name, self.parties, party, day)

    def live_on(self, go_live_type: str) -> dict[str, date]:
        """Day of the go-live of each party that has one."""
        days = zip(self.parties, self.live_days[go_live_type], strict=True)
        return {p: calendar.day_of_number(int(d)) for p, d in days if d < _NEVER_LIVE}


def party_index(codes: pl.Series, parties: list[str]) -> NDArray[np.int64]:
    """Index in `parties` of each party code; raises a Polars error for an unknown one."""
    known = {party: number for number, party in enumerate(parties)}
    return codes.replace_strict(known, return_dtype=pl.Int64).to_numpy()


def another_party(
    own: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A party other than `own` for each, all alike; the same one where there is no other."""
    return (own + rng.integers(1, max(count, 2), len(own))) % count


def waiting(
    median_hours: float | NDArray[np.float64],
    sigma: float,
    most_days: float,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Log-normal delays in seconds, at least a minute and at most `most_days`."""
    seconds = median_hours * calendar.HOUR * np.exp(sigma * rng.standard_normal(count))
    return np.clip(seconds, calendar.MINUTE, most_days * calendar.DAY).astype(np.int64)


def to_daytime(
    utc: NDArray[np.int64], moved: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Move the chosen instants that fall at night to the following working morning or afternoon.

    Night is 19:00 to 08:00 on the wall clock of London; weekends stay.
    """
    local = calendar.utc_to_local(utc)
    second = local % calendar.DAY
    late, early = second >= 19 * calendar.HOUR, second < 8 * calendar.HOUR
    fresh = rng.triangular(8, 10.5, 19, len(utc)) * calendar.HOUR
    target = local - second + late * calendar.DAY + fresh.astype(np.int64)
    return np.where(moved & (late | early), calendar.local_to_utc(target), utc)
