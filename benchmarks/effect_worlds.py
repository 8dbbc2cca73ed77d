"""How often the effect of staged go-lives is told rightly, over simulated panels of known effect.

`python -m benchmarks.effect_worlds --plot docs/go_live_effect.svg` prints the tables of
docs/go_live_effect.md and draws its plot; `--worlds` sets how many panels each row stands on, `--seed` which. A panel
is levels, one season, common and own autocorrelated noise, own trends, a common shock, and what
else its world says. Values are numbers without a unit: noise of one party has a standard deviation
of about 1, and less is better.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.settings import PROJECT_ROOT
from pipelines.statistics.go_live_effect import GoLiveEffect, estimate, first_month
from pipelines.statistics.intervals import t_quantile

SEED = 20261127
WORLDS = 200
HORIZON = 12
SIZES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calendar:
    """Months of a panel, first month with the effect by party, and what else happens when.

    `shock` is the first and the last month of the common shock; `steps` are the parties that
    change at a merger, with its month. Months are counted from 0.
    """

    name: str
    month_count: int
    starts: dict[str, int]
    shock: tuple[int, int]
    steps: tuple[tuple[int, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class World:
    """What is true in a panel. Standard deviations are in the unit of the values.

    `effect` is reached after `ramp_months` and differs by `effect_spread` between parties;
    `trend` is the spread of the parties' own trends a month, in the order of the go-lives where
    `is_order_by_trend`; `unequal_shock` is the spread of the shock between parties, as a share of
    it; `merger_step` that of the change of level at a merger.
    """

    name: str
    calendar: Calendar
    effect: float = 0.0
    ramp_months: int = 0
    effect_spread: float = 0.0
    trend: float = 0.03
    is_order_by_trend: bool = False
    unequal_shock: float = 0.0
    merger_step: float = 0.0
    own_season: float = 0.0
    noise_spread: float = 0.5
    persistence: float = 0.5
    without_shock_months: bool = False


@dataclass
class Tally:
    """What was told of the panels of one world."""

    true: list[float] = field(default_factory=list)
    told: list[GoLiveEffect] = field(default_factory=list)
    naive: list[tuple[float, float, float]] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Shares are of all panels."""
        pairs = list(zip(self.told, self.true, strict=True))
        naive = list(zip(self.naive, self.true, strict=True))
        return {
            "bias": fmean(one.att - true for one, true in pairs),
            "width": fmean(one.ci_high - one.ci_low for one in self.told),
            "coverage": fmean(one.ci_low <= true <= one.ci_high for one, true in pairs),
            "ri_coverage": fmean(one.ri_low <= true <= one.ri_high for one, true in pairs),
            "improvement": self.share("consistent with improvement"),
            "worsening": self.share("consistent with worsening"),
            "naive_bias": fmean(one[0] - true for one, true in naive),
            "naive_coverage": fmean(one[1] <= true <= one[2] for one, true in naive),
            "naive_claims": fmean(one[2] < 0 or one[1] > 0 for one in self.naive),
        }

    def share(self, verdict: str) -> float:
        """Share of the panels with this verdict."""
        return fmean(one.verdict == verdict for one in self.told)


def reference_calendar() -> Calendar:
    """Eight parties of 72 months, six months and less between their go-lives."""
    starts = (30, 33, 36, 40, 44, 48, 52, 58)
    return Calendar(
        "reference", 72, {f"T{place}": m for place, m in enumerate(starts, start=1)}, (26, 34)
    )


def manchester_calendar(first: date = date(2018, 4, 1)) -> Calendar:
    """The programme's parties and mergers as seeded, with the archive go-lives of the synthetic network."""
    seeds = PROJECT_ROOT / "dbt_project" / "seeds" / "network"

    def number(day: str) -> int:
        month = first_month(date.fromisoformat(day))
        return (month.year - first.year) * 12 + month.month - first.month

    parties = [row["party_code"] for row in _rows(seeds / "programme_parties.csv")]
    go_lives = _rows(PROJECT_ROOT / "pipelines" / "synthetic" / "reference" / "go_lives.csv")
    starts = {
        row["party_code"]: number(row["go_live_on"])
        for row in go_lives
        if row["go_live_type"] == "archive" and row["party_code"] in parties
    }
    shock, steps = (0, 0), {}
    for row in _rows(seeds / "programme_events.csv"):
        if row["event_type"] == "external":
            shock = (number(row["event_on"]), number(row["ends_on"]))
        elif row["event_type"] == "organisation_change":
            steps.setdefault(number(row["event_on"]), set()).add(row["scope_code"])
    # What leaves one party's trust arrives at another's, though each party keeps its sites.
    steps[number("2021-04-01")].add("R0A")
    mergers = tuple((month, tuple(sorted(codes))) for month, codes in sorted(steps.items()))
    return Calendar(
        f"Greater Manchester from {first:%Y}", max(starts.values()) + 14, starts, shock, mergers
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def worlds() -> list[World]:
    """The worlds of the table, in its order."""
    reference, manchester = reference_calendar(), manchester_calendar()
    plain = World("a common shock", reference)
    merging = World("mergers", manchester, merger_step=0.5)
    shocked = World("unequal shock", manchester, merger_step=0.5, unequal_shock=0.25)
    kinds = [
        plain,
        replace(plain, name="own seasons, persistent noise", own_season=0.5, persistence=0.7),
        replace(plain, name="early parties improve anyway", is_order_by_trend=True),
        replace(merging, name="no change of level at mergers", merger_step=0.0),
        merging,
        replace(merging, name="mergers, early parties improve anyway", is_order_by_trend=True),
        replace(plain, name="unequal shock", unequal_shock=0.25),
        replace(
            plain,
            name="unequal shock, its months left out",
            unequal_shock=0.25,
            without_shock_months=True,
        ),
        shocked,
        # Without the months of the shock two years before the first go-live need a third.
        replace(
            shocked,
            name="unequal shock, its months left out",
            calendar=manchester_calendar(date(2017, 4, 1)),
            without_shock_months=True,
        ),
    ]
    return [
        replace(kind, effect=size, ramp_months=ramp, effect_spread=spread)
        for kind in kinds
        for size, ramp, spread in ((0.0, 0, 0.0), (-2.0, 0, 0.0), (-3.0, 6, 0.5))
    ]


def panel_of(world: World, rng: np.random.Generator) -> tuple[pl.DataFrame, float]:
    """One row per party and month, and the true mean effect over the months that count."""
    values, effect = simulated(world, rng)
    months = np.arange(world.calendar.month_count)
    starts = np.array(list(world.calendar.starts.values()))
    since = months[None, :] - starts[:, None]
    skipped = np.isin(months, left_out(world))
    cells = (since >= 0) & (since < HORIZON) & (months < starts.max()) & ~skipped
    trusts = list(world.calendar.starts)
    panel = pl.DataFrame(
        {
            "trust": np.repeat(trusts, len(months)),
            "month": np.tile(months, len(trusts)),
            "value": (values + effect).ravel(),
        }
    )
    return panel, float(effect[cells].mean())


def simulated(world: World, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Values without an effect, and the effect: both party x month."""
    calendar = world.calendar
    starts = np.array(list(calendar.starts.values()))
    count, months = len(starts), np.arange(calendar.month_count)
    common = 2 * np.cos(2 * np.pi * (months - 2) / 12) + persistent(0.7, 1.5, 1, months, rng)[0]
    sizes = 1 + rng.uniform(-world.noise_spread, world.noise_spread, count)
    own = persistent(world.persistence, 1.0, count, months, rng) * sizes[:, None]
    trends = world.trend * rng.standard_normal(count)
    if world.is_order_by_trend:
        trends = np.sort(trends)[np.argsort(np.argsort(starts, kind="stable"))]
    phases = rng.uniform(0, 12, count)
    season = world.own_season * np.cos(2 * np.pi * (months - phases[:, None]) / 12)
    in_shock = (months >= calendar.shock[0]) & (months <= calendar.shock[1])
    shock = -6 * (1 + world.unequal_shock * rng.standard_normal(count))
    values = (
        50 + 5 * rng.standard_normal(count)[:, None] + common + own + season
        + trends[:, None] * months + shock[:, None] * in_shock
    )  # fmt: skip
    trusts = list(calendar.starts)
    for month, codes in calendar.steps:
        for code in codes:
            step = world.merger_step * rng.standard_normal()
            values[trusts.index(code)] += step * (months >= month)
    since = months[None, :] - starts[:, None]
    grown = np.clip((since + 1) / max(world.ramp_months, 1), 0, 1)
    full = world.effect + world.effect_spread * rng.standard_normal(count)
    return values, full[:, None] * grown


def persistent(
    rho: float, spread: float, count: int, months: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Autocorrelated noise of `count` series with this standard deviation, from its steady state."""
    fresh = spread * rng.standard_normal((count, len(months)))
    noise = np.empty_like(fresh)
    noise[:, 0] = fresh[:, 0]
    for month in range(1, len(months)):
        noise[:, month] = rho * noise[:, month - 1] + (1 - rho**2) ** 0.5 * fresh[:, month]
    return noise


def left_out(world: World) -> list[int]:
    """Months of the shock where the world is told without them."""
    first, last = world.calendar.shock
    return list(range(first, last + 1)) if world.without_shock_months else []


def before_and_after(panel: pl.DataFrame, starts: dict[str, int]) -> tuple[float, float, float]:
    """The comparison that misleads: the year after less the year before, and its interval.

    A t interval over the parties whose year after is in the panel.
    """
    wide = {key[0]: part["value"].to_numpy() for key, part in panel.group_by("trust")}
    changes = [
        wide[trust][start : start + HORIZON].mean() - wide[trust][start - HORIZON : start].mean()
        for trust, start in starts.items()
        if start + HORIZON <= len(wide[trust])
    ]
    att, spread = float(np.mean(changes)), float(np.std(changes, ddof=1))
    reach = t_quantile(0.975, len(changes) - 1) * spread / len(changes) ** 0.5
    return att, att - reach, att + reach


def told(world: World, count: int, seed: int) -> Tally:
    """What is told of so many panels of one world."""
    tally = Tally()
    for number in range(count):
        # The same noise in every world, so that two rows differ by their worlds only.
        panel, true = panel_of(world, np.random.default_rng([seed, number]))
        starts = world.calendar.starts
        tally.true.append(true)
        tally.told.append(
            estimate(
                panel,
                starts,
                improvement="decrease",
                horizon_months=HORIZON,
                months_left_out=left_out(world),
                promised=abs(world.effect) or None,
            )
        )
        tally.naive.append(before_and_after(panel, starts))
    return tally


def coverage_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row per world of the table."""
    for world in worlds():
        tally = told(world, count, seed)
        yield {
            "calendar": world.calendar.name,
            "world": world.name,
            "effect": f"{world.effect:g}{' ramp' if world.ramp_months else ''}",
            **tally.row(),
        }


def power_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row per calendar and size: how often an effect of it is told, and how else."""
    for base in (
        World("a common shock", reference_calendar()),
        World("mergers", manchester_calendar(), merger_step=0.5),
    ):
        for size in SIZES:
            tally = told(replace(base, effect=-size), count, seed)
            yield {
                "calendar": base.calendar.name,
                "effect": -size,
                "improvement": tally.share("consistent with improvement"),
                "not_shown": tally.share("not shown"),
                "could_not": tally.share("could not have been seen"),
                "detectable": fmean(one.detectable for one in tally.told),
            }


def plot(rows: list[dict[str, Any]]) -> str:
    """The coverage of each world as SVG: one line per world, one mark per interval."""
    marks = (("coverage", "#005eb8"), ("ri_coverage", "#007f3b"), ("naive_coverage", "#d5281b"))
    left, width, line = 460, 380, 20
    height = 60 + line * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 40}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Share of intervals that hold the true effect</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<rect x="{left + 0.9 * width}" y="30" width="{0.09 * width}" '
        f'height="{height - 50}" fill="#e8edee"/>',
    ]
    for place, (_, colour) in enumerate(marks):
        said = ("interval", "randomisation interval", "before and after")[place]
        x = left + 150 * place
        parts.append(f'<circle cx="{x}" cy="14" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 9}" y="18">{said}</text>')
    for place, row in enumerate(rows):
        y = 45 + line * place
        said = f"{row['calendar']}: {row['world']}, {row['effect']}"
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{said}</text>')
        for name, colour in marks:
            x = left + width * row[name]
            parts.append(f'<circle cx="{x:.0f}" cy="{y}" r="5" fill="{colour}" opacity="0.8"/>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * share
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="middle">{share:.0%}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Simulate, and print both tables as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    for rows in (coverage_rows, power_rows):
        for row in rows(arguments.worlds, arguments.seed):
            found += [row] * (rows is coverage_rows)
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    if arguments.plot:
        arguments.plot.write_text(plot(found))


if __name__ == "__main__":
    main()
