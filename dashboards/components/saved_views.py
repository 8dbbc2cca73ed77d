"""The views a reader keeps: links in the menu, and where one is kept or deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from urllib.parse import urlencode

import streamlit as st

NAME, GONE = "saved_view_name", "saved_view_gone"


def show(
    links: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]],
    *,
    longest: int,
    problem: str,
    keep: Callable[[], None],
    forget: Callable[[], None],
) -> None:
    """Links as name, view and query; below them the two forms. keep and forget answer the buttons.

    The name a reader types is in the session as NAME, the one to delete as GONE. problem is what
    became of the last press, or nothing.
    """
    st.html(f'<p class="reader">Saved views</p>{html(links)}')
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


def html(links: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]]) -> str:
    """The links as a list. They open the page anew: a link within the open page would leave the
    filters as they are where both pages have them."""
    rows = "".join(
        f'<li><a href="{escape(f"{view}?{urlencode(dict(query), doseq=True)}")}">{escape(name)}</a></li>'
        for name, view, query in links
    )
    return f'<ul class="saved">{rows}</ul>' if rows else ""
