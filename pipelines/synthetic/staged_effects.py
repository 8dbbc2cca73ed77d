"""Effects of go-lives on monthly figures: from a level before to a level after.

For workforce, finance and operations. Reports of single exams have theirs in `reporting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.worlds import World

MIDDLE_OF_MONTH = 15

# Which go-live of the party an effect of `worlds.csv` follows.
FOLLOWS = {
    "home_reporting_share": "network_reporting",
    "out_of_hours_share": "network_reporting",
    "wli_share": "network_reporting",
    "vacancy_rate": "network_reporting",
    "work_life_score": "network_reporting",
    "media_rate": "viewing",
    "system_failures_per_year": "archive",
    "storage_price_factor": "archive",
    "contract_price_factor": "archive",
}


def go_live_dates(go_lives: pl.DataFrame, kind: str) -> dict[str, date]:
    """Go-live date of each party, of one type."""
    rows = go_lives.filter(pl.col("go_live_type") == kind)
    return dict(rows.select("party_code", "go_live_on").iter_rows())


@dataclass(frozen=True)
class StagedEffects:
    """The world, and when each party went live (party_code, go_live_type, go_live_on)."""

    world: World
    go_lives: pl.DataFrame

    def level(self, name: str, party: list[str], day: NDArray[np.float64]) -> NDArray[np.float64]:
        """Level of `<name>_before` growing to `<name>_after` over the ramp; one per entry.

        `day` is a day number; a party without go-live stays at the level before.
        """
        live = go_live_dates(self.go_lives, FOLLOWS[name])
        start = np.array([calendar.day_number(live.get(p, date(2999, 1, 1))) for p in party])
        ramp = np.clip((day - start) / self.world.effect("ramp_days", party), 0, 1)
        before = self.world.effect(f"{name}_before", party)
        return before + (self.world.effect(f"{name}_after", party) - before) * ramp


def middle_of(months: list[date]) -> NDArray[np.float64]:
    """Day number of the middle of each month."""
    return np.array([calendar.day_number(m) + MIDDLE_OF_MONTH for m in months], dtype=float)


def financial_year(month_on: pl.Expr) -> pl.Expr:
    """Year in which the financial year of a date begins (April)."""
    return month_on.dt.year() - (month_on.dt.month() < 4).cast(pl.Int32)


def price_in_year(month_on: pl.Expr) -> pl.Expr:
    """Price of the month's financial year, from price_gbp, price_year, yearly_change_rate."""
    years = financial_year(month_on) - pl.col("price_year")
    return pl.col("price_gbp") * (1 + pl.col("yearly_change_rate")) ** years


def as_money(amount: pl.Expr) -> pl.Expr:
    """Pounds and pence as decimals, so that sums are exact."""
    return amount.round(2).cast(pl.Decimal(14, 2))


def whole_number(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Round up or down by chance, so that the mean is kept."""
    return np.floor(values + rng.random(len(values))).astype(np.int64)
