"""The reader's doubts about the benefits, and the appraisal with them beside the stored one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import polars as pl
import streamlit as st

from dashboards.components import plain_table, wording
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


def inputs(lines: pl.DataFrame, every: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of delay, haircut and price, and each as a line of words; `every` means all lines.

    lines has one row per line of the register that can be changed.
    """
    scopes = {EVERY: every}
    scopes |= {
        wording.CLASSES[kind]: kind for kind in lines["benefit_class"].unique(maintain_order=True)
    }
    scopes |= {f"{row['benefit_id']} {row['title']}": row["benefit_id"] for row in lines.to_dicts()}
    late, less, price = st.columns(3)
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
    asked = {
        "delay": delay,
        "delay_unit": unit,
        "delay_of": scopes[delay_of],
        "haircut_percent": haircut,
        "haircut_of": scopes[haircut_of],
        "price": factor,
        "price_of": scopes[price_of],
    }
    return asked, [
        f"Asked: forecast {delay:g} {unit} later, of: {delay_of}",
        f"Asked: forecast {haircut:g} % less, of: {haircut_of}",
        f"Asked: unit values {factor:g} times the stored ones, of: {price_of}",
    ]


def _number(label: str, name: str, value: float, step: float) -> float:
    # No bounds: what lies outside is answered with a sentence, not silently put right.
    return st.number_input(
        label, value=value, step=step, key=f"benefit_{name}", bind="query-params"
    )


def _scope(label: str, name: str, scopes: Mapping[str, str]) -> str:
    return st.selectbox(label, list(scopes), key=f"benefit_{name}_of", bind="query-params")


def answer(frame: pl.DataFrame, asked: list[str], problem: str, *, is_changed: bool) -> Figure:
    """One row per basis and figure: as stored, and with the reader's numbers."""
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
            f"({first['rates_vintage']}), costs as budgeted, without optimism bias."
        )
        if first
        else ""
    )
    return Figure(
        title=title,
        takeaway=_takeaway(frame, problem, is_changed=is_changed),
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
            "Counted from statistics.realised_benefits and statistics.programme_costs_monthly of this "
            "build, by the rules of the stored appraisal: unchanged numbers give the stored ones.",
            *filter(None, [rests_on]),
        ],
        nothing="The register and the costs give nothing to appraise yet.",
    )


def _takeaway(frame: pl.DataFrame, problem: str, *, is_changed: bool) -> str:
    if problem:
        return "The stored appraisal stands alone until the numbers can be counted."
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
