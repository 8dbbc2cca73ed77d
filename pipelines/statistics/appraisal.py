"""Investment appraisal by the Green Book: discounting, net present social value, uncertainty.

Flows are real pounds by year of one price base, index 0 the base year, which is not discounted.
The rates are those of the seed discount_rates (a test holds the two together); who shows a result
shows RATES_VINTAGE beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from pipelines.statistics.intervals import SIGNIFICANCE, t_quantile

Schedule = Literal["standard", "health", "sensitivity"]
Shape = Literal["triangular", "pert", "normal"]

RATES_VINTAGE = "Green Book of 5 February 2026, as tabulated by the Department for Transport"
# Last year of each band, and its rate; the last band has no end.
_BANDS: dict[str, tuple[tuple[float, float], ...]] = {
    "standard": (
        (30, 0.035), (75, 0.030), (125, 0.025), (200, 0.020), (300, 0.015), (math.inf, 0.010),
    ),
    "health": (
        (30, 0.0150), (75, 0.0129), (125, 0.0107), (200, 0.0086), (300, 0.0064),
        (math.inf, 0.0043),
    ),
    "sensitivity": (
        (30, 0.0300), (75, 0.0257), (125, 0.0214), (200, 0.0171), (300, 0.0129),
        (math.inf, 0.0086),
    ),
}  # fmt: skip
# Degrees of freedom of an effect estimated over eight parties.
PARTIES_LESS_ONE = 7
DRAWS = 10_000


def discount_rate(year: int, *, schedule: Schedule = "standard") -> float:
    """Rate of one year from the base year, as a fraction; the rate of year 0 is that of year 1.

    Raises ValueError for a year that is negative or no whole number, or an unknown schedule.
    """
    if schedule not in _BANDS:
        raise ValueError(f"schedule {schedule!r} is not known; use one of {sorted(_BANDS)}")
    if isinstance(year, bool) or not isinstance(year, int | np.integer) or year < 0:
        raise ValueError(f"year {year!r} must be a whole number of years from the base year")
    return next(rate for last, rate in _BANDS[schedule] if year <= last)


def discount_factor(year: int, *, schedule: Schedule = "standard") -> float:
    """What a pound of that year is worth in the base year: the product over the years before it.

    The rate steps down at the margin: year 31 is year 30 over 1.03. Raises as discount_rate.
    """
    discount_rate(year, schedule=schedule)
    return math.prod(1 / (1 + discount_rate(k, schedule=schedule)) for k in range(1, year + 1))


@dataclass(frozen=True)
class Appraisal:
    """Result of one appraisal, real pounds of the base year; costs with optimism bias.

    `bcr` is None without costs, `eanc` (net benefit a year, positive is good) without a year after
    the base year, a payback year where the running net flow never exceeds 0.
    """

    pv_costs: float
    pv_benefits: float
    npsv: float
    bcr: float | None
    undiscounted_payback_year: int | None
    discounted_payback_year: int | None
    eanc: float | None


def appraise(
    costs: Sequence[float],
    benefits: Sequence[float],
    *,
    optimism_bias: float = 0.0,
    mitigation: float = 0.0,
    schedule: Schedule = "standard",
) -> Appraisal:
    """Appraise costs and benefits by year (real pounds, index 0 = base year, equal lengths).

    Every cost is multiplied by 1 + optimism_bias * (1 - mitigation); both are fractions. Raises
    ValueError on unequal or no years, a flow that is missing or infinite, an optimism bias below 0
    or a mitigation outside 0 to 1.
    """
    _check_flows("costs", costs)
    _check_flows("benefits", benefits)
    if len(costs) != len(benefits):
        raise ValueError(f"{len(costs)} years of costs but {len(benefits)} of benefits")
    uplift = optimism_factor(optimism_bias, mitigation)
    paid = [cost * uplift for cost in costs]
    factors = [discount_factor(year, schedule=schedule) for year in range(len(costs))]
    pv_costs, pv_benefits = _present_value(paid, factors), _present_value(benefits, factors)
    net = [gain - cost for gain, cost in zip(benefits, paid, strict=True)]
    npsv, annuity = pv_benefits - pv_costs, math.fsum(factors[1:])
    return Appraisal(
        pv_costs=pv_costs,
        pv_benefits=pv_benefits,
        npsv=npsv,
        bcr=pv_benefits / pv_costs if pv_costs > 0 else None,
        undiscounted_payback_year=_payback(net),
        discounted_payback_year=_payback([a * b for a, b in zip(net, factors, strict=True)]),
        eanc=npsv / annuity if annuity else None,
    )


def optimism_factor(optimism_bias: float, mitigation: float) -> float:
    """What costs are multiplied by; raises ValueError outside 0 to infinity, or 0 to 1."""
    if not (math.isfinite(optimism_bias) and optimism_bias >= 0):
        raise ValueError(f"optimism_bias {optimism_bias} must be a fraction of 0 or more")
    if not 0 <= mitigation <= 1:
        raise ValueError(f"mitigation {mitigation} must lie between 0 and 1")
    return 1 + optimism_bias * (1 - mitigation)


def _check_flows(name: str, flows: Sequence[float]) -> None:
    if not len(flows):
        raise ValueError(f"{name} have no year; give the base year at least")
    for year, flow in enumerate(flows):
        if flow is None or not math.isfinite(flow):
            raise ValueError(f"{name} of year {year} must be given and finite; 0 where none")


def _present_value(flows: Sequence[float], factors: Sequence[float]) -> float:
    return math.fsum(flow * factor for flow, factor in zip(flows, factors, strict=True))


def _payback(net: Sequence[float]) -> int | None:
    return next((year for year, total in enumerate(accumulate(net)) if total > 0), None)


def in_prices_of(
    amount: float, price_year: int | None, base_year: int, index: Mapping[int, float]
) -> float:
    """An amount in prices of `price_year` in those of `base_year`, by a price index by year.

    Raises ValueError for an amount without a price year, or a year that the index lacks: nominal
    and real flows are never mixed.
    """
    if price_year is None:
        raise ValueError("an amount has no price year; finance has to say which")
    for year in (price_year, base_year):
        if year not in index:
            raise ValueError(f"the price index has no {year}; it ends in {max(index)}")
    return amount * index[base_year] / index[price_year]


def benefit_sensitivities(
    costs: Sequence[float],
    benefits: Sequence[float],
    *,
    optimism_bias: float = 0.0,
    mitigation: float = 0.0,
    schedule: Schedule = "standard",
) -> dict[str, Appraisal]:
    """The appraisal as given, with a fifth and two fifths less benefit, and benefits a year late.

    Arguments and errors as `appraise`.
    """
    cases = {
        "as given": list(benefits),
        "benefits less 20 %": [0.8 * gain for gain in benefits],
        "benefits less 40 %": [0.6 * gain for gain in benefits],
        "benefits a year late": [0.0, *benefits][: len(benefits)],
    }
    return {
        name: appraise(
            costs, gains, optimism_bias=optimism_bias, mitigation=mitigation, schedule=schedule
        )
        for name, gains in cases.items()
    }


@dataclass(frozen=True)
class UncertainLine:
    """One line of costs or benefits: real pounds by year, and how far all of it may be off.

    low, mode and high multiply the whole line; `shape` is the distribution of that multiplier. Of
    `normal`, low and high are a 95 % interval, of a mean whose
    standard error has `degrees` of freedom. A line of monetised health (QALY) takes the schedule health.
    `drawn`: draws of the multiplier made elsewhere, where lines share an uncertainty; low and high are
    then only the ends of its swing.
    """

    name: str
    kind: Literal["cost", "benefit"]
    flows: Sequence[float]
    low: float = 1.0
    mode: float = 1.0
    high: float = 1.0
    shape: Shape = "triangular"
    schedule: Schedule = "standard"
    degrees: int = PARTIES_LESS_ONE
    drawn: np.ndarray | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Swing:
    """Net present social value with one line at its low and its high, the rest at their mode."""

    name: str
    npsv_at_low: float
    npsv_at_high: float


@dataclass(frozen=True)
class Simulation:
    """Net present social value over all draws, in pounds of the base year.

    `deterministic` has every line at its mode. `tornado` has the widest swing first.
    `switching_values`: by benefit line, the multiplier of it at which the deterministic value is
    0; None for a line that is worth nothing.
    """

    deterministic: float
    p10: float
    p50: float
    p90: float
    probability_above_zero: float
    tornado: tuple[Swing, ...]
    switching_values: Mapping[str, float | None]


def simulate(
    lines: Sequence[UncertainLine],
    generator: np.random.Generator,
    *,
    optimism_bias: float = 0.0,
    mitigation: float = 0.0,
    draws: int = DRAWS,
) -> Simulation:
    """Draw the multiplier of every line and add the present values up.

    Lines are drawn independently of each other but for those that come with draws of their own, which
    are taken in their order. `generator` comes seeded from the caller, so that a figure can be had again. Raises ValueError
    on no line, lines of unequal length or one name, an order other than low <= mode <= high, no
    draws or another number of a line's own, and as `appraise`.
    """
    _check_lines(lines)
    if draws < 1:
        raise ValueError(f"{draws} draws are none; take {DRAWS}")
    uplift = optimism_factor(optimism_bias, mitigation)
    worth = [_signed_worth(line, uplift) for line in lines]
    modes = [line.mode for line in lines]
    total = _added(worth, modes)
    drawn = _added(worth, [_multiplied(line, generator, draws) for line in lines])
    swings = []
    for at, line in enumerate(lines):
        low, high = (
            float(_added(worth, [*modes[:at], end, *modes[at + 1 :]]))
            for end in (line.low, line.high)
        )
        swings.append(Swing(line.name, low, high))
    swings.sort(key=lambda swing: -abs(swing.npsv_at_high - swing.npsv_at_low))
    p10, p50, p90 = (float(found) for found in np.quantile(drawn, (0.1, 0.5, 0.9)))
    return Simulation(
        deterministic=float(total),
        p10=p10,
        p50=p50,
        p90=p90,
        probability_above_zero=float(np.mean(drawn > 0)),
        tornado=tuple(swings),
        switching_values={
            line.name: 1 - float(total) / (value * line.mode) if value * line.mode else None
            for line, value in zip(lines, worth, strict=True)
            if line.kind == "benefit"
        },
    )


def _added(worth: Sequence[float], multiplied: Sequence[Any]) -> Any:
    """Sum over lines, one after the other: without spread each draw is the deterministic sum."""
    total = worth[0] * multiplied[0]
    for value, factor in zip(worth[1:], multiplied[1:], strict=True):
        total = total + value * factor
    return total


def _signed_worth(line: UncertainLine, uplift: float) -> float:
    factors = [discount_factor(year, schedule=line.schedule) for year in range(len(line.flows))]
    value = _present_value(line.flows, factors)
    return value if line.kind == "benefit" else -value * uplift


def _check_lines(lines: Sequence[UncertainLine]) -> None:
    if not lines:
        raise ValueError("there is no line to simulate")
    names = [line.name for line in lines]
    if len(set(names)) < len(names):
        raise ValueError(f"two lines have one name: {sorted(names)}")
    for line in lines:
        _check_flows(line.name, line.flows)
        if len(line.flows) != len(lines[0].flows):
            raise ValueError(f"{line.name} has {len(line.flows)} years, not {len(lines[0].flows)}")
        if line.kind not in ("cost", "benefit"):
            raise ValueError(f"{line.name}: kind {line.kind!r} must be cost or benefit")
        _check_multiplier(line)


def _check_multiplier(line: UncertainLine) -> None:
    numbers = (line.low, line.mode, line.high)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{line.name}: low, mode and high must be finite")
    if not line.low <= line.mode <= line.high:
        raise ValueError(f"{line.name}: low <= mode <= high does not hold")
    if line.degrees < 1:
        raise ValueError(f"{line.name}: {line.degrees} degrees of freedom are none")


def _multiplied(line: UncertainLine, generator: np.random.Generator, draws: int) -> np.ndarray:
    if line.drawn is None:
        return multipliers(line, generator, draws)
    if line.drawn.shape != (draws,):
        raise ValueError(f"{line.name}: {line.drawn.shape} draws of its own, not {draws}")
    return line.drawn


def multipliers(line: UncertainLine, generator: np.random.Generator, draws: int) -> np.ndarray:
    """Draws of the multiplier of a line; without spread all of them are its mode, exactly.

    A PERT distribution is a beta distribution with mean (low + 4 mode + high) / 6. Raises
    ValueError for an unknown shape.
    """
    width = line.high - line.low
    if line.shape not in ("triangular", "pert", "normal"):
        raise ValueError(f"{line.name}: shape {line.shape!r} is not known")
    if width == 0:
        return np.full(draws, float(line.mode))
    if line.shape == "triangular":
        return generator.triangular(line.low, line.mode, line.high, draws)
    if line.shape == "normal":
        reach = t_quantile(1 - SIGNIFICANCE / 2, line.degrees)
        return generator.normal(line.mode, width / (2 * reach), draws)
    rise, fall = (line.mode - line.low) / width, (line.high - line.mode) / width
    return line.low + width * generator.beta(1 + 4 * rise, 1 + 4 * fall, draws)
