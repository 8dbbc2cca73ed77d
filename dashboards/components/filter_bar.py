"""The choices at the head of a page. Each is bound to the address, so links and Back work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
import streamlit as st

HELP = (
    "Party: a member of the programme as contracted; every site is counted once, whatever the "
    "later mergers. Trust: the owner of the site at the time, so a trust that closed ends."
)


def organisation(choices: pl.DataFrame) -> tuple[str, str, str]:
    """The chosen (level, code, name); the network unless the address says otherwise."""
    labels = {label(row): row for row in choices.iter_rows(named=True)}
    picked = st.selectbox(
        "Organisation", list(labels), key="organisation", bind="query-params", help=HELP
    )
    row = labels[picked]
    return row["org_level"], row["org_code"], row["org_name"]


def choice(label: str, options: Sequence[str], key: str, words: dict[str, str]) -> str:
    """One of the options; words says how an option is written."""
    labels = [words.get(option, option) for option in options]
    written = {
        label[:1].upper() + label[1:]: option for label, option in zip(labels, options, strict=True)
    }
    picked = st.selectbox(label, list(written), key=key, bind="query-params")
    return written[picked]


def period(options: Sequence[str], *, default: str) -> str:
    """One of the periods. Another default is another parameter: a page's own stays its own."""
    names = list(options)
    start = names.index(default)
    key = "months" if start == 0 else "programme_months"
    return st.selectbox("Months", names, index=start, key=key, bind="query-params")


def custom_months(months: Sequence[date]) -> tuple[date, date]:
    """First and last month of a custom period, in the order they were picked."""
    written = {f"{month:%b %Y}": month for month in months}
    names = list(written)
    left, right = st.columns(2)
    with left:
        first = st.selectbox("From", names, key="from", bind="query-params")
    with right:
        last = st.selectbox("To", names, index=len(names) - 1, key="to", bind="query-params")
    return written[first], written[last]


def label(row: dict[str, object]) -> str:
    """How an organisation is written among the choices; row is one of organisations.choices."""
    if row["org_level"] == "network":
        return f"{row['org_name']} (network)"
    if row["ended_on"] is not None:
        return f"{row['org_name']} ({row['org_level']}, to {row['ended_on']:%b %Y})"
    return f"{row['org_name']} ({row['org_level']})"
