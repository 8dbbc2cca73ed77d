"""The panel of one metric for the effect of go-lives: which parties, months and comparators.

A month that is missing stays missing: nothing is filled in. Since every party of the programme needs
every month, a month without a value of one of them is left out for all. A comparator that lacks a
month takes it from those only who have nobody else to be compared with then. Who has no value in at
least half of the months is left out itself. All of it is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipelines.statistics.go_live_effect import LEAST_MONTHS_BEFORE, Improvement, first_month

# One party that came late to a feed must not take the figure from all others.
LEAST_SHARE_OF_MONTHS = 0.5
HORIZON_MONTHS = 12
RATE = "rate"


class NoPanel(ValueError):
    """The metric has no panel; the message says why, and what would help."""


@dataclass(frozen=True)
class Measure:
    """One metric of the benefit register with the type of go-live that should change it.

    `target` and `baseline` are the promise, in the unit of the metric.
    """

    metric_id: str
    go_live_type: str
    improvement: Improvement
    unit: str
    baseline: float | None = None
    target: float | None = None


@dataclass(frozen=True)
class Panel:
    """What `go_live_effect.estimate` takes, and what was done to get there.

    `rows`: trust (party or comparator), month, value (logged where `is_logged`). `go_live`: first
    month with the effect; None is a comparator outside the programme. `missing`: months without a
    value of a party; `gaps`: by comparator the other months that it lacks; `shocks`: months of common shocks, which are left out, kept, or none.
    """

    rows: pl.DataFrame
    go_live: dict[str, date | None]
    is_logged: bool
    missing: frozenset[date]
    gaps: Mapping[str, tuple[date, ...]]
    shocks: frozenset[date]
    shock_months: str
    left_out_parties: tuple[str, ...]
    first_month_on: date
    last_month_on: date

    @property
    def months_left_out(self) -> frozenset[date]:
        """Months that the estimate does not use."""
        return self.missing | (self.shocks if self.shock_months == "left out" else frozenset())

    @property
    def parties(self) -> list[str]:
        """Parties of the programme, in the order of their names."""
        return sorted(name for name, month in self.go_live.items() if month is not None)

    @property
    def comparators(self) -> list[str]:
        """Those outside the programme."""
        return sorted(name for name, month in self.go_live.items() if month is None)

    @property
    def last_go_live(self) -> date:
        """First month with the effect of the last party to go live."""
        return max(month for month in self.go_live.values() if month)

    @property
    def is_all_live(self) -> bool:
        """The last party goes live within the panel."""
        return self.last_go_live <= self.last_month_on

    @property
    def not_compared(self) -> list[date]:
        """Months after the last go-live that every comparator lacks: nobody is left then."""
        gaps = [set(self.gaps.get(name, ())) for name in self.comparators]
        shared = set.intersection(*gaps) if gaps else set()
        return sorted(month for month in shared if month >= self.last_go_live)


def next_month(month: date, count: int = 1) -> date:
    """First day of the month so many months later."""
    number = month.year * 12 + month.month - 1 + count
    return date(number // 12, number % 12 + 1, 1)


def months_between(first: date, last: date) -> list[date]:
    """First day of every month from one to another, both included."""
    count = (last.year - first.year) * 12 + last.month - first.month
    return [next_month(first, number) for number in range(count + 1)]


def shock_months(shocks: pl.DataFrame) -> frozenset[date]:
    """Every month that a shock of `shocks` (from_on, to_on) touches; one without an end has none."""
    ended = shocks.drop_nulls(["from_on", "to_on"])
    return frozenset(
        month
        for start, end in ended.select("from_on", "to_on").iter_rows()
        for month in months_between(first_month(start), first_month(end))
    )


def panel_of(
    measure: Measure,
    values: pl.DataFrame,
    go_live_on: Mapping[str, date],
    shocks: frozenset[date] = frozenset(),
) -> Panel:
    """The panel of one measure.

    `values`: party_code, month_on, value, is_outside (a comparator), one row per party and month
    that is known; a null value is none. `go_live_on`: day of the go-live of the measure's type, by
    party; a party that is not in it is not live yet. The month of the go-live is the first with the
    effect, as part of it is no longer before.

    Metrics other than rates are logged, where every value is above 0: their effects multiply. The
    months of shocks are left out unless too few remain before the first go-live; then they are kept.
    Raises NoPanel where nothing can be compared.
    """
    known = values.drop_nulls("value").filter(pl.col("value").is_finite())
    outside = set(known.filter("is_outside")["party_code"])
    inside = sorted(set(known["party_code"]) - outside)
    if not inside:
        raise NoPanel(f"no month of {measure.metric_id} by party; deliver the feeds it needs")
    starts = {party: first_month(go_live_on[party]) for party in inside if party in go_live_on}
    if not starts:
        raise NoPanel(f"no party of {measure.metric_id} has a go-live of {measure.go_live_type}")
    of_parties = known.filter(pl.col("party_code").is_in(inside))
    first, last = of_parties["month_on"].min(), of_parties["month_on"].max()
    assert isinstance(first, date) and isinstance(last, date)
    if first >= min(starts.values()):
        raise NoPanel(
            f"the first month of {measure.metric_id} is {first:%B %Y} and the first go-live was in "
            f"{min(starts.values()):%B %Y}: nothing is known of before; deliver earlier months"
        )
    if len(starts) == len(inside):
        # Later months say nothing; with comparators they do for a year.
        reach = HORIZON_MONTHS if outside else 0
        last = min(last, next_month(max(starts.values()), reach))
    months = months_between(first, last)
    known = known.filter(pl.col("month_on").is_between(first, last))
    counts = dict(known.group_by("party_code").len().iter_rows())
    kept = [
        name
        for name in sorted([*inside, *outside])
        if counts.get(name, 0) >= LEAST_SHARE_OF_MONTHS * len(months)
    ]
    left_out = tuple(sorted({*inside, *outside} - set(kept)))
    if not any(party in starts for party in kept):
        raise NoPanel(
            f"no party has {measure.metric_id} in half of the {len(months)} months from "
            f"{first:%B %Y}; deliver the missing months"
        )
    known = known.filter(pl.col("party_code").is_in(kept))
    of_programme = known.filter(~pl.col("party_code").is_in(list(outside)))
    counted = of_programme.group_by("month_on").len()
    full = counted.filter(pl.col("len") == len(set(kept) - outside))
    missing = frozenset(months) - set(full["month_on"])
    shocked = shocks & frozenset(months)
    start = min(starts[party] for party in kept if party in starts)
    rows = known.filter(~pl.col("month_on").is_in(list(missing)))
    if rows.is_empty():
        raise NoPanel(
            f"no month in which every party has {measure.metric_id}; deliver what is missing"
        )
    is_logged = measure.unit != RATE and bool((rows["value"] > 0).all())
    value = pl.col("value").log() if is_logged else pl.col("value")
    later = next_month(last)
    return Panel(
        rows=rows.select(
            pl.col("party_code").alias("trust"), pl.col("month_on").alias("month"), value
        ).sort("trust", "month"),
        go_live={name: None if name in outside else starts.get(name, later) for name in kept},
        is_logged=is_logged,
        missing=missing,
        gaps=_gaps(rows, sorted(outside & set(kept)), frozenset(months) - missing),
        shocks=shocked,
        shock_months=_handled(months, missing, shocked, start),
        left_out_parties=left_out,
        first_month_on=first,
        last_month_on=last,
    )


def _gaps(
    rows: pl.DataFrame, comparators: list[str], months: frozenset[date]
) -> dict[str, tuple[date, ...]]:
    """Months that a comparator lacks, of those who lack any."""
    told = {
        name: set(rows.filter(pl.col("party_code") == name)["month_on"]) for name in comparators
    }
    found = {name: tuple(sorted(months - known)) for name, known in told.items()}
    return {name: lacking for name, lacking in found.items() if lacking}


def _handled(
    months: list[date], missing: frozenset[date], shocks: frozenset[date], start: date
) -> str:
    """What becomes of the months of shocks: left out, kept, or none.

    By the calendar alone, whatever the values are.
    """
    if not shocks:
        return "none"
    left = sum(month < start for month in months if month not in missing | shocks)
    return "left out" if left >= LEAST_MONTHS_BEFORE else "kept"


def promised_size(measure: Measure, *, is_logged: bool) -> float | None:
    """Size the register promises in the scale of the panel, without sign; None where it does not."""
    if measure.baseline is None or measure.target is None:
        return None
    if not is_logged:
        return abs(measure.target - measure.baseline)
    if measure.baseline <= 0 or measure.target <= 0:
        return None
    return abs(math.log(measure.target / measure.baseline))
