"""The SQL workbench: where a reader types, what may be asked, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards.components import downloads
from dashboards.components.schema_browser import SQL
from dashboards.sqllab.broker import QueryResult
from dashboards.sqllab.desk import Desk

STARTER = "workbench_starter"
LOOK_SECONDS = 0.4
MOST_SHOWN_PIXELS = 460


def places() -> list[DeltaGenerator]:
    """A place for the text and, beside it, one for what can be asked; below it on a narrow screen."""
    return st.columns([5, 4], gap="medium")


def editor(starters: Sequence[tuple[str, str]], desk: Desk, send: Callable[[str], None]) -> None:
    """The text, a choice of queries to begin with, and what can be done with it."""
    texts = dict(starters)

    def begin() -> None:
        if chosen := st.session_state[STARTER]:
            st.session_state[SQL] = texts[chosen]

    st.selectbox(
        "Begin with", list(texts), index=None, key=STARTER, on_change=begin, placeholder="a query"
    )
    sql = st.text_area("SQL", key=SQL, height=220, placeholder="from metrics").strip()
    with st.container(horizontal=True):
        wants_rows = st.button("Run", type="primary", disabled=not sql, key="workbench_run")
        wants_plan = st.button("Explain", disabled=not sql, key="workbench_explain")
    limits = desk.limits
    st.caption(
        f"One statement that reads. At most {limits.seconds:g} s, {limits.memory_mb:,} MB of memory and "
        f"{limits.rows:,} rows. Tables are written with their schema (marts.rpt_throughput_daily); nothing "
        "but this published file can be reached."
    )
    if wants_rows or wants_plan:
        send(f"explain {sql}" if wants_plan else sql)


def answer(desk: Desk) -> None:
    """The answer of the last query; while one runs, a way to cancel it."""
    if desk.is_running:
        _waiting(desk)
        return
    if desk.last is None:
        return
    asked = desk.last
    st.header("Answer", anchor=False)
    if not isinstance(asked.answer, QueryResult):
        st.warning("No rows: the query was not run to its end.", icon=":material/block:")
        st.code(asked.outcome, language=None, wrap_lines=True)
        return
    frame = asked.answer.frame
    st.markdown(f"{asked.outcome}. {asked.provenance[0]}.")
    if asked.answer.truncated:
        st.warning("Not all rows are shown: ask for fewer, or add them up.")
    if _is_plan(frame):
        st.code("\n".join(str(text) for text in frame["explain_value"]), language=None)
        return
    st.dataframe(
        frame,
        alt=f"Answer: {asked.outcome}",
        key="workbench_answer",
        hide_index=True,
        height=min(35 * (frame.height + 1) + 3, MOST_SHOWN_PIXELS),
        column_config={
            name: st.column_config.DateColumn(name, format="YYYY-MM-DD")
            for name, kind in frame.schema.items()
            if kind == pl.Date
        },
    )
    head = ["SQL workbench", f"SQL: {asked.sql}", asked.outcome, *asked.provenance]
    downloads.buttons(
        frame,
        head,
        file_stem="sql_answer",
        has_parquet=True,
        taken=partial(desk.taken, sql=asked.sql) if desk.taken else None,
    )


def _is_plan(frame: pl.DataFrame) -> bool:
    return frame.columns == ["explain_key", "explain_value"]


def _waiting(desk: Desk) -> None:
    @st.fragment(run_every=LOOK_SECONDS)
    def watch() -> None:
        if desk.has_answer:
            desk.take()
            st.rerun(scope="app")
        st.markdown("The query runs.")
        if st.button("Cancel", key="workbench_cancel"):
            desk.cancel()

    watch()


def history(lines: Sequence[tuple[str, str]]) -> None:
    """What was asked in this session, newest first, each to be put back."""
    if not lines:
        return

    def put_back(sql: str) -> None:
        st.session_state[SQL] = sql

    with st.expander(f"Asked before: {len(lines)}", key="workbench_history", type="compact"):
        for number, (sql, outcome) in enumerate(lines):
            st.code(sql, language="sql")
            st.caption(outcome)
            st.button("Put back", key=f"workbench_back_{number}", on_click=put_back, args=(sql,))
