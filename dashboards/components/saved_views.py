"""The views a reader keeps: links in the menu, and where one is kept or deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import streamlit as st

NAME, GONE = "saved_view_name", "saved_view_gone"
# Every sign that Streamlit may read as Markdown in a label.
SIGNS = re.compile(r"([!-/:-@\[-`{-~])")


def show(
    links: Sequence[tuple[str, st.Page, dict[str, list[str]]]],
    *,
    longest: int,
    problem: str,
    keep: Callable[[], None],
    forget: Callable[[], None],
) -> None:
    """Links as name, page and query; below them the two forms. keep and forget answer the buttons.

    The name a reader types is in the session as NAME, the one to delete as GONE. problem is what
    became of the last press, or nothing.
    """
    st.html('<p class="reader">Saved views</p>')
    for name, page, query in links:
        st.page_link(page, label=as_text(name), icon=":material/bookmark:", query_params=query)
    with st.expander("Save or delete a view", key="saved_views", type="compact"):
        if problem:
            st.warning(problem)
        with st.form("save_view", border=False):
            st.text_input("Name of this view", key=NAME, max_chars=longest)
            st.form_submit_button("Save this page with its filters", on_click=keep)
        if links:
            with st.form("delete_view", border=False):
                st.selectbox("Saved view", [name for name, *_ in links], key=GONE)
                st.form_submit_button("Delete it", on_click=forget)
        st.caption("Only you see your saved views. They hold choices, not figures.")


def as_text(name: str) -> str:
    """A name as the text of a label: nothing in it is read as Markdown."""
    return SIGNS.sub(r"\\\1", name)
