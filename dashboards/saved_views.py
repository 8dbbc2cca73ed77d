"""What a reader keeps of the pages: this page with its filters, under a name of their own.

Joins data and components. A saved view is a link: it is opened with the rights the reader has then.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboards.auth import door
from dashboards.auth.target import LONGEST
from dashboards.components import saved_views
from dashboards.data import kept
from dashboards.data.kept import Kept, NotKept
from dashboards.settings import Settings

PROBLEM = "saved_view_problem"
MOST_CHOICES = 30


def show(views: Collection[str], view: str) -> None:
    """The saved views of the reader among the views open to them, and the form of the present one."""
    folder, subject = Settings().views_folder, door.current().subject
    problem = st.session_state.pop(PROBLEM, "")
    try:
        found = kept.list_kept(folder, subject)
    except NotKept as error:
        found, problem = [], str(error)
    links = [
        (one.name, one.content["view"], one.content["query"])
        for one in found
        if is_link(one) and one.content["view"] in views
    ]
    with st.sidebar:
        saved_views.show(
            links,
            longest=kept.LONGEST_NAME,
            problem=problem,
            keep=lambda: _keep(view),
            forget=_forget,
        )


def is_link(one: Kept) -> bool:
    """What is kept names a page and its choices, as _keep writes them; a file can be changed by hand."""
    view, query = one.content.get("view"), one.content.get("query")
    return (
        isinstance(view, str)
        and isinstance(query, dict)
        and len(query) <= MOST_CHOICES
        and all(
            isinstance(values, list) and all(isinstance(value, str) for value in values)
            for values in query.values()
        )
    )


def _keep(view: str) -> None:
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    content: dict[str, Any] = {"view": view, "query": query}
    if len(query) > MOST_CHOICES or len(str(query)) > LONGEST:
        st.session_state[PROBLEM] = "The address of this page is too long to be kept."
        return
    try:
        kept.keep(
            Settings().views_folder,
            door.current().subject,
            st.session_state[saved_views.NAME],
            content,
            datetime.now(UTC),
        )
    except NotKept as error:
        st.session_state[PROBLEM] = str(error)


def _forget() -> None:
    try:
        name = st.session_state[saved_views.GONE]
        kept.forget(Settings().views_folder, door.current().subject, name)
    except NotKept as error:
        st.session_state[PROBLEM] = str(error)
