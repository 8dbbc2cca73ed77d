"""The effect of every type of go-live on the metrics of the benefit register, as stored.

Estimates one panel per measure (effect_panel.py), adjusts over all of them, and says in words what
could not be estimated and what no method can tell. Columns: pipelines/statistics/effect_tables.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from pipelines.statistics.effect_panel import (
    HORIZON_MONTHS,
    Measure,
    NoPanel,
    Panel,
    next_month,
    panel_of,
    promised_size,
    shock_months,
)
from pipelines.statistics.effect_tables import (
    GO_LIVE_EFFECTS,
    GO_LIVE_EFFECTS_BY_MONTH_SINCE,
    GO_LIVE_EFFECTS_BY_PARTY,
    GO_LIVE_EFFECTS_CHECKS,
    GO_LIVE_EFFECTS_MONTHLY,
)
from pipelines.statistics.go_live_effect import GoLiveEffect, adjust, estimate
from pipelines.statistics.go_live_imputation import NO_EFFECT, Design, Effect, Fit, Series

TYPES = {
    "VARCHAR": pl.String,
    "BOOLEAN": pl.Boolean,
    "DOUBLE": pl.Float64,
    "BIGINT": pl.Int64,
    "DATE": pl.Date,
}
Key = tuple[str, str]
Row = dict[str, Any]
MONTHS_NAMED = 3
SPILLOVER = (
    "Parties that share work are no strangers: what a party not live yet gains or loses by the "
    "others' go-lives counts as an effect."
)
CHOSEN_ORDER = "The order of the go-lives was chosen, not drawn by lot."


@dataclass(frozen=True)
class StagedEffects:
    """The five stored tables, in the columns of effect_tables.py."""

    effects: pl.DataFrame
    monthly: pl.DataFrame
    checks: pl.DataFrame
    by_month_since: pl.DataFrame
    by_party: pl.DataFrame


@dataclass(frozen=True)
class Calendar:
    """What happened to the parties and when.

    `go_lives`: party_code, go_live_type, go_live_on; of several go-lives of one type the first
    counts. `shocks`: from_on, to_on, label; what met the whole network and ended. `events`:
    event_on, scope_code, label, metric_ids; everything else that could be taken for an effect.
    metric_ids names the metrics an event concerns, separated by "; "; null is all of them.
    """

    go_lives: pl.DataFrame
    shocks: pl.DataFrame
    events: pl.DataFrame

    def go_live_on(self, go_live_type: str) -> dict[str, date]:
        """First go-live of a type, by party."""
        found = self.go_lives.filter(pl.col("go_live_type") == go_live_type)
        return dict(found.group_by("party_code").agg(pl.col("go_live_on").min()).iter_rows())


def staged_effects(
    measures: Sequence[Measure],
    values: pl.DataFrame,
    calendar: Calendar,
    generator: np.random.Generator,
) -> StagedEffects:
    """Estimate every measure, in the order of metric and type of go-live.

    `measures` is the list fixed before looking, one per metric and type. `values`: metric_id,
    party_code, month_on (first day), value (in the metric's unit), is_outside; one row per metric,
    party and month that is known. `generator` draws orders where there are more than nine parties.
    """
    named = {(one.metric_id, one.go_live_type): one for one in measures}
    if len(named) != len(measures):
        raise ValueError("a metric and type of go-live is told twice; keep one measure of each")
    shocks = shock_months(calendar.shocks)
    panels: dict[Key, Panel] = {}
    found: dict[Key, GoLiveEffect] = {}
    reasons: dict[Key, str] = {}
    for key in sorted(named):
        measure = named[key]
        own = values.filter(pl.col("metric_id") == measure.metric_id)
        try:
            panel = panel_of(measure, own, calendar.go_live_on(measure.go_live_type), shocks)
            panels[key] = panel
            found[key] = _estimated(measure, panel, generator)
        except ValueError as problem:
            reasons[key] = str(problem)
    told = _adjusted(found)
    parts: dict[str, list[Row]] = {
        name: [] for name in ("effects", "monthly", "checks", "since", "party")
    }
    for key in sorted(named):
        panel, effect = panels.get(key), told.get(key)
        row = _described(named[key], panel, calendar) | {"not_estimated_because": reasons.get(key)}
        if panel is not None and effect is not None:
            row |= _figures(effect, is_logged=panel.is_logged)
            parts["monthly"] += _monthly(key, panel, effect)
            parts["checks"] += _checks(key, panel, effect)
            parts["since"] += _since(key, panel, effect)
            parts["party"] += _by_party(key, panel, effect)
        parts["effects"].append(row)
    return StagedEffects(
        _frame(parts["effects"], GO_LIVE_EFFECTS),
        _frame(parts["monthly"], GO_LIVE_EFFECTS_MONTHLY),
        _frame(parts["checks"], GO_LIVE_EFFECTS_CHECKS),
        _frame(parts["since"], GO_LIVE_EFFECTS_BY_MONTH_SINCE),
        _frame(parts["party"], GO_LIVE_EFFECTS_BY_PARTY),
    )


def _estimated(measure: Measure, panel: Panel, generator: np.random.Generator) -> GoLiveEffect:
    if len(panel.go_live) < 2:
        raise NoPanel(f"only {panel.parties[0]} has {measure.metric_id}; nobody to compare with")
    return estimate(
        panel.rows,
        panel.go_live,
        improvement=measure.improvement,
        horizon_months=HORIZON_MONTHS,
        months_left_out=panel.months_left_out,
        promised=promised_size(measure, is_logged=panel.is_logged),
        generator=generator,
    )


def _adjusted(found: dict[Key, GoLiveEffect]) -> dict[Key, GoLiveEffect]:
    told = adjust({" ".join(key): effect for key, effect in found.items()})
    return {key: told[" ".join(key)] for key in found}


def _described(measure: Measure, panel: Panel | None, calendar: Calendar) -> Row:
    """What is told of a measure whether or not it could be estimated."""
    row: Row = {
        "metric_id": measure.metric_id,
        "go_live_type": measure.go_live_type,
        "improvement": measure.improvement,
        "unit": measure.unit,
    }
    if panel is None:
        return row
    promised = promised_size(measure, is_logged=panel.is_logged)
    return row | {
        "is_logged": panel.is_logged,
        "promised": promised,
        "change_unit": "relative" if panel.is_logged else measure.unit,
        "promised_change": _size(promised, measure.improvement, is_logged=panel.is_logged),
        "party_count": len(panel.parties),
        "comparator": ", ".join(panel.comparators) or None,
        "first_month_on": panel.first_month_on,
        "last_month_on": panel.last_month_on,
        "shock_months": panel.shock_months,
        "missing_month_count": len(panel.missing),
        "left_out_parties": ", ".join(panel.left_out_parties) or None,
        "cannot_tell": " ".join(_cannot_tell(measure, panel, calendar)),
        "co_interventions": "; ".join(_events(measure, panel, calendar)) or None,
    }


def _cannot_tell(measure: Measure, panel: Panel, calendar: Calendar) -> list[str]:
    told = []
    if panel.is_all_live and not panel.comparators:
        told.append(
            f"From {panel.last_go_live:%B %Y} on every party is live, so that nothing later can be compared, "
            "and the last party's own effect is never known."
        )
    told += _gap_words(panel)
    if panel.shock_months == "kept":
        told.append(
            f"The {len(panel.shocks)} months of {_shock_labels(calendar, panel)} are used, since "
            "without them too few remain before the first go-live: what met the parties unequally then "
            "looks like an effect."
        )
    elif panel.shock_months == "left out":
        labels = _shock_labels(calendar, panel)
        told.append(f"The {len(panel.shocks)} months of {labels} are left out.")
    others = _other_types(measure, panel, calendar)
    if others:
        told.append(
            f"Go-lives of another type ({', '.join(others)}) lie within a year of a party's own: "
            "the effect is of them together."
        )
    return [*told, SPILLOVER, CHOSEN_ORDER]


def _gap_words(panel: Panel) -> list[str]:
    """Months that a comparator lacks, and those that nobody can be compared in for it."""
    told = [
        f"{name} has no value in {_in_words(months)}, which are compared without it."
        for name, months in sorted(panel.gaps.items())
    ]
    if panel.not_compared:
        told.append(
            f"After the last go-live nobody else is left: {_in_words(panel.not_compared)} cannot be "
            "compared."
        )
    return told


def _in_words(months: Sequence[date]) -> str:
    """The first months by name, and how many more there are."""
    named = ", ".join(f"{month:%B %Y}" for month in months[:MONTHS_NAMED])
    more = len(months) - MONTHS_NAMED
    return f"{named} and {more} more months" if more > 0 else named


def _shock_labels(calendar: Calendar, panel: Panel) -> str:
    """Names of the shocks that touch a month of the panel."""
    shocks = calendar.shocks.sort("from_on")
    met = (shock_months(shocks[row]) & panel.shocks for row in range(len(shocks)))
    return ", ".join(label for label, months in zip(shocks["label"], met, strict=True) if months)


def _other_types(measure: Measure, panel: Panel, calendar: Calendar) -> list[str]:
    """Types of go-live that a party had less than a horizon before or after the measure's own."""
    close = set()
    for party, kind, day in calendar.go_lives.select(
        "party_code", "go_live_type", "go_live_on"
    ).iter_rows():
        start = panel.go_live.get(party)
        if kind == measure.go_live_type or start is None:
            continue
        apart = (day.year - start.year) * 12 + day.month - start.month
        if abs(apart) < HORIZON_MONTHS:
            close.add(kind.replace("_", " "))
    return sorted(close)


def _events(measure: Measure, panel: Panel, calendar: Calendar) -> list[str]:
    """Events of the months compared that concern the metric, in the order of their days."""
    named = pl.col("metric_ids").str.split("; ").list.contains(measure.metric_id)
    inside = (
        calendar.events.filter(named.fill_null(True))
        .filter(
            pl.col("event_on")
            .dt.month_start()
            .is_between(panel.first_month_on, panel.last_month_on)
        )
        .sort("event_on", "scope_code", "label")
    )
    return [
        f"{day:%Y-%m} {scope}: {label}"
        for day, scope, label in inside.select("event_on", "scope_code", "label").iter_rows()
    ]


def _figures(effect: GoLiveEffect, *, is_logged: bool) -> Row:
    names = (
        "att", "se", "ci_low", "ci_high", "ri_low", "ri_high", "p_randomisation", "p_adjusted",
        "ri_count", "order_count", "n_effect_cells", "n_untreated_cells", "detectable", "verdict",
    )  # fmt: skip
    row = {name: getattr(effect, name) for name in names}
    row |= _changes(row, is_logged=is_logged)
    row["detectable_change"] = _size(effect.detectable, effect.improvement, is_logged=is_logged)
    # Endless: what reads the file may have no word for it.
    return row | {
        name: None for name in ("ri_low", "ri_high") if not math.isfinite(getattr(effect, name))
    }


def _changes(told: Row, *, is_logged: bool) -> Row:
    """An estimate and its interval (att, ci_low, ci_high) as a reader is shown them."""
    named = {"change": "att", "change_low": "ci_low", "change_high": "ci_high"}
    return {name: _change(told[column], is_logged=is_logged) for name, column in named.items()}


def _change(logged: float | None, *, is_logged: bool) -> float | None:
    return math.expm1(logged) if is_logged and logged is not None else logged


def _size(logged: float | None, improvement: str, *, is_logged: bool) -> float | None:
    """A size without sign, as a change in the good direction."""
    if logged is None or not is_logged:
        return logged
    return math.expm1(logged) if improvement == "increase" else -math.expm1(-logged)


def _monthly(key: Key, panel: Panel, effect: GoLiveEffect) -> list[Row]:
    """Each month after go-live in the metric's own unit, with the estimate's interval moved to it."""
    values = {(trust, month): value for trust, month, value in panel.rows.iter_rows()}
    reach = effect.ci_high - effect.att
    rows = []
    for trust, since, change, spread in effect.by_cell.iter_rows():
        start = panel.go_live[trust]
        assert start is not None, "a comparator has no month after go-live"
        month = next_month(start, since)
        told = values[trust, month]
        # A wider effect means a smaller counterfactual, the value being what it is.
        counterfactuals = [told - change, told - change + reach, told - change - reach]
        if panel.is_logged:
            told, counterfactuals = math.exp(told), [math.exp(one) for one in counterfactuals]
        rows.append(
            {
                "metric_id": key[0],
                "go_live_type": key[1],
                "party_code": trust,
                "month_on": month,
                "months_since": since,
                "value": told,
                "counterfactual": counterfactuals[0],
                "effect": told - counterfactuals[0],
                "ci_low": told - counterfactuals[1],
                "ci_high": told - counterfactuals[2],
                "month_spread": spread,
            }
        )
    return rows


def _checks(key: Key, panel: Panel, effect: GoLiveEffect) -> list[Row]:
    names = ("att", "ci_low", "ci_high", "n_effect_cells", "note")
    rows = [
        {"metric_id": key[0], "go_live_type": key[1], "check_name": row["check"]}
        | {name: row[name] for name in ("variant", *names)}
        | _changes(row, is_logged=panel.is_logged)
        for row in effect.diagnostics.iter_rows(named=True)
    ]
    return rows + _shock_check(key, panel) + _gap_check(key, panel)


def _gap_check(key: Key, panel: Panel) -> list[Row]:
    """The estimate with the months that a comparator lacks left out for all parties."""
    if not panel.gaps:
        return []
    row: Row = {
        "metric_id": key[0],
        "go_live_type": key[1],
        "check_name": "comparator gaps",
        "variant": "left out for all",
    }
    lacking = frozenset(month for months in panel.gaps.values() for month in months)
    try:
        other = _effect_without(panel, panel.months_left_out | lacking)
    except ValueError as problem:
        return [row | {"n_effect_cells": 0, "note": str(problem)}]
    return [row | _figures_of(other, panel) | {"note": " ".join(_gap_words(panel))}]


def _shock_check(key: Key, panel: Panel) -> list[Row]:
    """The estimate with the months of shocks treated the other way."""
    if panel.shock_months == "none":
        return []
    row: Row = {
        "metric_id": key[0],
        "go_live_type": key[1],
        "check_name": "shock months",
        "variant": "left out" if panel.shock_months == "kept" else "kept",
    }
    try:
        # Kept, or without them, however few then remain.
        is_kept = panel.shock_months == "kept"
        other = _effect_without(panel, panel.missing | (panel.shocks if is_kept else frozenset()))
    except ValueError as problem:
        return [row | {"n_effect_cells": 0, "note": str(problem)}]
    note = None if other.cell_count else "nobody is left to compare with"
    return [row | _figures_of(other, panel) | {"note": note}]


def _figures_of(effect: Effect, panel: Panel) -> Row:
    return {
        "att": effect.att,
        "ci_low": effect.ci_low,
        "ci_high": effect.ci_high,
        "n_effect_cells": effect.cell_count,
    } | _changes(vars(effect), is_logged=panel.is_logged)


def _effect_without(panel: Panel, left_out: frozenset[date]) -> Effect:
    """The effect with other months left out."""
    series = Series.of(panel.rows, panel.go_live, left_out)
    design = Design.of(series, trends=True)
    cells = design.after(HORIZON_MONTHS)
    return Fit.of(design, series).effect(cells) if cells.any() else NO_EFFECT


def _since(key: Key, panel: Panel, effect: GoLiveEffect) -> list[Row]:
    names = ("months_since", "att", "ci_low", "ci_high", "n_effect_cells")
    return [
        {"metric_id": key[0], "go_live_type": key[1], "party_count": row["trust_count"]}
        | {name: row[name] for name in names}
        | _changes(row, is_logged=panel.is_logged)
        for row in effect.by_month_since.iter_rows(named=True)
    ]


def _by_party(key: Key, panel: Panel, effect: GoLiveEffect) -> list[Row]:
    """Every party of the programme; one that nobody could be compared with has no effect."""
    own = {row["trust"]: row for row in effect.by_trust.iter_rows(named=True)}
    rows = []
    for party in panel.parties:
        told = own.get(party, {"att": None, "n_effect_cells": 0, "months_before": None})
        rows.append(
            {
                "metric_id": key[0],
                "go_live_type": key[1],
                "party_code": party,
                "live_from_on": panel.go_live[party],
                "att": told["att"],
                "change": _change(told["att"], is_logged=panel.is_logged),
                "n_effect_cells": told["n_effect_cells"],
                "months_before": told["months_before"],
            }
        )
    return rows


def _frame(rows: list[Row], table: dict[str, Any]) -> pl.DataFrame:
    schema = {name: TYPES[kind] for name, kind, _ in table["columns"]}
    return pl.DataFrame([[row.get(name) for name in schema] for row in rows], schema, orient="row")
