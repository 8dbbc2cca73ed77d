"""Inputs for the values that a statement asks for: each by its kind, none pasted into the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import streamlit as st

from dashboards.components import wording
from dashboards.sqllab import saved
from dashboards.sqllab.saved import Parameter
from dashboards.sqllab.wire import Value

KINDS = "workbench_kinds"
A_ROW = 3
KIND_WORDS = {
    saved.TEXT: "text",
    saved.NUMBER: "number",
    saved.DATE: "date",
    saved.MONTH: "month",
    saved.TRUST: "trust",
    saved.MODALITY: "modality group",
}


@dataclass(frozen=True)
class Choices:
    """What can be picked: months (first days, ascending), code -> name of trusts, modality groups."""

    months: Sequence[date]
    trusts: Mapping[str, str]
    modalities: Sequence[str]

    def of(self, kind: str) -> Sequence[Value]:
        """The values of a kind that is picked; none of a kind that is typed."""
        picked = {saved.MONTH: self.months, saved.TRUST: list(self.trusts)}
        return picked.get(kind, self.modalities if kind == saved.MODALITY else ())

    def written(self, kind: str, value: Value) -> str:
        """How a value is shown."""
        if kind == saved.MONTH and isinstance(value, date):
            return wording.month(value)
        return f"{value} {self.trusts[str(value)]}" if kind == saved.TRUST else str(value)

    def first(self, name: str, kind: str) -> Value:
        """What stands in an input at first: the last month, of a name with from a year before it."""
        options = self.of(kind)
        if kind in (saved.MONTH, saved.DATE) and self.months:
            is_start = kind == saved.DATE or "from" in name.lower()
            return self.months[max(-12, -len(self.months))] if is_start else self.months[-1]
        return options[0] if options else 0.0 if kind == saved.NUMBER else ""


def inputs(names: Sequence[str], choices: Choices) -> dict[str, Value]:
    """An input for each name; the values by name."""
    if not names:
        return {}
    values = {}
    for start in range(0, len(names), A_ROW):
        # A row of places at a time: on a phone they stand below each other in their order.
        for name, place in zip(names[start : start + A_ROW], st.columns(A_ROW), strict=False):
            with place:
                values[name] = _input(name, kind_of(name), choices)
    with st.expander("What kind of value each is", key="workbench_kinds_box", type="compact"):
        for name in names:
            options = list(KIND_WORDS)
            st.selectbox(
                f"Kind of ${name}",
                options,
                index=options.index(kind_of(name)),
                format_func=KIND_WORDS.__getitem__,
                key=f"workbench_kind_{name}",
                on_change=_keep_kind,
                args=(name,),
            )
    return values


def kind_of(name: str) -> str:
    """The kind of a parameter: as saved or chosen, else as its name suggests."""
    return st.session_state.get(KINDS, {}).get(name, saved.guessed_kind(name))


def put(parameters: Sequence[Parameter]) -> None:
    """Take over kinds and first values of a saved query; to be called before the inputs are drawn."""
    for parameter in parameters:
        _set_kind(parameter.name, parameter.kind)
        st.session_state.pop(f"workbench_kind_{parameter.name}", None)
        st.session_state.pop(_key(parameter.name, parameter.kind), None)
        if parameter.default:
            value = _read(parameter)
            st.session_state[_key(parameter.name, parameter.kind)] = value


def put_values(values: Mapping[str, Value]) -> None:
    """Take over values that were bound before."""
    for name, value in values.items():
        st.session_state[_key(name, kind_of(name))] = value


def as_parameters(values: Mapping[str, Value]) -> tuple[Parameter, ...]:
    """The values as they stand now, to be saved with a query."""
    return tuple(Parameter(name, kind_of(name), _written(value)) for name, value in values.items())


def _input(name: str, kind: str, choices: Choices) -> Value:
    key, options = _key(name, kind), list(choices.of(kind))
    before = st.session_state.get(key)
    is_lost = bool(options) and before not in options
    if before is None or is_lost:
        st.session_state[key] = choices.first(name, kind)
    if options:
        return st.selectbox(
            f"${name}", options, key=key, format_func=lambda value: choices.written(kind, value)
        )
    if kind == saved.NUMBER:
        number = float(st.number_input(f"${name}", key=key, step=1.0, format="%g"))
        return int(number) if number.is_integer() else number
    if kind in (saved.DATE, saved.MONTH):
        return st.date_input(f"${name}", key=key, format="YYYY-MM-DD")
    return st.text_input(f"${name}", key=key)


def _read(parameter: Parameter) -> Value:
    """The first value of a saved query; none where its text is not of the kind."""
    try:
        if parameter.kind == saved.NUMBER:
            return float(parameter.default)
        if parameter.kind in (saved.DATE, saved.MONTH):
            return date.fromisoformat(parameter.default)
    except ValueError:
        return None
    return parameter.default


def _written(value: Value) -> str:
    return value.isoformat() if isinstance(value, date) else "" if value is None else str(value)


def _keep_kind(name: str) -> None:
    _set_kind(name, st.session_state[f"workbench_kind_{name}"])


def _set_kind(name: str, kind: str) -> None:
    st.session_state[KINDS] = st.session_state.get(KINDS, {}) | {name: kind}


def _key(name: str, kind: str) -> str:
    return f"workbench_value_{kind}_{name}"
