"""The appraisal of the programme to date: which flows, which classes, which bias, as stored.

Years are financial years from April, the first with a cost or a benefit is the base year. Realised
and forecast are kept apart in every flow. Columns: pipelines/statistics/ledger_tables.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.appraisal import (
    DRAWS,
    RATES_VINTAGE,
    Simulation,
    UncertainLine,
    appraise,
    benefit_sensitivities,
    simulate,
)
from pipelines.statistics.benefit_balance import MONETISED
from pipelines.statistics.benefit_draws import INTERVAL, Drawn, drawn_sum, value_key
from pipelines.statistics.ledger_tables import (
    APPRAISAL,
    APPRAISAL_FLOWS,
    APPRAISAL_SENSITIVITIES,
)
from pipelines.statistics.staged_effects import TYPES

REALISED, MIXED, FORECAST = BASES = ("realised", "realised, then forecast", "forecast")
SELECTIONS = {
    "cash only": ("CRB",),
    "cash and non-cash": ("CRB", "NCRB"),
    "all monetised": MONETISED,
}
# As budgeted, and that of costs in the seed optimism_biases (a test holds the two together), the
# upper bound for outsourced information technology. Which of them is right is for the reader to say.
OPTIMISM_BIASES = (0.0, 0.41)
BIAS_SOURCE = (
    "Mott MacDonald 2002, upper bound for outsourced services, as in the R package greenbook 0.1.1"
)
BIAS_SOURCE_STATUS = "verified"
MITIGATION = 0.0
SCHEDULE = "standard"
UNITS = {
    "pv_costs": "GBP",
    "pv_benefits": "GBP",
    "npsv": "GBP",
    "bcr": "ratio",
    "eanc": "GBP",
    "undiscounted_payback_year": "financial year",
    "discounted_payback_year": "financial year",
    "npsv_p10": "GBP",
    "npsv_p50": "GBP",
    "npsv_p90": "GBP",
    "npsv_above_zero_rate": "rate",
}
NOTES = {
    "bcr": "no costs",
    "eanc": "no year after the base year",
    "undiscounted_payback_year": "not paid back by the last year",
    "discounted_payback_year": "not paid back by the last year",
}
NOT_TOLD = "no benefit of these classes is told on this basis"
OF_BENEFITS_ALONE = ("pv_benefits",)
Row = dict[str, Any]


@dataclass(frozen=True)
class Appraised:
    """The three stored tables."""

    flows: pl.DataFrame
    appraisal: pl.DataFrame
    sensitivities: pl.DataFrame


@dataclass(frozen=True)
class _Line:
    """One line of benefits from one source, with how far all of it may be off.

    `drawn`: draws of the multiplier of all of it, None without spread. Lines share the draws of what
    they share: the effect of a metric, the value of a unit.
    """

    line_id: str
    benefit_class: str
    source: str
    by_year: dict[int, float]
    low: float = 1.0
    high: float = 1.0
    drawn: np.ndarray | None = None

    @property
    def name(self) -> str:
        return f"{self.line_id} {self.source}"


@dataclass(frozen=True)
class _Point:
    """One selection of classes: its lines, pounds by year, and measures by name; none without lines.

    `unpriced`: why costs are not valued. What they are part of would look better for what is missing:
    of the measures only the benefits are told.
    """

    lines: list[_Line]
    costs: list[float]
    benefits: list[float]
    values: Row
    unpriced: Sequence[str] = ()


@dataclass(frozen=True)
class _Basis:
    """Benefits and costs of one basis, over the same years.

    `months`: benefit_class and is_told of every line that counts, party and month up to the last.
    `unpriced`: why costs of these months are not valued; they are in no flow.
    """

    name: str
    benefits: list[_Line]
    costs: dict[str, dict[int, float]]
    last_month_on: date | None
    months: pl.DataFrame
    unpriced: list[str]

    @property
    def years(self) -> list[int]:
        told = [line.by_year for line in self.benefits] + list(self.costs.values())
        found = sorted({year for flows in told for year in flows})
        return list(range(found[0], found[-1] + 1)) if found else []


def appraised(
    by_month: pl.DataFrame,
    costs: pl.DataFrame,
    drawn: Drawn,
    generator: np.random.Generator,
    *,
    price_year: int,
    unpriced: Mapping[str, str] | None = None,
    draws: int = DRAWS,
) -> Appraised:
    """Appraise every basis, selection of classes and optimism bias.

    `by_month` of `counted_once` and `costs` of `costs_by_month`, both in real pounds of
    `price_year`; `drawn` of the same rows. Only lines that count are read. A basis with a cost that
    is not valued (empty cost_gbp; `unpriced` says why, by cost) has no figure that costs are part of.
    """
    flows: list[Row] = []
    measures: list[Row] = []
    checks: list[Row] = []
    for name in BASES:
        basis = _basis(name, by_month, costs, drawn, unpriced)
        flows += [row | {"basis": name, "price_year": price_year} for row in _flow_rows(basis)]
        for selection, classes in SELECTIONS.items():
            for bias in OPTIMISM_BIASES:
                case = {
                    "basis": name,
                    "class_selection": selection,
                    "optimism_bias": bias,
                    "price_year": price_year,
                }
                told, sensitive = _case(basis, classes, bias, generator, draws)
                measures += [case | row for row in told]
                checks += [case | row for row in sensitive]
    return Appraised(
        _frame(flows, APPRAISAL_FLOWS),
        _frame(measures, APPRAISAL),
        _frame(checks, APPRAISAL_SENSITIVITIES),
    )


def point_measures(
    by_month: pl.DataFrame, costs: pl.DataFrame, names: Iterable[str], *, bias: float = 0.0
) -> pl.DataFrame:
    """One row per basis, selection of classes and measure: basis, class_selection, measure, unit,
    value, note.

    The values that `appraised` stores of the same rows, but for those of the simulation; `names`
    are of them. Raises ValueError on a flow that is not finite.
    """
    schema = ("basis", "class_selection", "measure", "unit", "value", "note")
    told = {name: kind for name, kind, _ in APPRAISAL["columns"] if name in schema}
    rows = [
        {"basis": name, "class_selection": selection} | row
        for name in BASES
        for basis in [_basis(name, by_month, costs)]
        for selection, classes in SELECTIONS.items()
        for row in _measures(_point(basis, classes, bias), names)
    ]
    return pl.DataFrame(rows, {name: TYPES[told[name]] for name in schema}, orient="row")


def simulated_again(
    by_month: pl.DataFrame,
    changed: pl.DataFrame,
    costs: pl.DataFrame,
    swings: pl.DataFrame,
    generator: np.random.Generator,
    *,
    bias: float = 0.0,
    draws: int = DRAWS,
) -> Simulation | None:
    """The simulation of all monetised benefits, realised, then forecast, with `changed` benefits.

    `by_month` and `changed` as for point_measures, before and after a change; `swings` are the stored
    ends of each line (variant, npsv_low_gbp, npsv_high_gbp; bias 0): how far all of a line may be
    off is taken from them, and stays whatever is changed. A realised line is drawn from its 95 %
    interval, a forecast from the range of its unit value. Lines are drawn independently: of an
    effect or a unit value that lines share nothing is published but what it does to each. None
    where nothing is told, or a cost is not valued.
    """
    before = _point(_basis(MIXED, by_month, costs), MONETISED, 0.0)
    basis = _basis(MIXED, changed, costs)
    after = _point(basis, MONETISED, bias)
    if not before.lines or not after.lines or after.unpriced:
        return None
    ends = {name: sorted((low, high)) for name, low, high in swings.iter_rows()}
    years = _basis(MIXED, by_month, costs).years
    lines = [UncertainLine("costs", "cost", after.costs)]
    for line in after.lines:
        worth = next((_worth(one, years) for one in before.lines if one.name == line.name), 0.0)
        low, high = 1.0, 1.0
        if worth and line.name in ends:
            found = sorted(1.0 + (end - before.values["npsv"]) / worth for end in ends[line.name])
            # what was subtracted leaves a rest far below a penny
            low, high = min(found[0], 1.0), max(found[1], 1.0)
        shape = "normal" if line.source == "realised" else "triangular"
        lines.append(
            replace(_uncertain(line, basis.years), low=low, high=high, shape=shape, drawn=None)
        )
    return simulate(lines, generator, optimism_bias=bias, mitigation=MITIGATION, draws=draws)


def _worth(line: _Line, years: Sequence[int]) -> float:
    """Present value of a line in the first of the years."""
    flows = _summed([line.by_year], years)
    return appraise([0.0] * len(flows), flows, schedule=SCHEDULE).pv_benefits


def _frame(rows: list[Row], table: Row) -> pl.DataFrame:
    schema = {name: TYPES[kind] for name, kind, _ in table["columns"]}
    return pl.DataFrame([[row.get(name) for name in schema] for row in rows], schema, orient="row")


def _basis(
    name: str,
    by_month: pl.DataFrame,
    costs: pl.DataFrame,
    drawn: Drawn | None = None,
    unpriced: Mapping[str, str] | None = None,
) -> _Basis:
    """Flows of one basis; without draws no line of it is uncertain."""
    counted = by_month.filter(pl.col("is_counted") & pl.col("benefit_class").is_in(list(MONETISED)))
    is_realised, is_forecast = (
        pl.col(name).is_not_null() for name in ("realised_gbp", "forecast_gbp")
    )
    is_told = {REALISED: is_realised, MIXED: is_realised | is_forecast, FORECAST: is_forecast}[name]
    realised = counted.filter(is_realised)
    forecast = counted.filter(is_forecast)
    if name == REALISED:
        last = realised["month"].max()
        costs = costs.filter(pl.col("month") <= last) if last else costs.clear()
        forecast = forecast.clear()
    elif name == MIXED:
        forecast = forecast.filter(~is_realised)
    else:
        realised = realised.clear()
    benefits = [_realised_line(rows, drawn) for rows in _by_line(realised)]
    benefits += [_forecast_line(rows, drawn) for rows in _by_line(forecast)]
    paid = {
        str(rows["cost_id"][0]): _by_year(rows, "cost_gbp")
        for rows in costs.drop_nulls("cost_gbp")
        .sort("cost_id")
        .partition_by("cost_id", maintain_order=True)
    }
    months = [
        found
        for frame in (realised, forecast, costs)
        if isinstance(found := frame["month"].max(), date)
    ]
    last = max(months, default=None)
    after_go_live = counted.filter(pl.col("month") <= last) if last else counted.clear()
    lacking = costs.filter(pl.col("cost_gbp").is_null())["cost_id"].unique().sort()
    return _Basis(
        name,
        benefits,
        paid,
        last,
        after_go_live.select("benefit_class", is_told=is_told),
        [(unpriced or {}).get(cost, f"cost {cost} is not valued") for cost in lacking],
    )


def _by_line(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return rows.sort("benefit_id", "party", "month").partition_by("benefit_id", maintain_order=True)


def _by_year(rows: pl.DataFrame, name: str) -> dict[int, float]:
    """Pounds by financial year."""
    year = pl.col("month").dt.year() - (pl.col("month").dt.month() < 4).cast(pl.Int32)
    told = rows.group_by(year.alias("year")).agg(pl.col(name).sort_by("party", "month").sum())
    return dict(told.sort("year").iter_rows())


def _realised_line(rows: pl.DataFrame, drawn: Drawn | None) -> _Line:
    """The multiplier is as uncertain as the sum of its months, effect and unit value together."""
    line = rows.row(0, named=True)
    by_year = _by_year(rows, "realised_gbp")
    if drawn is None:
        return _Line(line["benefit_id"], line["benefit_class"], "realised", by_year)
    total = float(rows["realised_gbp"].sum())
    pounds = drawn_sum(rows, drawn)
    multiplied = pounds / total if pounds is not None and total else None
    ends = (1.0, 1.0)
    if multiplied is not None:
        # The figure itself may lie beyond an end where a logarithm makes the draws uneven.
        low, high = np.quantile(multiplied, INTERVAL)
        ends = (min(float(low), 1.0), max(float(high), 1.0))
    return _Line(
        line["benefit_id"],
        line["benefit_class"],
        "realised",
        by_year,
        *ends,
        multiplied,
    )


def _forecast_line(rows: pl.DataFrame, drawn: Drawn | None) -> _Line:
    """The multiplier is the range of the unit value; without one the forecast is taken as it is."""
    line = rows.row(0, named=True)
    value = line["unit_value_gbp"]
    by_year = _by_year(rows, "forecast_gbp")
    found = _Line(line["benefit_id"], line["benefit_class"], "forecast", by_year)
    if not value or drawn is None:
        return found
    ends = (line["unit_value_low_gbp"] / value, line["unit_value_high_gbp"] / value)
    return replace(found, low=ends[0], high=ends[1], drawn=drawn.values[value_key(line)] / value)


def _flow_rows(basis: _Basis) -> list[Row]:
    rows: list[Row] = []
    for line in basis.benefits:
        told = {
            "line_id": line.line_id,
            "benefit_class": line.benefit_class,
            "source": line.source,
        }
        rows += [told | {"year": year, "gbp": gbp} for year, gbp in line.by_year.items()]
    for cost, by_year in basis.costs.items():
        told = {"line_id": f"cost {cost}", "source": "cost"}
        rows += [told | {"year": year, "gbp": gbp} for year, gbp in by_year.items()]
    return rows


def _case(
    basis: _Basis,
    classes: Sequence[str],
    bias: float,
    generator: np.random.Generator,
    draws: int,
) -> tuple[list[Row], list[Row]]:
    """Measures and sensitivities of one selection of classes."""
    found = _point(basis, classes, bias)
    months = basis.months.filter(pl.col("benefit_class").is_in(list(classes)))
    about = {
        "schedule": SCHEDULE,
        "mitigation": MITIGATION,
        "first_year": basis.years[0] if basis.years else None,
        "last_year": basis.years[-1] if basis.years else None,
        "last_month_on": basis.last_month_on,
        "benefit_ids": ", ".join(sorted({line.line_id for line in found.lines})) or None,
        "told_month_count": int(months["is_told"].sum()),
        "benefit_month_count": len(months),
        "rates_vintage": RATES_VINTAGE,
    }
    if not found.lines:
        return [about | row for row in _measures(found, UNITS)], []
    drawn = simulate(
        [
            *(_uncertain(line, basis.years) for line in found.lines),
            UncertainLine("costs", "cost", found.costs),
        ],
        generator,
        optimism_bias=bias,
        mitigation=MITIGATION,
        draws=draws,
    )
    simulated = {
        "npsv_p10": drawn.p10,
        "npsv_p50": drawn.p50,
        "npsv_p90": drawn.p90,
        "npsv_above_zero_rate": drawn.probability_above_zero,
    }
    told = [about | row for row in _measures(found, UNITS, simulated)]
    if found.unpriced:
        return told, []
    others = benefit_sensitivities(
        found.costs, found.benefits, optimism_bias=bias, mitigation=MITIGATION, schedule=SCHEDULE
    )
    tornado = [
        {
            "sensitivity": "tornado",
            "variant": swing.name,
            "npsv_low_gbp": min(swing.npsv_at_low, swing.npsv_at_high),
            "npsv_high_gbp": max(swing.npsv_at_low, swing.npsv_at_high),
        }
        for swing in drawn.tornado
    ]
    switching = [
        {"sensitivity": "switching value", "variant": line, "switching_value": factor}
        for line, factor in drawn.switching_values.items()
    ]
    shocked = [
        {"sensitivity": "benefits", "variant": case, "npsv_gbp": one.npsv, "bcr": one.bcr}
        for case, one in others.items()
    ]
    return told, [*tornado, *switching, *shocked]


def _point(basis: _Basis, classes: Sequence[str], bias: float) -> _Point:
    """The appraisal of one selection of classes as given, without any draw."""
    lines = [line for line in basis.benefits if line.benefit_class in classes]
    if not lines:
        return _Point([], [], [], {})
    years = basis.years
    costs = _summed(list(basis.costs.values()), years)
    benefits = _summed([line.by_year for line in lines], years)
    found = appraise(costs, benefits, optimism_bias=bias, mitigation=MITIGATION, schedule=SCHEDULE)
    values: Row = asdict(found)
    for name in ("undiscounted_payback_year", "discounted_payback_year"):
        values[name] = None if values[name] is None else years[values[name]]
    return _Point(lines, costs, benefits, values, basis.unpriced)


def _measures(
    found: _Point, names: Iterable[str], simulated: Mapping[str, float] | None = None
) -> list[Row]:
    """One row per measure: value, unit, and in note why there is none."""
    values, notes = found.values | dict(simulated or {}), NOTES
    if not found.lines:
        notes = dict.fromkeys(names, NOT_TOLD)
    elif found.unpriced:
        values = {name: values[name] for name in OF_BENEFITS_ALONE}
        notes = dict.fromkeys(names, "; ".join(found.unpriced))
    return [
        {
            "measure": name,
            "unit": UNITS[name],
            "value": values.get(name),
            "note": notes[name] if values.get(name) is None else None,
        }
        for name in names
    ]


def _summed(flows: Sequence[dict[int, float]], years: Sequence[int]) -> list[float]:
    return [sum(by_year.get(year, 0.0) for by_year in flows) for year in years]


def _uncertain(line: _Line, years: Sequence[int]) -> UncertainLine:
    return UncertainLine(
        line.name,
        "benefit",
        _summed([line.by_year], years),
        low=line.low,
        high=line.high,
        drawn=line.drawn,
    )
