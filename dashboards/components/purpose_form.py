"""Where a reader says what files are for: a form of its own, and a line at the foot of the menu."""

from __future__ import annotations

import streamlit as st

from dashboards.auth import door, purpose
from dashboards.auth.purpose import NotStated

WHY = (
    "It is written down with each file that you take, with who you are and when. It is asked once; "
    "the menu shows it and lets you change it. Write nothing about a patient."
)


def instead_of_buttons(key: str) -> bool:
    """Where a purpose is still to be stated, a button that asks for it; True where it is shown.

    Every place that gives a file away calls this first and gives none where it is True.
    """
    if not purpose.is_lacking():
        return False
    if st.button("State a purpose to download", key=f"{key}_purpose", icon=":material/edit_note:"):
        ask()
    return True


def at_foot_of_menu() -> None:
    """What was stated, and a way to state or change it."""
    stated = purpose.current()
    with st.sidebar:
        told = stated.label if stated else "none stated"
        st.caption(f"Purpose of downloads: {told}")
        label = "Change purpose" if stated else "State purpose"
        if st.button(label, key="menu_purpose"):
            ask()


@st.dialog("What are the files for?")
def ask() -> None:
    """The form, above the page; closes itself when a purpose is stated."""
    st.markdown(WHY)
    labels = {one.label: one for one in purpose.purposes()}
    picked = st.selectbox("Purpose", list(labels), index=None, key="purpose_picked")
    chosen = labels[picked] if picked else None
    words = ""
    if chosen is not None and chosen.asks:
        words = st.text_input(chosen.asks, max_chars=purpose.LONGEST, key="purpose_words")
    if st.button("Keep this purpose", type="primary", key="purpose_keep"):
        try:
            purpose.keep(door.current(), purpose.stated(chosen.key if chosen else None, words))
        except NotStated as error:
            st.error(str(error))
        else:
            st.rerun()
