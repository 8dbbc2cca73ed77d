"""The benefit register as a table a board can read: one group per class, no sum across them."""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboards.components import plain_table, theme, wording
from dashboards.components.figure import Figure

HEADINGS = (
    "Promise",
    "Planned value a year",
    "Target",
    "What the metric did",
    "Realised to date",
    "Certainty of the unit cost",
)
APPRAISAL_HEADINGS = (
    "Basis",
    "Months told, of all after go-live",
    "Costs, present value",
    "Benefits, present value",
    "Net present value (NPSV)",
    "P10 to P90",
    "Chance above 0",
    "Benefit-cost ratio (BCR)",
)
NO_EVIDENCE = "no evidence"
REGISTER = "benefit register"
MONEY_PER = "GBP per "
# Units that are written out behind the number.
_WRITTEN_OUT = {"nights", "TB"}
SIDES = {"increase": "at least", "decrease": "at most"}
# Where the colour of a class of benefit stands in theme.Palette.series.
FILLS = {"CRB": 0, "NCRB": 2, "SB": 3}


def headline(row: dict[str, Any]) -> None:
    """Show the sentence a board reads first."""
    st.html(f'<p class="headline">{escape(headline_text(row))}</p>')


def headline_text(row: dict[str, Any]) -> str:
    """The sentence a board reads first, from the stored counts of lines."""
    moves = [
        f"{row['as_promised_count']} moved as promised",
        f"{row['against_promise_count']} moved against it",
    ]
    if row["no_change_count"]:
        moves.append(f"{row['no_change_count']} did not change")
    gaps = (
        ("no_baseline_count", "measured now, but not in the baseline"),
        ("no_evidence_count", "without evidence, for want of a feed"),
        ("no_metric_count", "without a metric yet"),
    )
    rest = ", ".join(f"{row[count]} {words}" for count, words in gaps if row[count])
    rest = f" Of the others: {rest}." if rest else ""
    return (
        f"{row['measured_count']} of {row['line_count']} promised benefits can be measured: "
        f"{', '.join(moves)}.{rest} "
        f"Targets met: {row['target_met_count']} of {row['target_judged_count']} that can be judged."
    )


def as_displayed(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows, money in whole pounds and values as fine as the page writes them."""
    unit = pl.col("unit")
    measured = ("metric_baseline_value", "metric_latest_value", "metric_change")
    return frame.with_columns(
        *[
            pl.when(unit == "rate").then(pl.col(c).round(4)).otherwise(pl.col(c).round(2)).alias(c)
            for c in measured
        ],
        pl.selectors.contains("_gbp").cast(pl.Float64).round(0),
    )


def show(frame: pl.DataFrame, *, title: str, caption: str) -> None:
    """One row per promise, grouped by benefit class; the classes are never added up."""
    st.header(title, anchor=False)
    st.html(html(frame, caption))


def html(frame: pl.DataFrame, caption: str) -> str:
    """The register as an HTML table: a group per class, a row per promise."""
    heads = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    body = ""
    for kind, rows in groupby(frame.to_dicts(), key=lambda row: row["benefit_class"]):
        name = escape(wording.CLASSES.get(kind, kind))
        body += f'<tr class="group"><th scope="colgroup" colspan="{len(HEADINGS)}">{name}</th></tr>'
        body += "".join(_line(row) for row in rows)
    return (
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
    chart, palette = go.Figure(), theme.active()
    for kind in priced["benefit_class"].unique(maintain_order=True):
        rows = priced.filter(pl.col("benefit_class") == kind)
        chart.add_trace(
            go.Bar(
                x=rows["planned_value_gbp_per_year"].to_list(),
                y=[f"{row['benefit_id']} {row['title']}" for row in rows.to_dicts()],
                orientation="h",
                name=wording.CLASSES.get(kind, kind),
                marker={"color": palette.series[FILLS[kind]] if kind in FILLS else palette.other},
                text=[wording.number(v, "gbp") for v in rows["planned_value_gbp_per_year"]],
                textposition="outside",
                textfont={"size": 13, "color": palette.ink},
                cliponaxis=False,
                hovertemplate="%{y}: %{text} a year<extra></extra>",
            )
        )
    adjusted = priced.drop_nulls("planned_adjusted_gbp_per_year")
    chart.add_trace(
        go.Scatter(
            x=adjusted["planned_adjusted_gbp_per_year"].to_list(),
            y=[f"{row['benefit_id']} {row['title']}" for row in adjusted.to_dicts()],
            orientation="h",
            mode="markers",
            name="After optimism",
            marker={"symbol": "line-ns", "size": 20, "line": {"width": 3, "color": palette.ink}},
            text=[wording.number(v, "gbp") for v in adjusted["planned_adjusted_gbp_per_year"]],
            hovertemplate="%{y}: %{text} a year after optimism<extra></extra>",
        )
    )
    theme.lay_out(chart, title=title, height=110 + 34 * max(priced.height, 1))
    chart.update_layout(showlegend=True, margin={"r": 90}, bargap=0.35)
    chart.update_xaxes(tickformat=",", tickprefix="£", rangemode="tozero", nticks=6)
    chart.update_yaxes(autorange="reversed", showgrid=False)
    takeaway = "Planned values are promises, not results; the classes must not be added together."
    names = "; ".join(
        f"{row['title']} {wording.number(row['planned_value_gbp_per_year'], 'gbp')}, after optimism "
        f"{wording.number(row['planned_adjusted_gbp_per_year'], 'gbp')}"
        for row in priced.to_dicts()
    )
    table = priced.select(
        "benefit_id",
        "title",
        "benefit_class",
        "planned_value_gbp_per_year",
        "optimism_rate",
        "optimism_source",
        "optimism_source_status",
        "planned_adjusted_gbp_per_year",
        "planned_to_date_gbp",
        "source_status",
        "unit_cost_source_status",
    )
    notes = [
        f"Certainty of the planned value, {wording.status(status)}: "
        + ", ".join(priced.filter(pl.col("source_status").eq_missing(status))["benefit_id"])
        + "."
        for status in priced["source_status"].unique(maintain_order=True)
    ]
    notes.append(
        "The upright mark is the plan after optimism: less a share that the line of the register gives "
        "itself, else that of its class. What is realised is never reduced by it."
    )
    return Figure(
        title=title,
        takeaway=takeaway,
        table=table,
        chart=chart,
        alt=f"{title}. Bar chart, one bar per promise. {names}. {' '.join(notes)}",
        notes=notes,
    )


def _line(row: dict[str, Any]) -> str:
    value = row["planned_value_gbp_per_year"]
    money = "no planned value"
    if value is not None:
        money = f"{wording.number(value, 'gbp')}{_quiet(wording.status(row['source_status']))}"
        money += _quiet(_adjusted(row))
    cost = wording.status(row["unit_cost_source_status"]) if value is not None else "not used"
    cells = (money, _target(row), _measured(row), _realised(row), _quiet(cost))
    return (
        f'<tr><th scope="row"><strong>{escape(row["benefit_id"])} {escape(row["title"])}</strong>'
        f"{_quiet(row['promise'] or '')}{_detail(row)}</th>"
        + "".join(
            f'<td data-label="{heading}">{cell}</td>'
            for heading, cell in zip(HEADINGS[1:], cells, strict=True)
        )
        + "</tr>"
    )


def _adjusted(row: dict[str, Any]) -> str:
    """What is left of the plan after optimism, by which share and whose."""
    if row["optimism_rate"] is None:
        return "Optimism: no share is set."
    left = wording.number(row["planned_adjusted_gbp_per_year"], "gbp")
    share = wording.number(row["optimism_rate"], "rate")
    whose = "the line's own"
    if row["optimism_source"] != REGISTER:
        whose = f"of its class, {wording.status(row['optimism_source_status'])}"
    return f"After {share} for optimism ({whose}): {left}."


def _detail(row: dict[str, Any]) -> str:
    text = f"Owner: {row['owner_role'] or 'not named'}."
    if row["double_count_group"]:
        text += f" Double-count group {row['double_count_group']}: only one line of it may count."
    if row["needed_feeds"]:
        text += f" Rests on: {_in_words(row['needed_feeds'])}."
    return _quiet(text)


def _realised(row: dict[str, Any]) -> str:
    """Pounds to date with interval and evidence, or why there are none."""
    shadowed = row["shadowed_by"]
    group = _quiet(f"Not counted: {shadowed} of its group counts.") if shadowed else ""
    grade = row["evidence_grade"]
    if row["realised_to_date_gbp"] is None:
        is_graded = grade and grade != NO_EVIDENCE
        tag = f"evidence {grade}: {row['verdict']}" if is_graded else NO_EVIDENCE
        because = row["empty_because"] or "the register has no such line"
        return f"{_tag(tag)}{_quiet(f'No value: {because}.')}{group}"
    low, high = (wording.number(row[f"realised_{end}_gbp"], "gbp") for end in ("low", "high"))
    plan = wording.number(row["planned_compared_gbp"], "gbp")
    hoped = wording.number(row["planned_adjusted_compared_gbp"], "gbp")
    since, until = (wording.month(row[f"realised_{end}_on"]) for end in ("from", "until"))
    detail = (
        f"95 % interval {low} to {high}; {plan} was planned for the same months, {hoped} after optimism. {since} to {until}, "
        f"prices of {row['price_year']}."
    )
    value = wording.number(row["realised_to_date_gbp"], "gbp")
    return f"{value} {_tag(f'evidence {grade}: ' + row['verdict'])}{_quiet(detail)}{group}"


def appraisal(frame: pl.DataFrame) -> Figure:
    """Costs against benefits: one group per selection of classes, one row per basis."""
    title = "Costs and benefits to date, whole network"
    groups = []
    for classes, mine in groupby(frame.to_dicts(), key=lambda row: row["class_selection"]):
        lines = [
            _appraised(basis, {row["measure"]: row for row in rows})
            for basis, rows in groupby(mine, key=lambda row: row["basis"])
        ]
        groups.append(plain_table.Group(lines, title=classes.capitalize()))
    first = frame.row(0, named=True) if frame.height else {}
    notes = []
    if first:
        notes = [
            f"Financial years from {first['first_year']}, prices of {first['price_year']}, discounted "
            f"by the {first['schedule']} schedule ({first['rates_vintage']}), costs as budgeted, "
            "without optimism bias. Realised is told only of months that can be compared with a party "
            "that was not live yet: every other month counts as no benefit, and with its costs in full."
        ]
    return Figure(
        title=title,
        takeaway="What realised says and what was forecast stand apart; a ratio below 1 does not "
        "pay for itself.",
        table=frame,
        reading=plain_table.html(title, APPRAISAL_HEADINGS, groups),
        notes=notes,
        nothing="The register and the costs give nothing to appraise yet.",
    )


def _appraised(basis: str, measures: dict[str, dict[str, Any]]) -> list[str]:
    def told(measure: str, unit: str) -> str:
        row = measures[measure]
        if row["value"] is None:
            return row["note"] or wording.NO_VALUE
        return f"{row['value']:.2f}" if unit == "ratio" else wording.number(row["value"], unit)

    spread = f"{told('npsv_p10', 'gbp')} to {told('npsv_p90', 'gbp')}"
    if measures["npsv_p10"]["value"] is None:
        spread = wording.NO_VALUE
    return [
        f"{basis.capitalize()}, up to {wording.month(measures['npsv']['last_month_on'])}",
        f"{measures['npsv']['told_month_count']:,} of {measures['npsv']['benefit_month_count']:,}",
        told("pv_costs", "gbp"),
        told("pv_benefits", "gbp"),
        told("npsv", "gbp"),
        spread,
        told("npsv_above_zero_rate", "rate"),
        told("bcr", "ratio"),
    ]


def _target(row: dict[str, Any]) -> str:
    if row["target_value"] is None:
        return _quiet("no target")
    reached = {True: "met", False: "not met", None: "not measured"}[row["is_target_met"]]
    side = SIDES.get(row["improvement"], "")
    due = f" by {wording.day(row['target_on'])}" if row["target_on"] else ""
    text = f"{side} {written(row['target_value'], row['unit'])}{due}".strip()
    return f"{escape(text)} {_tag(reached)}"


def _measured(row: dict[str, Any]) -> str:
    unit = row["unit"]
    name = escape(row["measure_name"] or row["measure_metric_id"] or "No metric")
    if "metric_latest_value" in (row.get(wording.WITHHELD) or "").split(", "):
        return f"{name}: {wording.HIDDEN} {_tag('small counts are hidden')}"
    if row["metric_latest_value"] is None:
        return f"{name}: {_tag(_in_words(row['evidence'] or 'no metric yet'))}"
    if not row["is_measured"]:
        latest = f"{written(row['metric_latest_value'], unit)} in {wording.month(row['metric_latest_on'])}"
        return f"{name}: {escape(latest)} {_tag(row['movement'])}"
    before = written(row["metric_baseline_value"], unit)
    after = written(row["metric_latest_value"], unit)
    moved = wording.change(row["metric_change"], unit)
    since = f"{wording.month(row['baseline_from'])} to {wording.month(row['baseline_to'])}"
    hoped = {"increase": "should rise", "decrease": "should fall"}.get(row["improvement"], "")
    detail = f"baseline {since}; latest {wording.month(row['metric_latest_on'])}; {hoped}"
    text = escape(f"{before} to {after} ({moved})")
    return f"{name}: {text} {_tag(row['movement'])}{_quiet(detail)}"


def written(value: Any, unit: str | None) -> str:
    """A value of the register with its unit, once."""
    # The register spells units the metrics do not have: its pounds, and "transfers per 1,000 exams".
    if unit == "GBP":
        return wording.number(value, "gbp")
    if unit and unit.startswith(MONEY_PER):
        return f"£{value:,.2f} {unit.removeprefix('GBP ')}"
    written = wording.number(value, unit)
    is_told = unit and (" per 1,000 " in unit or unit in _WRITTEN_OUT)
    return f"{written} {unit}" if is_told else written


def _in_words(feeds: str) -> str:
    """A text with kinds of feed in it, as readers call them."""
    words = re.sub(r"[a-z_0-9]+", lambda m: wording.FEED_KINDS.get(m[0], m[0]), feeds)
    return words.replace("; ", " and ")


def _tag(text: str) -> str:
    return f'<span class="tag">{escape(text)}</span>'


def _quiet(text: str) -> str:
    return f'<span class="quiet">{escape(text)}</span>'
