"""What can be asked, beside the text: tables, columns and metrics, each put in by one click."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import streamlit as st

from dashboards.components import wording
from dashboards.components.figure import show_table
from dashboards.sqllab import statement

SQL = "workbench_sql"
TABLE, COLUMN, METRIC = "browser_table", "browser_column", "browser_metric"
GRAIN, BY = "browser_grain", "browser_by"
GRAINS = ("month", "quarter", "year", "financial_year")
LEVELS = ("trust", "party", "network", "modality", "trust_modality", "party_modality")


def search() -> str:
    """The searched text."""
    return st.text_input(
        "Search tables, columns, descriptions and metrics",
        key="browser_search",
        placeholder="waiting",
    )


def show(
    tables: pl.DataFrame,
    columns: Callable[[str], pl.DataFrame],
    found: pl.DataFrame,
    metrics: pl.DataFrame,
) -> None:
    """Tables, columns and metrics that hold the searched text.

    columns gives the columns of a table, found holds one row per column with the searched text.
    """
    tabs = st.tabs([f"Tables ({tables.height})", f"Metrics ({metrics.height})"])
    with tabs[0]:
        _tables(tables, columns, found)
    with tabs[1]:
        _metrics(metrics)


def _tables(
    tables: pl.DataFrame, columns: Callable[[str], pl.DataFrame], found: pl.DataFrame
) -> None:
    if tables.is_empty():
        st.info("No table holds this text.")
        return
    names = [f"{row['table_schema']}.{row['table_name']}" for row in tables.to_dicts()]
    picked = st.selectbox("Table", names, key=TABLE)
    row = tables.row(names.index(picked), named=True)
    st.markdown(
        f"{row['description']}  \n**Grain:** {row['grain'] or 'see description'}. "
        f"**Rows in the whole build:** {row['row_count']:,}."
    )
    with st.container(horizontal=True):
        st.button("Put in the table", key="browser_put_table", on_click=_put_table, args=(picked,))
        st.button("Read its first rows", key="workbench_first", on_click=_first, args=(picked,))
    its = columns(row["table_name"])
    st.pills(
        "Put in a column",
        its["column_name"].to_list(),
        key=COLUMN,
        on_change=_put_column,
        args=(picked,),
    )
    with st.expander(f"Columns of {picked}", key="browser_columns", type="compact"):
        show_table(its, alt=f"Columns of {picked}", key="columns_table")
    if found.height:
        with st.expander(
            f"The text is in {wording.counted(found.height, 'column')}",
            key="browser_found",
            type="compact",
        ):
            show_table(found, alt="Columns that hold the searched text", key="browser_found_table")


def _metrics(metrics: pl.DataFrame) -> None:
    if metrics.is_empty():
        st.info("No metric holds this text.")
        return
    rows = {f"{row['metric_id']} {row['name']}": row for row in metrics.to_dicts()}
    row = rows[st.selectbox("Metric", list(rows), key=METRIC)]
    st.markdown(
        f"{row['definition']}  \n**Unit:** {row['unit']}. "
        f"**Source:** {row['source']} ({wording.status(row['source_status'])})."
    )
    left, right = st.columns(2)
    with left:
        grain = st.selectbox("One row per", GRAINS, key=GRAIN, format_func=_spoken)
    with right:
        level = st.selectbox("And by", LEVELS, key=BY, format_func=_spoken)
    call = f"metric('{row['metric_id']}', grain := '{grain}', by := '{level}')"
    st.code(call, language="sql", wrap_lines=True)
    st.button("Put in the metric", key="browser_put_metric", on_click=_put_table, args=(call,))


def _spoken(name: str) -> str:
    return name.replace("_", " and " if name.endswith("modality") else " ")


def _put_table(source: str) -> None:
    st.session_state[SQL] = statement.with_source(st.session_state.get(SQL) or "", source)


def _put_column(source: str) -> None:
    if column := st.session_state.get(COLUMN):
        before = st.session_state.get(SQL) or ""
        st.session_state[SQL] = statement.with_column(before, column, source)
        # Free again, so that the same column can be put in once more.
        st.session_state[COLUMN] = None


def _first(source: str) -> None:
    st.session_state[SQL] = f"select *\nfrom {source}\nlimit 100"
