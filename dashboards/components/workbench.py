"""The SQL workbench: where a reader types, what may be asked, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboards.components import (
    downloads,
    far_days,
    parameters,
    result_chart,
    saved_queries,
    wording,
)
from dashboards.components.parameters import Choices
from dashboards.components.schema_browser import SQL
from dashboards.sqllab import statement
from dashboards.sqllab.broker import Limits, QueryResult
from dashboards.sqllab.desk import FOR_A_FILE, Asked, Desk, Past
from dashboards.sqllab.saved import Shelf

LOOK_SECONDS = 0.4
MOST_SHOWN_PIXELS = 460


def places() -> list[DeltaGenerator]:
    """A place for the text and, beside it, one for what can be asked; below it on a narrow screen."""
    return st.columns([5, 4], gap="medium")


def editor(shelf: Shelf, choices: Choices, desk: Desk, send: Callable[..., None]) -> None:
    """The text, saved queries, the values that the text asks for, and what can be done with it.

    send takes a statement and the values of its parameters.
    """
    saved_queries.pick(shelf)
    sql = st.text_area("SQL", key=SQL, height=280, placeholder="from metrics").strip()
    values = parameters.inputs(statement.parameter_names(sql), choices)
    with st.container(horizontal=True):
        wants_rows = st.button("Run", type="primary", key="workbench_run")
        wants_plan = st.button("Explain", key="workbench_explain")
    st.caption(
        f"One statement that reads. At most {_limits(desk.limits)}. Tables are written with their "
        "schema (marts.rpt_throughput_daily), a value that is asked for as $name; nothing but this "
        "published file can be reached."
    )
    if sql and (wants_rows or wants_plan):
        send(f"explain {sql}" if wants_plan else sql, values)
    saved_queries.keep(shelf, sql, values)


def answer(desk: Desk, fetch: Callable[[], None]) -> None:
    """The answer of the last query; while one runs, a way to cancel it.

    fetch asks for the rows once more, under the limits of a file.
    """
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
    _head(asked, asked.answer)
    frame = far_days.as_text(asked.answer.frame)
    if _is_plan(frame):
        _plan("\n".join(str(text) for text in frame["explain_value"]))
        return
    if frame.height and st.checkbox("Draw these rows", key="workbench_draws"):
        result_chart.show(frame)
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
    if asked.answer.truncated:
        _offer_all(desk, fetch)
    _files(desk, desk.for_file or asked)


def _head(asked: Asked, answer: QueryResult) -> None:
    """What stands above every answer: how much of it there is, under which limits, of which file."""
    limits = asked.limits
    rows = wording.counted(answer.frame.height, "row")
    whole = f"The first {rows} of more" if answer.truncated else f"{rows}, the whole answer"
    st.markdown(f"**{whole}**, in {answer.seconds:.2f} s.")
    if asked.values:
        st.markdown(f"Values: {', '.join(asked.values)}".replace("$", "\\$"))
    file = [line for line in asked.provenance if not line.startswith("As at: ")]
    st.caption(f"Limits: {_limits(limits)}.  \n" + "  \n".join(f"{line}." for line in file))


def _limits(limits: Limits) -> str:
    return (
        f"{limits.seconds:g} s, {limits.memory_mb:,} MB of memory, {limits.rows:,} rows and "
        f"{limits.bytes / 1_000_000:,.0f} MB of rows"
    )


def _offer_all(desk: Desk, fetch: Callable[[], None]) -> None:
    if desk.for_file is None:
        st.warning("Not all rows are shown, and the files below hold what is shown.")
        st.button(
            "Fetch all rows for a file",
            key="workbench_fetch",
            on_click=fetch,
            help=f"Runs the query once more. At most {_limits(FOR_A_FILE)}.",
        )
    elif isinstance(desk.for_file.answer, QueryResult):
        st.markdown(f"The files below hold more than is shown: {desk.for_file.outcome}.")
        st.caption(f"Limits of a file: {_limits(FOR_A_FILE)}.")
    else:
        st.warning(f"The files below hold what is shown. All rows: {desk.for_file.outcome}")


def _files(desk: Desk, asked: Asked) -> None:
    if not isinstance(asked.answer, QueryResult):
        asked = desk.last or asked
    if isinstance(asked.answer, QueryResult):
        downloads.buttons(
            asked.answer.frame,
            [
                "SQL workbench",
                f"SQL: {asked.sql}",
                *asked.values,
                asked.outcome,
                *asked.provenance,
            ],
            file_stem="sql_answer",
            has_parquet=True,
            taken=partial(desk.taken, sql=asked.sql) if desk.taken else None,
        )


def _plan(text: str) -> None:
    """A plan is drawn in characters: it scrolls sideways, by keyboard too, and never wraps."""
    st.html(
        '<div class="scroll" tabindex="0" role="region" aria-label="Plan of the query">'
        f'<pre class="plan">{escape(text)}</pre></div>'
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


def history(lines: Sequence[Past], send: Callable[..., None]) -> None:
    """What was asked in this session, newest first, each to be put back or run again."""
    if not lines:
        return

    def put_back(line: Past) -> None:
        st.session_state[SQL] = line.sql
        parameters.put_values(line.parameters)

    def again(line: Past) -> None:
        put_back(line)
        send(line.sql, line.parameters)

    with st.expander(f"Asked before: {len(lines)}", key="workbench_history", type="compact"):
        for number, line in enumerate(lines):
            st.code(line.sql, language="sql", wrap_lines=True)
            values = [f"${name} = {value}" for name, value in line.parameters.items()]
            st.caption(". ".join([*values, line.outcome]).replace("$", "\\$"))
            with st.container(horizontal=True):
                key = f"workbench_back_{number}"
                st.button("Put back", key=key, on_click=put_back, args=(line,))
                key = f"workbench_again_{number}"
                st.button("Run again", key=key, on_click=again, args=(line,))
