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

MONTH = "period_start_on"
LIMITS = {"mean": ("Mean", "solid"), "upl": ("Process limits", "dash"), "lpl": ("", "dash")}
# Stored kind of a point, and of an icon: how it looks. A ring is told apart without its colour too.
RINGS = {
    "special_cause_improvement": ("Special cause, improving", theme.BLUE, "circle-open"),
    "special_cause_concern": ("Special cause, concerning", theme.ORANGE, "square-open"),
    "special_cause_neutral_high": ("Special cause, higher", theme.PLUM, "triangle-up-open"),
    "special_cause_neutral_low": ("Special cause, lower", theme.PLUM, "triangle-down-open"),
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


def with_limits(drawn: Figure, charts: pl.DataFrame) -> Figure:
    """The figure with the limits of its rows and the verdict of the last month.

    The rows hold mean, lpl, upl, point_type; `charts` at most one row of statistics.spc_charts.
    """
    if drawn.chart is None or drawn.table.is_empty() or charts.is_empty():
        return drawn
    row = charts.row(0, named=True)
    chart = go.Figure(drawn.chart)
    traces = [*_limits(drawn.table), *_rings(drawn.table)]
    chart.add_traces(traces)
    named = [trace for trace in traces if trace.showlegend is not False]
    chart.update_layout(
        showlegend=True, height=chart.layout.height + trend.LEGEND_LINE * (len(named) + 1)
    )
    verdicts = _verdicts(row)
    notes = [*drawn.notes, *_limits_from(row)] + ([f"{row['note']}."] if row["note"] else [])
    said = " ".join(f"{text}." for _, text, _ in verdicts)
    return replace(
        drawn, chart=chart, notes=notes, verdicts=verdicts, alt=f"{drawn.alt} {said}".strip()
    )


def _limits(table: pl.DataFrame) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=table[MONTH].to_list(),
            y=table[column].to_list(),
            name=label,
            mode="lines",
            connectgaps=False,
            showlegend=bool(label),
            line={"color": theme.GREY, "width": 1.25, "dash": dash, "shape": "hvh"},
            hoverinfo="skip",
        )
        for column, (label, dash) in LIMITS.items()
        if table[column].null_count() < table.height
    ]


def _rings(table: pl.DataFrame) -> list[go.Scatter]:
    found = {kind: table.filter(pl.col("point_type") == kind) for kind in RINGS}
    return [
        go.Scatter(
            x=found[kind][MONTH].to_list(),
            y=found[kind]["value"].to_list(),
            name=label,
            mode="markers",
            marker={"symbol": symbol, "size": 13, "color": colour, "line": {"width": 2}},
            text=found[kind]["special_cause_type"].to_list(),
            hovertemplate=f"%{{x|%b %Y}}<br>{label}: %{{text}}<extra></extra>",
        )
        for kind, (label, colour, symbol) in RINGS.items()
        if found[kind].height
    ]


def _verdicts(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Sign, text and class of variation and assurance."""
    found = []
    for name in ("variation", "assurance"):
        sign, look = SIGNS.get(str(row[f"{name}_icon"]), ("", ""))
        found.append((sign, str(row[f"{name}_text"]), look))
    return found


def _limits_from(row: dict[str, Any]) -> list[str]:
    if row["limits_from_on"] is None:
        return []
    since = f"Limits of the months from {wording.month(row['limits_from_on'])}"
    why = f", when they begin anew: {row['rebase_reason']}" if row["rebase_reason"] else ""
    return [f"{since}{why}; the verdict is on {wording.month(row['last_month_on'])}."]
