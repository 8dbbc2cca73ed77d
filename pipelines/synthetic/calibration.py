"""Referrals and slots of every booking office, fitted so that its list resembles the real one.

The Greater Manchester figures of DM01 (seed `dm01_published`; contains public sector
information licensed under the Open Government Licence v3.0, source: NHS England, Monthly
Diagnostics Waiting Times and Activity) say how many tests were done and who was waiting. They do
not say how many were referred, nor how slots were shared out. `fit` finds both, month by month, by
running the office itself: referrals from the balance of the list, slots from the tests done, and
the slots for scarce needs from the number over six weeks. Months before April 2023 have
no published figure here; their targets are assumed (`_assumed`), and marked so.

What is fitted is written to `reference/waiting_list_inputs.csv` and `waiting_list_habits.csv`
(`tools/fit_waiting_lists.py`); the simulation reads those, and the report compares what comes out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.demand import ELECTIVE_SEASON
from pipelines.synthetic.reference_tables import Profile, read_text_table
from pipelines.synthetic.waiting_list import (
    MAIN,
    PLANNED,
    SCARCE,
    BookingOffice,
    Demand,
    slot_weights,
    spread_over,
)

SEEDS = Path(__file__).parents[2] / "dbt_project" / "seeds" / "network"
BANDS = tuple(f"wl_band_{week:02d}" for week in range(14))
OVER_SIX_WEEKS = BANDS[6:]
FIRST_MONTH = date(2016, 4, 1)
# Assumed list of April 2016 and share over six weeks at breach factor 1, relative to the first
# published month; no public figure by trust was at hand.
_EARLIEST_LIST = 0.75
LATE_DAYS = 42
# How much of last month's miss over six weeks is made good in the next.
_CORRECTED = 0.5


def published() -> pl.DataFrame:
    """One row per trust, test and month end: 14 bands of the list, tests done by stream."""
    text = read_text_table("dm01_published", SEEDS)
    numbers = [name for name in text.columns if name.startswith(("wl_", "act_"))]
    return text.with_columns(
        pl.col("period_end").str.to_date("%Y-%m-%d"), pl.col(numbers).cast(pl.Float64)
    ).with_columns(
        wl_total=pl.sum_horizontal(BANDS),
        wl_six_weeks=pl.sum_horizontal(OVER_SIX_WEEKS),
        month_on=pl.col("period_end").dt.month_start(),
    )


def scarcity(rows: pl.DataFrame) -> tuple[float, float]:
    """Share of referrals that need a scarce slot, and the spread of their waits in days.

    With waits of W weeks for a scarce slot, the list over 13 weeks to the list over 6 is
    (W - 13) / (W - 6), and the list over 6 weeks is the weekly scarce referrals x (W - 6).
    """
    over = float(rows["wl_six_weeks"].to_numpy().sum())
    ratio = min(float(rows["wl_band_13"].to_numpy().sum()) / over, 0.8) if over else 0.0
    weeks = max((13 - 6 * ratio) / (1 - ratio), 10.0)
    weekly = float(rows["act_waiting_list"].to_numpy().mean()) / (365.25 / 12 / 7)
    rate = over / len(rows) / (weeks - 6) / weekly if weekly else 0.0
    return float(np.clip(rate, 0.01, 0.6)), 5 + 30 * ratio


def leaving(rows: pl.DataFrame, shape: NDArray[np.float64], usual: float) -> float:
    """Share of referrals that leave the list without a waiting-list test.

    Some lists are longer than their tests could ever serve inside six weeks, and yet hardly
    anybody waits longer: those patients are returned, done elsewhere, or done as planned or
    unscheduled tests. The share makes the list inside six weeks last as long as its due days.
    """
    weeks = np.arange(len(shape)) + 0.5
    due_after = float((weeks * shape).sum() / shape.sum() * 7)
    inside = (rows["wl_total"] - rows["wl_six_weeks"]).median()
    done = rows["act_waiting_list"].median()
    assert isinstance(inside, float) and isinstance(done, float)
    joining = inside / due_after * (365.25 / 12)
    return float(np.clip(1 - done / joining if joining else 0.0, usual, 0.75))


def targets(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Published months of one office behind the assumed ones from `FIRST_MONTH` on.

    Columns: month_on, act_waiting_list, act_planned, act_unscheduled, wl_total, wl_six_weeks,
    source_status (`verified`: published; `assumed`).
    """
    names = ["act_waiting_list", "act_planned", "act_unscheduled", "wl_total", "wl_six_weeks"]
    known = rows.select("month_on", *names, source_status=pl.lit("verified"))
    assumed = _assumed(rows, profile).select(known.columns)
    return pl.concat([assumed, known])


def _assumed(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The same office backwards: growth, season, the pandemic, and the known eras of breaches."""
    first = rows["month_on"].min()
    assert isinstance(first, date)
    year = rows.head(12)
    months = calendar.months_between(FIRST_MONTH, first)
    growth = profile.offices.filter(pl.col("office") == rows["dm01_test"][0])["growth_per_year"]
    rate = 1 + float(growth[0])
    middle = calendar.day_number(year["month_on"][len(year) // 2])
    age = np.array([(calendar.day_number(m) - middle) / 365.25 for m in months])
    factors = pl.DataFrame({"month_on": months}).join(
        profile.covid_demand, on="month_on", how="left", maintain_order="left"
    )
    planned_care = factors["elective_factor"].fill_null(1.0).to_numpy()
    urgent_care = factors["emergency_factor"].fill_null(1.0).to_numpy()
    season = np.array([ELECTIVE_SEASON[m.month - 1] for m in months])
    size = rate**age
    eras = profile.wait_eras
    when = [calendar.day_number(d) for d in eras["from_on"].to_list()]
    factor = eras["breach_factor"].to_numpy()
    era = np.interp([calendar.day_number(m) for m in months], when, factor)
    era_at_first = float(np.interp(calendar.day_number(first), when, factor))
    start = year.head(3)
    on_list = start["wl_total"].to_numpy()
    share = float(start["wl_six_weeks"].to_numpy().sum()) / max(float(on_list.sum()), 1.0)
    passed = np.linspace(_EARLIEST_LIST, 1.0, len(months))
    wl_total = on_list.mean() * passed
    return pl.DataFrame(
        {
            "month_on": months,
            "act_waiting_list": year["act_waiting_list"].mean() * size * season * planned_care,
            "act_planned": year["act_planned"].mean() * size * planned_care,
            "act_unscheduled": year["act_unscheduled"].mean() * size * urgent_care,
            "wl_total": wl_total,
            "wl_six_weeks": wl_total * np.clip(share * era / era_at_first, 0, 0.55),
            "source_status": ["assumed"] * len(months),
        }
    )


def fit(rows: pl.DataFrame, demand: Demand, rng: np.random.Generator) -> pl.DataFrame:
    """Referrals and slots per month of one office, from the rows of `targets`.

    Columns: month_on, requests, slots (all but planned), scarce_slots, planned, unscheduled,
    source_status. With a wait of W weeks the scarce lane holds its weekly referrals x W, of whom
    those of the last six weeks are not late: so many scarce slots are given that it holds six
    weeks' referrals and the late ones wanted, corrected by what the month before fell short.
    """
    office = BookingOffice(rng, keep=False)
    found = []
    correction = 0.0
    for row in rows.iter_rows(named=True):
        days, weights = slot_weights(row["month_on"])
        growth = row["wl_total"] - len(office.clock_start)
        requests = max(row["act_waiting_list"] / (1 - demand.removal_rate) + growth, 0.0)
        slots = row["act_waiting_list"] / (1 - demand.missed_rate)
        joining = requests * demand.scarce_rate
        six_weeks = joining / len(days) * 42
        held = max(row["wl_six_weeks"] + six_weeks + correction, 0.0)
        leaving = joining * demand.removal_rate
        wanted = len(office.waits[SCARCE]) + joining - leaving - held
        scarce = float(np.clip(wanted / (1 - demand.missed_rate), 0.0, 0.9 * slots))
        month = replace(demand, requests=requests, planned=row["act_planned"])
        office.book_month(days, month, weights, lanes(weights, slots, scarce, month))
        over = float((office.ages(int(days[-1])) >= LATE_DAYS).sum())
        correction += _CORRECTED * (row["wl_six_weeks"] - over)
        correction = float(np.clip(correction, -six_weeks - row["wl_six_weeks"], 2 * six_weeks))
        found.append(
            {
                "month_on": row["month_on"],
                "requests": round(requests, 1),
                "slots": round(slots, 1),
                "scarce_slots": round(scarce, 1),
                "planned": round(row["act_planned"], 1),
                "unscheduled": round(row["act_unscheduled"], 1),
                "source_status": row["source_status"],
            }
        )
    return pl.DataFrame(found)


def lanes(
    weights: NDArray[np.float64], slots: float, scarce: float, demand: Demand
) -> NDArray[np.int64]:
    """Slots per lane and day; planned slots allow for the missed ones."""
    planned = demand.planned / (1 - demand.missed_rate)
    wanted = {MAIN: slots - scarce, SCARCE: scarce, PLANNED: planned}
    return np.stack([spread_over(weights, wanted[lane], 0.5)[0] for lane in sorted(wanted)])


def compare(simulated: pl.DataFrame) -> pl.DataFrame:
    """Simulated and published months side by side, one row per trust, test and month.

    `simulated` has trust_code, dm01_test, month_on, act_total, wl_total, wl_six_weeks. Columns
    added: `published_*` of the three, and the errors: activity_error and list_error as fractions
    of the published figure (of 1 where it is 0), six_weeks_error in percentage points.
    """
    real = published().select(
        "trust_code",
        "dm01_test",
        "month_on",
        published_act_total=pl.sum_horizontal("act_waiting_list", "act_planned", "act_unscheduled"),
        published_wl_total="wl_total",
        published_wl_six_weeks="wl_six_weeks",
    )
    both = real.join(simulated, on=["trust_code", "dm01_test", "month_on"], how="left").fill_null(0)

    def relative(name: str) -> pl.Expr:
        real_one = pl.col(f"published_{name}")
        return (pl.col(name) - real_one).abs() / pl.max_horizontal(real_one, pl.lit(1.0))

    def share(over: str, total: str) -> pl.Expr:
        return pl.col(over) / pl.max_horizontal(pl.col(total), pl.lit(1.0))

    return both.with_columns(
        activity_error=relative("act_total"),
        list_error=relative("wl_total"),
        six_weeks_error=100
        * (
            share("wl_six_weeks", "wl_total")
            - share("published_wl_six_weeks", "published_wl_total")
        ).abs(),
    ).sort("dm01_test", "trust_code", "month_on")
