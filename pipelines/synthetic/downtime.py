"""When scanners and image systems were down.

The downtime of scanners is known before the first exam, so that none starts meanwhile (see
`scanner_queue`); that of image systems is a record only.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import read_text_table

if TYPE_CHECKING:
    from pipelines.network import Network

_SPREAD = 0.8
_SERVICE_OPENS = 8 * HOUR
_RELEASE_OPENS = 2 * HOUR
_NUMBERS = ("failures_per_year", "usual_hours", "planned_hours", "in_use_rate")
# A failure in use comes in the next session, when there is one within so long.
_SOON = 14 * DAY
Row = tuple[str, str | None, str, str, bool, str, int, int]


def _habits() -> dict[str, dict[str, float]]:
    rows = read_text_table("downtime_habits").iter_rows(named=True)
    return {row["asset_type"]: {name: float(row[name] or 0) for name in _NUMBERS} for row in rows}


@cache
def _reasons(asset_type: str, is_planned: bool) -> tuple[list[str], list[float]]:
    """Reason codes and their shares."""
    rows = read_text_table("downtime_reasons").filter(
        (pl.col("asset_type") == asset_type)
        & (pl.col("is_planned") == ("yes" if is_planned else "no"))
    )
    weight = rows["weight"].cast(pl.Float64)
    return rows["reason_code"].to_list(), (weight / weight.sum()).to_list()


def _reason(asset_type: str, is_planned: bool, rng: np.random.Generator) -> str:
    codes, shares = _reasons(asset_type, is_planned)
    return str(rng.choice(codes, p=shares))


_SCHEMA = {
    "party_code": pl.String,
    "site_code": pl.String,
    "asset": pl.String,
    "asset_type": pl.String,
    "is_planned": pl.Boolean,
    "reason_code": pl.String,
    "down_from": pl.Int64,
    "down_to": pl.Int64,
}


def scanner_downtime(
    sessions: pl.DataFrame, network: Network, period: Period, seed: int
) -> pl.DataFrame:
    """One row per downtime of a scanner: party, site, asset, reason; local seconds.

    `sessions` (station_name, session_start, session_end in local seconds) keep planned downtime
    out of them. No two downtimes of a scanner overlap; each has a random stream of its own. In the
    live weeks, of which the rota is delivered, a share of the failures (in_use_rate) begins while
    the scanner is staffed: sessions shrink with the scale, and chance would hardly ever hit one.
    """
    scanners = network.scanner_register.join(
        network.sites.select("site_code", "party_code"), on="site_code"
    ).sort("station_name")
    busy = {
        str(key[0]): part.select("session_start", "session_end").to_numpy()
        for key, part in sessions.filter(pl.col("station_name").is_not_null())
        .sort("station_name", "session_start")
        .partition_by("station_name", as_dict=True)
        .items()
    }
    habits, rows = _habits(), []
    for number, scanner in enumerate(scanners.iter_rows(named=True)):
        rng = np.random.default_rng([seed, 45, number])
        habit = habits[scanner["dicom_modality"]]
        own = busy.get(scanner["station_name"], np.empty((0, 2), dtype=np.int64))
        head = (
            scanner["party_code"],
            scanner["site_code"],
            scanner["station_name"],
            scanner["dicom_modality"],
        )
        planned = _service_days(own, int(habit["planned_hours"] * HOUR), period, rng)
        failed = _failures(habit["failures_per_year"], habit["usual_hours"], period, rng)
        failed = [f for f in failed if not _meets(f, planned)]
        in_use_rng = np.random.default_rng([seed, 46, number])
        failed = _in_use(failed, planned, own, habit["in_use_rate"], period, in_use_rng)
        rows += [(*head, True, _reason("scanner", True, rng), *span) for span in planned]
        rows += [(*head, False, _reason("scanner", False, rng), *span) for span in failed]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def record_downtime(
    of_scanners: pl.DataFrame,
    network: Network,
    period: Period,
    effects: Adoption,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per downtime of a scanner or (site_code null) an image system; local seconds.

    Every party has a record of its own of its PACS, from the archive go-live on of the VNA.
    """
    systems = pl.DataFrame(
        _systems(network, period, effects, _habits(), rng), schema=_SCHEMA, orient="row"
    )
    frame = pl.concat([of_scanners, systems])
    return frame.sort("party_code", "down_from", "asset").with_columns(
        month_on=pl.from_epoch("down_from", time_unit="s").dt.date().dt.month_start()
    )


def _failures(
    per_year: float, usual_hours: float, period: Period, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Failures at exponential gaps, in order, none into the next; to the minute."""
    first, end = (calendar.day_number(d) * DAY for d in (period.first_on, period.end_on))
    if per_year <= 0:
        return []
    found, now = [], float(first)
    while True:
        now += rng.exponential(365.25 * DAY / per_year)
        if now >= end:
            return found
        hours = usual_hours * np.exp(_SPREAD * rng.standard_normal())
        start = int(now) // MINUTE * MINUTE
        stop = start + max(15, int(hours * 60)) * MINUTE
        found.append((start, stop))
        now = float(stop)


def _meets(span: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(span[0] < other[1] and other[0] < span[1] for other in others)


def _in_use(
    failed: list[tuple[int, int]],
    planned: list[tuple[int, int]],
    busy: np.ndarray,
    rate: float,
    period: Period,
    rng: np.random.Generator,
) -> list[tuple[int, int]]:
    """The failures, some of the live weeks put off into the next session; as many, as long.

    A failure stays where it was when no session is near or another downtime is in the way.
    """
    live, end = (calendar.day_number(d) * DAY for d in (period.live_on, period.end_on))
    found = list(failed)
    for number, (start, stop) in enumerate(failed):
        chosen, place = rng.random(2)
        is_staffed = bool(((busy[:, 0] <= start) & (start < busy[:, 1])).any())
        after = busy[(busy[:, 0] >= start) & (busy[:, 0] < start + _SOON)]
        if start < live or chosen >= rate or is_staffed or not len(after):
            continue
        opens, closes = (int(edge) for edge in after[np.argmin(after[:, 0])])
        begins = (opens + int(place * (closes - opens))) // MINUTE * MINUTE
        moved = (begins, begins + stop - start)
        others = [*planned, *found[:number], *found[number + 1 :]]
        # Early enough that the appointments it moves still fall into the period.
        if begins < end - _SOON and not _meets(moved, others):
            found[number] = moved
    return sorted(found)


def _service_days(
    busy: np.ndarray, length: int, period: Period, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """One service in each quarter: a working day without a session, else the longest gap."""
    found = []
    months = calendar.months_between(period.first_on, period.end_on)
    for month_on in months[::3]:
        first = calendar.day_number(month_on)
        last = calendar.day_number(min(calendar.month_after(month_on, 3), period.end_on))
        inside = busy[(busy[:, 1] > first * DAY) & (busy[:, 0] < last * DAY)]
        free = np.setdiff1d(
            np.arange(first, last)[calendar.is_working_day(first, last - first)],
            np.concatenate([inside[:, 0] // DAY, inside[:, 1] // DAY]),
        )
        if len(free):
            start = int(rng.choice(free)) * DAY + _SERVICE_OPENS
            found.append((start, start + length))
            continue
        opens, closes = inside[1:, 0], np.maximum.accumulate(inside[:, 1])[:-1]
        widest = int(np.argmax(opens - closes)) if len(opens) else -1
        if widest >= 0 and opens[widest] > closes[widest]:
            start = int(closes[widest])
            found.append((start, min(start + length, int(opens[widest]))))
    return found


def _systems(
    network: Network,
    period: Period,
    effects: Adoption,
    habits: dict[str, dict[str, float]],
    rng: np.random.Generator,
) -> list[Row]:
    """Releases on the first Sunday night of a month, failures thinned to the level of the day."""
    live = effects.live_on("archive")
    rows: list[Row] = []
    for party in network.programme_parties["party_code"].to_list():
        change = calendar.day_number(live.get(party, date(2999, 1, 1))) * DAY

        def add(
            span: tuple[int, int], is_planned: bool, party: str = party, change: int = change
        ) -> None:
            kind = "VNA" if span[0] >= change else "PACS"
            reason = _reason("system", is_planned, rng)
            rows.append((party, None, f"{party}-{kind}", kind, is_planned, reason, *span))

        length = int(habits["PACS"]["planned_hours"] * HOUR)
        for month_on in calendar.months_between(period.first_on, period.end_on):
            first = calendar.day_number(month_on)
            start = (first + (6 - (first + 3) % 7) % 7) * DAY + _RELEASE_OPENS
            add((start, start + length), True)
        most = max(
            float(effects.world.effect(f"system_failures_per_year_{when}", [party])[0])
            for when in ("before", "after")
        )
        for span in _failures(most, habits["PACS"]["usual_hours"], period, rng):
            day = np.array([span[0] / DAY])
            level = float(effects.level_at("system_failures_per_year", [party], day)[0])
            if rng.random() < level / most:
                add(span, False)
    return rows
