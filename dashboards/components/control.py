"""Control limits on a time chart, and what they say: variation and assurance, in words and a sign.

Everything is stored (statistics.spc_points and spc_charts, docs/control_charts.md); nothing is
judged here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from dashboards.components import theme, trend, wording
from dashboards.components.figure import Figure

NO_CHART = (
    "No control limits: no control chart is stored for this choice. No month of it holds a value, or "
    "the metric is not counted for this organisation or modality."
)
OF_MONTHS = (
    "No control limits: they are made of whole months, and this chart is of weeks or days. The "
    "chart of the month has them, where the registry has the metric."
)
CHARTED = "charted_value"
LIMITS = {"mean": ("Mean", "solid"), "upl": ("Process limits", "dash"), "lpl": ("", "dash")}
# Stored kind of a point, and of an icon: how it looks, the colour by its name in theme.Palette. A
# ring is told apart without its colour too.
RINGS = {
    "special_cause_improvement": ("Special cause, improving", "improvement", "circle-open"),
    "special_cause_concern": ("Special cause, concerning", "concern", "square-open"),
    "special_cause_neutral_high": ("Special cause, higher", "neutral", "triangle-up-open"),
    "special_cause_neutral_low": ("Special cause, lower", "neutral", "triangle-down-open"),
}
SIGNS = {
    "common_cause": ("∿", ""),
    "improvement_high": ("▲", "improving"),
    "improvement_low": ("▼", "improving"),
    "concern_high": ("▲", "concerning"),
    "concern_low": ("▼", "concerning"),
    "neutral_high": ("▲", ""),
    "neutral_low": ("▼", ""),
    "pass": ("✓", "improving"),
    "fail": ("✗", "concerning"),
    "inconsistent": ("?", ""),
}


def with_limits(
    drawn: Figure,
    charts: pl.DataFrame,
    points: pl.DataFrame,
    *,
    column: str = "",
    label: str = "",
) -> Figure:
    """The figure with the limits of one of its series and the verdict of the last month.

    `charts` holds at most one row of statistics.spc_charts, `points` one row per month of the same
    series: period_start_on, value, mean, lpl, upl, special_cause_type, point_type. They join the
    rows of the figure by month. column is where the series stands in them; without one its values
    join too, as charted_value. label names the series where the figure has several.
    """
    if drawn.chart is None or drawn.table.is_empty():
        return drawn
    if charts.is_empty():
        return replace(drawn, notes=[*drawn.notes, NO_CHART])
    table = _joined(drawn, points, keep_value=not column)
    row = charts.row(0, named=True)
    chart = go.Figure(drawn.chart)
    traces = [*_limits(table, drawn.on), *_rings(table, drawn.on, column or CHARTED)]
    chart.add_traces(traces)
    named = [trace for trace in traces if trace.showlegend is not False]
    chart.update_layout(
        showlegend=True, height=chart.layout.height + trend.LEGEND_LINE * (len(named) + 1)
    )
    verdicts = [*drawn.verdicts, *_verdicts(row, label)]
    notes = [*drawn.notes, *_limits_from(row)] + ([f"{row['note']}."] if row["note"] else [])
    said = " ".join(f"{text}." for _, text, _ in verdicts)
    return replace(
        drawn,
        table=table,
        chart=chart,
        notes=notes,
        verdicts=verdicts,
        alt=f"{drawn.alt} {said}".strip(),
    )


def _joined(drawn: Figure, points: pl.DataFrame, *, keep_value: bool) -> pl.DataFrame:
    # A census is the last day of its month, a point stands at the first.
    names = ["value", *LIMITS, "special_cause_type", "point_type"]
    found = points.select("period_start_on", *names).rename(
        {"value": CHARTED, "period_start_on": "charted_on"}
    )
    table = drawn.table.join(
        found,
        left_on=pl.col(drawn.on).dt.month_start(),
        right_on="charted_on",
        how="left",
        maintain_order="left",
    )
    return table if keep_value else table.drop(CHARTED)


def _limits(table: pl.DataFrame, on: str) -> list[go.Scatter]:
    colour = theme.active().limit
    return [
        go.Scatter(
            x=table[on].to_list(),
            y=table[column].to_list(),
            name=label,
            mode="lines",
            connectgaps=False,
            showlegend=bool(label),
            line={"color": colour, "width": 1.25, "dash": dash, "shape": "hvh"},
            hoverinfo="skip",
        )
        for column, (label, dash) in LIMITS.items()
        if table[column].null_count() < table.height
    ]


def _rings(table: pl.DataFrame, on: str, column: str) -> list[go.Scatter]:
    found = {kind: table.filter(pl.col("point_type") == kind) for kind in RINGS}
    palette = theme.active()
    return [
        go.Scatter(
            x=found[kind][on].to_list(),
            y=found[kind][column].to_list(),
            name=label,
            mode="markers",
            marker={
                "symbol": symbol,
                "size": 13,
                "color": getattr(palette, colour),
                "line": {"width": 2},
            },
            text=found[kind]["special_cause_type"].to_list(),
            hovertemplate=f"%{{x|%b %Y}}<br>{label}: %{{text}}<extra></extra>",
        )
        for kind, (label, colour, symbol) in RINGS.items()
        if found[kind].height
    ]


def _verdicts(row: dict[str, Any], label: str) -> list[tuple[str, str, str]]:
    """Sign, text and class of variation and assurance."""
    found = []
    whose = f"{label}: " if label else ""
    for name in ("variation", "assurance"):
        sign, look = SIGNS.get(str(row[f"{name}_icon"]), ("", ""))
        found.append((sign, f"{whose}{row[f'{name}_text']}", look))
    # Too few points say the same of both.
    return list(dict.fromkeys(found))


def _limits_from(row: dict[str, Any]) -> list[str]:
    if row["limits_from_on"] is None:
        return []
    since = f"Limits of the months from {wording.month(row['limits_from_on'])}"
    why = f", when they begin anew: {row['rebase_reason']}" if row["rebase_reason"] else ""
    return [f"{since}{why}; the verdict is on {wording.month(row['last_month_on'])}."]
