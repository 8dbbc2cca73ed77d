"""The reader's doubts about the benefits, and the appraisal with them beside the stored one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboards.components import plain_table, theme, wording
from dashboards.components.figure import Figure

EVERY = "All benefits"
DELAYS = ("months", "years")
HEADINGS = ("Figure", "As stored", "With your numbers")
FIGURES = {
    ("npsv", "all monetised"): "Net present value (NPSV), all monetised benefits",
    ("bcr", "all monetised"): "Benefit-cost ratio (BCR), all monetised benefits",
    ("bcr", "cash only"): "Cash-only ratio: cash-releasing benefits over all costs",
    ("discounted_payback_year", "all monetised"): "Discounted payback, all monetised benefits",
}
BASES = {
    "realised": "What was measured: delay and haircut leave it as it is; a price changes it.",
    "realised, then forecast": "Of each line, party and month what was measured, else the forecast.",
    "forecast": "The register's forecast of every month, whatever was measured.",
}


HIDDEN_MONTHS = (
    "The pounds of some months are hidden in this file, since their counts are small. With your "
    "numbers these months count as not measured, so the right column is near the stored one, not "
    "equal to it, even where nothing is changed."
)


def inputs(lines: pl.DataFrame, every: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of delay, haircut and price, and each as a line of words; `every` means all lines.

    lines has one row per line of the register that can be changed.
    """
    scopes = {EVERY: every}
    scopes |= {
        wording.CLASSES[kind]: kind for kind in lines["benefit_class"].unique(maintain_order=True)
    }
    scopes |= {f"{row['benefit_id']} {row['title']}": row["benefit_id"] for row in lines.to_dicts()}
    late, less = st.columns(2)
    price, cost = st.columns(2)
    with late:
        delay = _number("Forecast benefits arrive later by", "delay", 0, 1)
        unit = st.selectbox("Counted in", DELAYS, key="benefit_delay_unit", bind="query-params")
        delay_of = _scope("Later are", "delay", scopes)
    with less:
        haircut = _number("Haircut of the forecast (percent)", "haircut", 0.0, 5.0)
        haircut_of = _scope("Smaller are", "haircut", scopes)
    with price:
        factor = _number("Price of a unit, times the stored one", "price", 1.0, 0.1)
        price_of = _scope("Otherwise priced are", "price", scopes)
    with cost:
        bias = _number("Cost bias: added to every cost (percent)", "cost_bias", 0.0, 1.0)
    asked = {
        "delay": delay,
        "delay_unit": unit,
        "delay_of": scopes[delay_of],
        "haircut_percent": haircut,
        "haircut_of": scopes[haircut_of],
        "price": factor,
        "price_of": scopes[price_of],
        "cost_bias_percent": bias,
    }
    return asked, [
        f"Asked: forecast {delay:g} {unit} later, of: {delay_of}",
        f"Asked: forecast {haircut:g} % less, of: {haircut_of}",
        f"Asked: unit values {factor:g} times the stored ones, of: {price_of}",
        f"Asked: {bias:g} % added to every cost",
    ]


def _number(label: str, name: str, value: float, step: float) -> float:
    # No bounds: what lies outside is answered with a sentence, not silently put right.
    return st.number_input(
        label, value=value, step=step, key=f"benefit_{name}", bind="query-params"
    )


def _scope(label: str, name: str, scopes: Mapping[str, str]) -> str:
    return st.selectbox(label, list(scopes), key=f"benefit_{name}_of", bind="query-params")


def answer(
    frame: pl.DataFrame,
    asked: list[str],
    problem: str,
    *,
    is_changed: bool,
    not_priced: Sequence[str],
    stored_bias: tuple[float, str, str],
    is_masked: bool,
) -> Figure:
    """One row per basis and figure: as stored, and with the reader's numbers.

    not_priced are the lines that no price reaches; stored_bias is the bias of costs that has a
    source: percent, source and its status; is_masked says that months are hidden in this file.
    """
    percent, source, status = stored_bias
    title = "Costs and benefits with your numbers, whole network, all modalities"
    if problem:
        st.error(f"Nothing is counted with these numbers: {problem}.")
    groups = [
        plain_table.Group(
            [
                (
                    FIGURES[row["measure"], row["class_selection"]],
                    _written(row["stored_value"], row["unit"], row["stored_note"]),
                    _written(row["changed_value"], row["unit"], row["changed_note"]),
                )
                for row in rows
            ],
            title=str(basis).capitalize(),
            quiet=BASES.get(str(basis), ""),
        )
        for basis, rows in groupby(frame.to_dicts(), key=lambda row: row["basis"])
    ]
    first = frame.row(0, named=True) if frame.height else {}
    rests_on = (
        (
            f"Both columns: financial years from {first['first_year']}, up to "
            f"{wording.month(first['last_month_on'])} for what is realised, prices of "
            f"{first['price_year']}, discounted by the {first['schedule']} schedule "
            f"({first['rates_vintage']}). Stored: costs as budgeted, without optimism bias."
        )
        if first
        else ""
    )
    return Figure(
        title=title,
        takeaway=_takeaway(frame, problem, is_changed=is_changed, is_masked=is_masked),
        table=frame,
        reading=plain_table.html(title, HEADINGS, groups),
        asked=asked,
        notes=[
            "Realised benefits stay as they were measured, whatever is thought of the plan: a delay "
            "and a haircut change the forecast only. A forecast that would come after the last "
            "complete month is not in the appraisal, which is to date; the costs stay in full, as "
            "budgeted.",
            "A price is what one unit (a report, an hour, a bed day) is taken to be worth. It changes "
            "what was measured and what is forecast, not how many units there were; a forecast "
            "without a unit value stays.",
            *(
                [
                    f"No price reaches {', '.join(not_priced)}: they are measured in pounds, not in units "
                    "at a price."
                ]
                if not_priced
                else []
            ),
            f"A cost bias raises every cost by the same share. The one with a source is {percent:g} % "
            f"({source}; {wording.status(status)}); any other is your own.",
            "Counted from statistics.realised_benefits and statistics.programme_costs_monthly of this "
            "build, by the rules of the stored appraisal: unchanged numbers give the stored ones.",
            *([HIDDEN_MONTHS] if is_masked else []),
            *filter(None, [rests_on]),
        ],
        nothing="The register and the costs give nothing to appraise yet.",
    )


SIMULATED = {
    "npsv": "Every line at its figure",
    "npsv_p10": "P10: one draw in ten is lower",
    "npsv_p50": "P50: half of the draws are lower",
    "npsv_p90": "P90: nine draws in ten are lower",
    "npsv_above_zero_rate": "Share of draws in which the programme is worth more than it costs",
}
WHERE = "with your numbers, whole network, all monetised benefits"


def wants_draws() -> bool:
    """The reader asks for the simulation."""
    return st.toggle("Simulate how sure this is", key="benefit_draws", bind="query-params")


def simulated(figures: pl.DataFrame, draws: int, asked: list[str]) -> Figure:
    """One row per figure of the simulation: measure, unit, value."""
    title = f"Net present value (NPSV) by simulation, {WHERE}"
    told = {row["measure"]: wording.number(row["value"], row["unit"].lower())
            for row in figures.to_dicts()}  # fmt: skip
    takeaway = (
        f"In eight draws of ten the programme is worth {told['npsv_p10']} to {told['npsv_p90']} net "
        f"of its costs; in {told['npsv_above_zero_rate']} of all draws more than 0."
    )
    return Figure(
        title=title,
        takeaway=takeaway,
        table=figures,
        reading=plain_table.html(
            title,
            ("Figure", "With your numbers"),
            [plain_table.Group([(SIMULATED[name], value) for name, value in told.items()])],
        ),
        asked=asked,
        notes=[
            f"{draws:,} draws from one fixed seed: the same numbers give the same answer. What was "
            "measured is drawn from its 95 % interval, a forecast from the range of its unit value; "
            "costs are not drawn. How uncertain each line is comes from the stored appraisal and "
            "stays, whatever you change.",
            "Lines are drawn independently of each other here. The stored appraisal draws what lines "
            "share (an effect, a unit value) once, so unchanged numbers give a spread that is near "
            "the stored one, not equal to it.",
        ],
    )


def tornado(lines: pl.DataFrame, asked: list[str]) -> Figure:
    """One row per line, the widest swing first: variant, npsv_low_gbp, npsv_high_gbp, switching_value."""
    title = f"What each line does to the net present value, {WHERE}"
    drawn, palette = lines.filter(pl.col("npsv_high_gbp") > pl.col("npsv_low_gbp")), theme.active()
    chart = go.Figure(
        go.Bar(
            y=drawn["variant"].to_list(),
            x=(drawn["npsv_high_gbp"] - drawn["npsv_low_gbp"]).to_list(),
            base=drawn["npsv_low_gbp"].to_list(),
            orientation="h",
            marker={"color": palette.series[0]},
            customdata=drawn["npsv_high_gbp"].to_list(),
            hovertemplate="%{y}: £%{base:,.0f} to £%{customdata:,.0f}<extra></extra>",
        )
    )
    theme.lay_out(chart, title=title, height=120 + 32 * max(drawn.height, 1))
    chart.update_yaxes(autorange="reversed", showgrid=False)
    chart.update_xaxes(tickprefix="£", tickformat=",")
    chart.add_vline(x=0, line={"width": 1, "color": palette.axis})
    takeaway = "No line has a range, so nothing swings."
    if drawn.height:
        top = drawn.row(0, named=True)
        takeaway = (
            f"{top['variant']} matters most: alone at its low and its high end it gives "
            f"{wording.number(top['npsv_low_gbp'], 'gbp')} to "
            f"{wording.number(top['npsv_high_gbp'], 'gbp')}."
        )
    return Figure(
        title=title,
        takeaway=takeaway,
        table=lines,
        chart=chart,
        alt=f"{title}. One bar per line from its low to its high end. {takeaway}",
        asked=asked,
        notes=[
            "One line at a time at the ends of its range, all others at their figure. A line without "
            "a range has no bar.",
            "Switching value: what the line would have to be multiplied by for the net present value "
            "to be 0. Below 0 means that even without the line it would not fall to 0.",
        ],
    )


def _takeaway(frame: pl.DataFrame, problem: str, *, is_changed: bool, is_masked: bool) -> str:
    if problem:
        return "The stored appraisal stands alone until the numbers can be counted."
    if not is_changed and is_masked:
        return "Nothing is changed yet; the columns differ by what is hidden in this file."
    if not is_changed:
        return "Nothing is changed yet: both columns are the stored appraisal."
    told = {(row["basis"], row["measure"], row["class_selection"]): row for row in frame.to_dicts()}
    row = told.get(("realised, then forecast", "npsv", "all monetised"))
    if row is None or row["changed_value"] is None:
        return "With your numbers there is nothing to appraise."
    changed, stored = (
        _written(row[f"{side}_value"], row["unit"], row[f"{side}_note"])
        for side in ("changed", "stored")
    )
    return (
        f"What is realised, then forecast, is worth {changed} net of its costs; stored is {stored}."
    )


def _written(value: float | None, unit: str, note: str | None) -> str:
    if value is None:
        return note or wording.NO_VALUE
    if unit == "ratio":
        return f"{value:.2f}"
    if unit == "financial year":
        return f"{int(value)}/{str(int(value) + 1)[-2:]}"
    return wording.number(value, unit.lower())
