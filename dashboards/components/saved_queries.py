"""Saved queries: one is picked into the text, and what is in the text is kept under a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from dashboards.components import parameters
from dashboards.components.schema_browser import SQL
from dashboards.sqllab import saved
from dashboards.sqllab.saved import NotSaved, SavedQuery, Shelf
from dashboards.sqllab.wire import Value

PICKED, TOLD = "workbench_starter", "workbench_saved_told"
NAME, DESCRIPTION, SHARED = "workbench_name", "workbench_description", "workbench_shared"


def pick(shelf: Shelf) -> None:
    """The queries of the product, the reader's own and those that are shared; one is put in."""
    queries = _labelled(shelf)

    def put_in() -> None:
        if query := queries.get(st.session_state[PICKED] or ""):
            st.session_state[SQL] = query.sql
            parameters.put(query.parameters)
            mine = query if query.is_own else SavedQuery("", "")
            st.session_state[NAME] = mine.name
            st.session_state[DESCRIPTION] = mine.description
            st.session_state[SHARED] = mine.is_shared

    picked = st.selectbox(
        "Saved queries",
        list(queries),
        index=None,
        key=PICKED,
        on_change=put_in,
        placeholder="begin with a query",
    )
    if picked and queries[picked].description:
        st.caption(queries[picked].description)


def keep(shelf: Shelf, sql: str, values: Mapping[str, Value]) -> None:
    """Save the text with its parameters under a name, share it, or delete it."""
    if told := st.session_state.pop(TOLD, None):
        st.info(told)

    def save() -> None:
        query = SavedQuery(
            st.session_state[NAME].strip(),
            sql,
            st.session_state[DESCRIPTION].strip(),
            parameters.as_parameters(values),
            is_shared=st.session_state[SHARED],
            is_own=True,
        )
        _tell(lambda: shelf.save(query), f"Saved as {query.name}.")

    def delete() -> None:
        name = st.session_state[NAME].strip()
        _tell(lambda: shelf.delete(name), f"{name} is not saved any more.")
        st.session_state[PICKED] = None

    with st.expander("Save this query", key="workbench_save_box", type="compact"):
        st.text_input("Name", key=NAME, max_chars=saved.LONGEST_NAME)
        st.text_input("Description", key=DESCRIPTION, max_chars=saved.LONGEST_DESCRIPTION)
        st.checkbox(f"Share it with other readers of the role {shelf.role}", key=SHARED)
        st.caption(
            "Name, text, kinds and first values are kept, and no rows. Values that tell of a person "
            "have no place in a shared query."
        )
        with st.container(horizontal=True):
            st.button("Save", key="workbench_save", on_click=save)
            if st.session_state[NAME].strip() in [query.name for query in shelf.own()]:
                st.button("Delete", key="workbench_delete", on_click=delete)


def _labelled(shelf: Shelf) -> dict[str, SavedQuery]:
    """Label -> query; what is shared under one name twice gets a number."""
    groups: Sequence[tuple[str, Sequence[SavedQuery]]] = [
        ("Mine: ", shelf.own()),
        ("Shared: ", shelf.shared()),
        ("", saved.starters()),
    ]
    found: dict[str, SavedQuery] = {}
    for start, queries in groups:
        for query in queries:
            label, number = f"{start}{query.name}", 2
            while label in found:
                label, number = f"{start}{query.name} ({number})", number + 1
            found[label] = query
    return found


def _tell(do: Callable[[], None], done: str) -> None:
    try:
        do()
    except NotSaved as error:
        st.session_state[TOLD] = str(error)
    else:
        st.session_state[TOLD] = done
