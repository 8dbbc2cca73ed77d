"""The reader's own numbers of a waiting list, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from dashboards.components import plain_table
from dashboards.components.figure import Figure

GROWTH = {
    True: "these and the growth of the list over three months",
    False: "many, since the growth of three months is not told",
}
# Name of a number: label, unit, least value.
INPUTS = {
    "demand": ("New requests a week", "a week", 0.0),
    "capacity": ("Tests a week", "a week", 0.0),
    "queue_size": ("Patients waiting", "patients", 0.0),
    "target_wait": ("Nobody should wait longer than (weeks)", "weeks", 1.0),
    "time_to_target": ("Weeks to get there", "weeks", 1.0),
}


def inputs(start: Mapping[str, Any], of: str) -> dict[str, float]:
    """One field per number, filled with what is stored; `of` keeps the fields of a list apart."""
    asked = {}
    for place, (name, (label, _, least)) in zip(
        st.columns(len(INPUTS)), INPUTS.items(), strict=True
    ):
        with place:
            asked[name] = st.number_input(
                label,
                min_value=least,
                value=max(round(float(start[name]), 2), least),
                step=1.0,
                format="%0.2f",
                key=f"what_if_{name}_{of}",
                bind="query-params",
            )
    return asked


def answer(plan: Any, asked: Mapping[str, float], where: str, start: Any) -> Figure:
    """One row per question; the table begins with the numbers that were asked of."""
    given = [(label, asked[name], unit) for name, (label, unit, _) in INPUTS.items()]
    rows = [
        ("New requests for each test (load)", plan.load, "ratio", "1 or more: the list grows"),
        ("List at the target", plan.target_size, "patients", "so few wait longer than it"),
        ("Tests a week that keep it there", plan.target_capacity, "a week", "once it is there"),
        (
            f"Tests a week that bring it there in {asked['time_to_target']:g} weeks",
            plan.relief_capacity,
            "a week",
            "for a time; then as the line above",
        ),
        ("Weeks to the target at this pace", plan.weeks_to_target, "weeks", "requests still come"),
        ("Weeks to clear the list", plan.weeks_to_clear, "weeks", "if nobody joined it"),
    ]
    table = pl.DataFrame(
        [*given, *((question, value, unit) for question, value, unit, _ in rows)],
        {"question": pl.String, "answer": pl.Float64, "unit": pl.String},
        orient="row",
    )
    lines = [(name, _written(value, unit), quiet) for name, value, unit, quiet in rows]
    title = f"What it would take, {where}"
    return Figure(
        title=title,
        takeaway=_takeaway(plan, asked),
        table=table,
        reading=plain_table.html(
            title, ("Question", "Answer", "Read it so"), [plain_table.Group(lines)], text=3
        ),
        notes=[
            f"Begins with the list at the end of {start.census}, its tests a week, and new requests as "
            f" {GROWTH[start.is_growth_told]}. Change any number.",
            "Formulas of Fong and others (2022): a mean wait of a quarter of the target leaves about "
            "1.8 % who wait longer, if requests come and tests are done at random. They say nothing "
            "of who is seen first.",
        ],
    )


def _takeaway(plan: Any, asked: Mapping[str, float]) -> str:
    if plan.relief_capacity is None:
        return "The list is at its target, or below it."
    if plan.weeks_to_target is None:
        return "At this pace the target is never reached: it takes more tests, or fewer requests."
    reached = f"At this pace the target is reached in {plan.weeks_to_target:,.1f} weeks"
    late = plan.weeks_to_target > asked["time_to_target"]
    return f"{reached}, later than asked." if late else f"{reached}."


def _written(value: float | None, unit: str) -> str:
    if value is None or not math.isfinite(value):
        return {"weeks": "never", "ratio": "no tests"}.get(unit, "it is there")
    return f"{value:.2f}" if unit == "ratio" else f"{value:,.1f} {unit}"
