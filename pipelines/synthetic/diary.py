"""The booking diary as its system writes it out: slots of the past and the next six weeks."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic.calendar import DAY, MINUTE
from pipelines.synthetic.period import Period, midnight
from pipelines.synthetic.ris_extract import wall_clock
from pipelines.synthetic.writer import write_csv, write_parquet

if TYPE_CHECKING:
    from pipelines.network import Network

FEED = "booking_diary"
WEEKS_AROUND = 6
# A diary is written out every four weeks here: each holds twelve, and more would only repeat it.
EVERY_DAYS = 28
SLOT_MINUTES = 20
# Free slots per slot in use, and blocked ones. Assumed.
_FREE_RATE, _BLOCKED_RATE = 0.09, 0.02
COLUMNS = (
    "party_code", "diary_on", "site_code", "resource", "modality_group", "slot_start",
    "slot_minutes", "slot_status",
)  # fmt: skip
_PLACE = ("party_code", "site_code", "station_name", "modality_group")


def diary_slots(exams: pl.DataFrame, day: date, rng: np.random.Generator) -> pl.DataFrame:
    """One row per slot within six weeks of a day, as known when the day begins (COLUMNS).

    `exams` as `Simulation.months` gives them, times in UTC seconds. A slot that was missed, moved
    or given up is one of its own beside the one that took place. Free and blocked slots lie
    between those in use, by chance.
    """
    now = midnight(day)
    told = exams.filter(pl.col("station_name").is_not_null())
    known = [
        _slots(told, "appointment", "booked").with_columns(
            slot_status=pl.when(pl.col("cancelled") < now)
            .then(pl.lit("cancelled"))
            .when(pl.col("slot") >= now)
            .then(pl.lit("booked"))
            .when(pl.col("completed").is_not_null())
            .then(pl.lit("attended"))
            .otherwise(pl.lit("cancelled"))
        ),
        _slots(told.filter(pl.col("dna") < now), "first_appointment", "first_booked").with_columns(
            slot_status=pl.lit("did_not_attend")
        ),
        _slots(
            told.filter(pl.col("moved") < now), "moved_appointment", "moved_booked"
        ).with_columns(slot_status=pl.lit("cancelled")),
    ]
    used = pl.concat(known).filter(
        (pl.col("made") < now)
        & pl.col("slot").is_between(
            now - WEEKS_AROUND * 7 * DAY, now + WEEKS_AROUND * 7 * DAY, closed="left"
        )
    )
    rows = pl.concat([used, *_between(used, rng)])
    return (
        rows.unique(["station_name", "slot"], keep="first", maintain_order=True)
        .sort("party_code", "station_name", "slot")
        .with_columns(
            diary_on=pl.lit(day),
            resource="station_name",
            slot_start=wall_clock(pl.col("slot")),
            slot_minutes=pl.lit(SLOT_MINUTES),
        )
        .select(COLUMNS)
    )


def _slots(exams: pl.DataFrame, slot: str, made: str) -> pl.DataFrame:
    return exams.filter(pl.col(slot).is_not_null() & pl.col(made).is_not_null()).select(
        *_PLACE, "completed", "cancelled", slot=pl.col(slot), made=pl.col(made)
    )


def _between(used: pl.DataFrame, rng: np.random.Generator) -> list[pl.DataFrame]:
    found = []
    for status, rate in (("free", _FREE_RATE), ("blocked", _BLOCKED_RATE)):
        chosen = pl.Series(rng.random(used.height) < rate)
        found.append(
            used.filter(chosen).with_columns(
                slot=pl.col("slot") + SLOT_MINUTES * MINUTE, slot_status=pl.lit(status)
            )
        )
    return found


def write_diary(
    exams: pl.DataFrame, network: Network, period: Period, inbox: Path, truth: Path, seed: int
) -> dict[str, int]:
    """One CSV per party and diary, delivered on its day; returns rows by file.

    The truth has every diary in `booking_diary.parquet`: only there are slots that stayed free.
    """
    parties = network.programme_parties["party_code"].to_list()
    near = midnight(period.live_on - timedelta(weeks=WEEKS_AROUND))
    recent = exams.filter(
        pl.max_horizontal("appointment", "first_appointment", "moved_appointment") >= near
    )
    written: dict[str, int] = {}
    diaries = []
    for number, day in enumerate(period.live_days[::EVERY_DAYS]):
        slots = diary_slots(recent, day, np.random.default_rng([seed, 47, number]))
        diaries.append(slots)
        for party in parties:
            file = f"{FEED}/{day}/{FEED}_{party}.csv"
            mine = slots.filter(pl.col("party_code") == party)
            written[file] = write_csv(inbox / file, mine)
    write_parquet(truth / f"{FEED}.parquet", pl.concat(diaries))
    return written
