"""The benefit register as a table a board can read: one group per class, no sum across them."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboards.components import theme, wording
from dashboards.components.figure import Figure

HEADINGS = ("Promise", "Planned value a year", "What the metric did", "Realised value", "Unit cost")
FILLS = {"CRB": theme.BLUE, "NCRB": theme.DARK_GREY, "SB": theme.PLUM}


def show(frame: pl.DataFrame, *, caption: str) -> None:
    """One row per promise, grouped by benefit class; the classes are never added up."""
    heads = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = ""
    for kind, rows in groupby(frame.to_dicts(), key=lambda row: row["benefit_class"]):
        name = escape(wording.CLASSES.get(kind, kind))
        body += f'<tr class="group"><th scope="colgroup" colspan="{len(HEADINGS)}">{name}</th></tr>'
        body += "".join(_line(row) for row in rows)
    st.html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="plain"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def rows(frame: pl.DataFrame, *, title: str) -> Figure:
    """The register as rows to take away; the table itself is drawn by show()."""
    return Figure(title=title, takeaway="", table=frame)


def planned(frame: pl.DataFrame, *, title: str) -> Figure:
    """One bar per promise that has a planned value, coloured by class."""
    priced = frame.filter(pl.col("planned_value_gbp_per_year").is_not_null())
    chart = go.Figure()
    for kind in priced["benefit_class"].unique(maintain_order=True):
        rows = priced.filter(pl.col("benefit_class") == kind)
        chart.add_trace(
            go.Bar(
                x=rows["planned_value_gbp_per_year"].to_list(),
                y=[f"{row['benefit_id']} {row['title']}" for row in rows.to_dicts()],
                orientation="h",
                name=wording.CLASSES.get(kind, kind),
                marker={"color": FILLS.get(kind, theme.GREY)},
                text=[wording.number(v, "gbp") for v in rows["planned_value_gbp_per_year"]],
                textposition="outside",
                textfont={"size": 13, "color": theme.INK},
                cliponaxis=False,
                hovertemplate="%{y}: %{text} a year<extra></extra>",
            )
        )
    theme.lay_out(chart, title=title, height=110 + 34 * max(priced.height, 1))
    chart.update_layout(showlegend=True, margin={"r": 90}, bargap=0.35)
    chart.update_xaxes(tickformat=",", tickprefix="£", rangemode="tozero", nticks=6)
    chart.update_yaxes(autorange="reversed", showgrid=False)
    takeaway = "Planned values are promises, not results; the classes must not be added together."
    names = "; ".join(
        f"{row['title']} {wording.number(row['planned_value_gbp_per_year'], 'gbp')}"
        for row in priced.to_dicts()
    )
    table = priced.select(
        "benefit_id",
        "title",
        "benefit_class",
        "planned_value_gbp_per_year",
        "planned_value_to_date_gbp",
        "unit_cost_source_status",
    )
    return Figure(
        title=title,
        takeaway=takeaway,
        table=table,
        chart=chart,
        alt=f"{title}. Bar chart, one bar per promise. {names}.",
    )


def _line(row: dict[str, Any]) -> str:
    value = row["planned_value_gbp_per_year"]
    money = wording.number(value, "gbp") if value is not None else "no planned value"
    realised = row["realised_value_gbp"]
    shown = wording.number(realised, "gbp") if realised is not None else row["realised_status"]
    cost = wording.status(row["unit_cost_source_status"]) if value is not None else "not used"
    return (
        f'<tr><th scope="row"><strong>{escape(row["benefit_id"])} {escape(row["title"])}</strong>'
        f'<span class="quiet">{escape(row["promise"] or "")}</span></th>'
        f'<td data-label="{HEADINGS[1]}" class="number">{escape(money)}</td>'
        f'<td data-label="{HEADINGS[2]}">{_measured(row)}</td>'
        f'<td data-label="{HEADINGS[3]}"><span class="tag">{escape(shown)}</span></td>'
        f'<td data-label="{HEADINGS[4]}"><span class="quiet">{escape(cost)}</span></td></tr>'
    )


def _measured(row: dict[str, Any]) -> str:
    if not row["is_measured"]:
        return '<span class="quiet">not measured yet</span>'
    unit = row["unit"]
    name = escape(row["measure_name"] or row["measure_metric_id"])
    before = wording.number(row["metric_baseline_value"], unit)
    after = wording.number(row["metric_latest_value"], unit)
    moved = wording.change(row["metric_change"], unit)
    since = f"{wording.month(row['baseline_from'])} to {wording.month(row['baseline_to'])}"
    hoped = {"increase": "should rise", "decrease": "should fall"}.get(row["improvement"], "")
    return (
        f"{name}: {before} to {after} ({moved})"
        f'<span class="quiet">baseline {since}; latest '
        f"{wording.month(row['metric_latest_on'])}; {hoped}</span>"
    )
