"""What go-lives do in a synthetic world, and what else happens at the same time.

`effect`: go-lives have the known effects. `null`: they have none. `confounded`: they have the
same effects, but the parties were on different trends and met different shocks, so that a plain
before-and-after comparison is wrong. Everything is a row of `reference/worlds.csv`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.problems import Problem
from pipelines.synthetic import calendar
from pipelines.synthetic.reference_tables import read_text_table

EVERY_PARTY = "*"
# Kind of the rows of worlds.csv that say what a go-live does, by type of go-live.
EFFECT_KINDS = {
    "network_reporting": "effect",
    "viewing": "viewing_effect",
    "archive": "archive_effect",
}


class UnknownWorld(Problem):
    """No row of worlds.csv names this world; the message lists those it knows."""


@dataclass(frozen=True)
class World:
    """One world: `rows` of worlds.csv (kind, name, party_code, from_on, to_on, value, note).

    Trends count from `origin`, a day number.
    """

    name: str
    rows: pl.DataFrame
    origin: int

    @classmethod
    def load(cls, name: str, origin: int) -> World:
        """Read one world; raises UnknownWorld."""
        table = read_text_table("worlds").with_columns(
            pl.col("value").cast(pl.Float64), pl.col("from_on", "to_on").str.to_date("%Y-%m-%d")
        )
        rows = table.filter(pl.col("world") == name).drop("world")
        if not len(rows):
            known = ", ".join(table["world"].unique(maintain_order=True))
            raise UnknownWorld(f"no world {name!r} in worlds.csv; it has {known}")
        return cls(name, rows, origin)

    def effects(self) -> pl.DataFrame:
        """The rows about effects of any go-live."""
        return self.rows.filter(pl.col("kind").is_in(list(EFFECT_KINDS.values())))

    def effect(self, name: str, parties: list[str]) -> NDArray[np.float64]:
        """The size of one effect at each party: its own row, else that of every party."""
        rows = self.effects().filter(pl.col("name") == name)
        sizes = dict(rows.select("party_code", "value").iter_rows())
        return np.array([sizes.get(party, sizes.get(EVERY_PARTY, np.nan)) for party in parties])

    def go_live_of(self, name: str) -> str:
        """The type of go-live that brings an effect; raises KeyError for an unknown name."""
        for kind in self.effects().filter(pl.col("name") == name)["kind"]:
            return next(go_live for go_live, its in EFFECT_KINDS.items() if its == kind)
        raise KeyError(f"worlds.csv has no effect {name!r} in world {self.name}")

    def drift(
        self, name: str, parties: list[str], own: NDArray[np.int64], day: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Factor on one quantity that has nothing to do with a go-live: trends times shocks.

        `own` is the index in `parties` and `day` the day number of each entry.
        """
        factor = np.ones(len(day))
        mine = self.rows.filter(pl.col("kind").is_in(["trend", "shock"]) & (pl.col("name") == name))
        for row in mine.iter_rows(named=True):
            if row["party_code"] not in parties:
                continue
            there = own == parties.index(row["party_code"])
            if row["kind"] == "trend":
                years = (day[there] - self.origin) / 365.25
                factor[there] *= np.exp(row["value"] * years)
                continue
            first, last = (calendar.day_number(row[key]) for key in ("from_on", "to_on"))
            factor[there & (day >= first) & (day < last + 1)] *= row["value"]
        return factor

    def as_parameters(self) -> dict[str, object]:
        """The world as the truth folder tells it."""
        effects = self.effects()
        everywhere = effects.filter(pl.col("party_code") == EVERY_PARTY)
        others = self.rows.filter(pl.col("kind").is_in(["trend", "shock"])).with_columns(
            pl.col("from_on", "to_on").cast(pl.String)
        )
        return {
            "world": self.name,
            **{
                f"effects_of_{go_live}": dict(
                    everywhere.filter(pl.col("kind") == kind).select("name", "value").iter_rows()
                )
                for go_live, kind in EFFECT_KINDS.items()
            },
            "effects_by_party": effects.filter(pl.col("party_code") != EVERY_PARTY)
            .select("name", "party_code", "value")
            .to_dicts(),
            "trends_and_shocks": others.drop("note").to_dicts(),
        }
