"""Requests for imaging: how many, where, for what, on which day and hour.

Every party x modality x source setting is a stream with its own weight per day: growth, season,
weekday, bank holidays and the pandemic. The number of a stream is Poisson, its days are drawn
from those weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import Profile

if TYPE_CHECKING:
    from pipelines.network import Network

EXAMS_AT_FULL_SCALE = 200_000

EMERGENCY_DEPARTMENT = "05"
INPATIENT = "01"

_WEEKDAY = {  # Monday first, mean 1
    "emergency": (1.06, 1.00, 0.99, 0.99, 1.01, 0.97, 0.98),
    "inpatient": (1.12, 1.14, 1.12, 1.10, 1.08, 0.75, 0.69),
    "elective": (1.42, 1.46, 1.42, 1.38, 1.18, 0.09, 0.05),
}
_HOLIDAY = {"emergency": 0.97, "inpatient": 0.75, "elective": 0.05}
# January to December. Elective: waiting-list activity of Greater Manchester, three-year mean.
_MONTH = {
    "elective": (1.02, 1.01, 1.07, 0.94, 1.00, 0.99, 1.03, 0.97, 0.99, 1.03, 1.01, 0.93),
    "emergency": (1.03, 1.00, 1.00, 0.98, 1.00, 1.00, 1.00, 0.97, 0.99, 1.00, 1.01, 1.03),
}
# Relative arrivals of emergency patients by local hour.
_EMERGENCY_HOURS = (
    22, 17, 14, 12, 11, 12, 17, 27, 43, 58, 68, 71, 69, 67, 66, 67, 68, 69, 67, 62, 55, 47, 38, 29,
)  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where each modality is done: site codes per (party, modality group) with weights."""

    sites: dict[tuple[str, str], tuple[list[str], NDArray[np.float64]]]
    children_only: frozenset[str]


def find_places(network: Network, modality_of_group: dict[str, str]) -> Places:
    """Sites by party and modality group, from the scanner register.

    A modality without scanners in the register (fluoroscopy, DEXA) is done where the party has
    an MR scanner, at the first such site.
    """
    party_of = dict(network.sites.select("site_code", "party_code").iter_rows())
    stations = network.scanner_register.select("site_code", "dicom_modality").rows()
    registered = {modality for _, modality in stations}
    acute = {site for site, modality in stations if modality == "CT"}
    places: dict[tuple[str, str], tuple[list[str], NDArray[np.float64]]] = {}
    for party in network.programme_parties["party_code"].to_list():
        for group, modality in modality_of_group.items():
            wanted = modality if modality in registered else "MR"
            sites = list(
                dict.fromkeys(s for s, m in stations if m == wanted and party_of[s] == party)
            )
            if modality not in registered:
                sites = sites[:1]
            if sites:
                weight = np.array([1.0 if site in acute else 0.45 for site in sites])
                places[party, group] = sites, weight / weight.sum()
    children = frozenset(
        site
        for site, name in network.sites.select("site_code", "site_name").iter_rows()
        if "children" in name.lower()
    )
    return Places(places, children)


def day_weights(
    period: Period, profile: Profile, *, kind: str, growth_per_year: float
) -> NDArray[np.float64]:
    """One weight per day of the period for one kind of demand (emergency, inpatient, elective)."""
    first = calendar.day_number(period.first_on)
    count = calendar.day_number(period.end_on) - first
    numbers = np.arange(first, first + count)
    dates = numbers.astype("datetime64[D]")
    month_index = dates.astype("datetime64[M]").astype(int)
    weekday = (numbers + 3) % 7
    weight = np.power(1.0 + growth_per_year, (numbers - first) / 365.25)
    weight *= np.array(_WEEKDAY[kind])[weekday]
    weight *= np.array(_MONTH["elective" if kind == "elective" else "emergency"])[month_index % 12]
    holiday = (weekday < 5) & ~calendar.is_working_day(first, count)
    weight[holiday] *= _HOLIDAY[kind]
    column = "elective_factor" if kind == "elective" else "emergency_factor"
    for month_on, factor in profile.covid_demand.select("month_on", column).iter_rows():
        weight[month_index == (month_on.year - 1970) * 12 + month_on.month - 1] *= factor
    return weight


def request_hours(kind: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Local second of the day of each request."""
    count = len(kind)
    hours = np.array(_EMERGENCY_HOURS, dtype=float)
    emergency = rng.choice(24, size=count, p=hours / hours.sum()) * calendar.HOUR
    emergency += rng.integers(calendar.HOUR, size=count)
    inpatient = rng.triangular(7, 10.5, 21, count) * calendar.HOUR
    elective = rng.triangular(8.5, 11, 17.5, count) * calendar.HOUR
    return np.select(
        [kind == "emergency", kind == "inpatient"], [emergency, inpatient], elective
    ).astype(np.int64)


def draw_requests(
    network: Network,
    profile: Profile,
    period: Period,
    places: Places,
    scale: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per request, unordered.

    Columns: party_code, site_code, modality_group, source_setting, kind (emergency, inpatient,
    elective), planned_rate, requested (local seconds). About 200,000 x scale rows fall before
    the history extract.
    """
    history_days = calendar.day_number(period.live_on) - calendar.day_number(period.first_on)
    parts: list[pl.DataFrame] = []
    demand = profile.party_demand.filter(
        pl.col("party_code").is_in(network.programme_parties["party_code"].to_list())
    )
    for group, share, growth in profile.modality_demand.select(
        "modality_group", "share", "growth_per_year"
    ).iter_rows():
        weights = {
            kind: day_weights(period, profile, kind=kind, growth_per_year=growth)
            for kind in _WEEKDAY
        }
        rows = demand.filter(pl.col("modality_group") == group)
        total = rows["weight"].sum()
        for row in rows.iter_rows(named=True):
            if (row["party_code"], group) not in places.sites:
                continue
            expected = EXAMS_AT_FULL_SCALE * scale * share * row["weight"] / total
            for setting, part in _setting_shares(row, profile, group).items():
                kind = {EMERGENCY_DEPARTMENT: "emergency", INPATIENT: "inpatient"}.get(
                    setting, "elective"
                )
                weight = weights[kind]
                mean = expected * part * weight.sum() / weight[:history_days].sum()
                parts.append(_stream(row, group, setting, kind, mean, weight, period, places, rng))
    return pl.concat(parts)


def _setting_shares(row: dict[str, object], profile: Profile, group: str) -> dict[str, float]:
    unscheduled = float(str(row["unscheduled_rate"]))
    emergency = float(str(row["emergency_department_rate"]))
    mix = profile.setting_mix.filter(pl.col("modality_group") == group)
    total = mix["weight"].sum()
    shares = {
        setting: (1 - unscheduled) * weight / total
        for setting, weight in mix.select("source_setting", "weight").iter_rows()
    }
    shares[EMERGENCY_DEPARTMENT] = unscheduled * emergency
    shares[INPATIENT] = unscheduled * (1 - emergency)
    return {setting: part for setting, part in shares.items() if part > 0}


def _stream(
    row: dict[str, object],
    group: str,
    setting: str,
    kind: str,
    mean: float,
    weight: NDArray[np.float64],
    period: Period,
    places: Places,
    rng: np.random.Generator,
) -> pl.DataFrame:
    count = int(rng.poisson(mean))
    cumulative = np.cumsum(weight)
    days = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], "right")
    first = calendar.day_number(period.first_on)
    sites, site_weight = places.sites[str(row["party_code"]), group]
    seconds = (first + days) * calendar.DAY + request_hours(np.full(count, kind), rng)
    return pl.DataFrame(
        {
            "party_code": np.full(count, row["party_code"]),
            "site_code": rng.choice(np.array(sites), size=count, p=site_weight),
            "modality_group": np.full(count, group),
            "source_setting": np.full(count, setting),
            "kind": np.full(count, kind),
            "planned_rate": np.full(count, float(str(row["planned_rate"]))),
            "requested": seconds.astype(np.int64),
        }
    )
