"""The metric registry and the published tables as text to read."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboards.components import wording
from dashboards.components.figure import definition, show_table


def search() -> str:
    """The searched text, bound to the address."""
    return st.text_input(
        "Search metrics, tables and columns", key="q", bind="query-params", placeholder="waiting"
    )


def metrics(frame: pl.DataFrame, targets: pl.DataFrame) -> None:
    """One expander per metric: its definition and its targets."""
    st.header("Metrics", anchor=False)
    if frame.is_empty():
        st.info("No metric holds this text.")
    for row in frame.iter_rows(named=True):
        with st.expander(f"{row['metric_id']} · {row['name']}", key=f"metric_{row['metric_id']}"):
            st.markdown(definition(row))
            if row["semi_additive"]:
                st.markdown("- A snapshot: never add it up over time.")
            for goal in targets.filter(pl.col("metric_id") == row["metric_id"]).to_dicts():
                st.markdown(f"- {wording.target(goal)}, {goal['scope']}, source: {goal['source']}")


def tables(frame: pl.DataFrame, columns: Callable[[str], pl.DataFrame]) -> str | None:
    """The published tables, and the columns of the one that is picked; its name, schema.table."""
    st.header("Tables and columns", anchor=False)
    if frame.is_empty():
        st.info("No table holds this text.")
        return None
    names = frame["table_name"].to_list()
    picked = st.selectbox("Table", names, key="table", bind="query-params")
    row = frame.row(names.index(picked), named=True)
    st.markdown(
        f"**{row['table_schema']}.{row['table_name']}**: {row['description']}  \n"
        f"Grain: {row['grain'] or 'see description'}. Rows: {row['row_count']:,}."
    )
    show_table(columns(picked), alt=f"Columns of {picked}", key="columns_table")
    return f"{row['table_schema']}.{row['table_name']}"
