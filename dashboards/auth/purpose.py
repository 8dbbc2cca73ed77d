"""What a reader takes files away for: asked once in a session, written down with every file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import streamlit as st

from dashboards.auth.principal import DEMO, Principal

SIGNED_IN, EVERYBODY, NOBODY = "signed_in", "everybody", "nobody"
LONGEST = 200
STATED, REQUIRED = "purpose_stated", "purpose_required"
_LIST = Path(__file__).with_name("purposes.toml")


@dataclass(frozen=True)
class Purpose:
    """One purpose of the list; asks is what has to be added in words, empty where nothing has."""

    key: str
    label: str
    asks: str = ""


@dataclass(frozen=True)
class Stated:
    """A purpose as a reader stated it: its key, and the words that were added."""

    key: str
    words: str = ""

    @property
    def label(self) -> str:
        """The purpose as a reader would say it."""
        named = {one.key: one.label for one in purposes()}.get(self.key, self.key)
        return f"{named} ({self.words})" if self.words else named


class NotStated(ValueError):
    """A purpose is missing, or says too little; the text says what to do."""


@cache
def purposes() -> tuple[Purpose, ...]:
    """The purposes a reader can pick, in the order of purposes.toml."""
    told = tomllib.loads(_LIST.read_text(encoding="utf-8"))["purpose"]
    return tuple(Purpose(**one) for one in told)


def stated(key: str | None, words: str) -> Stated:
    """The purpose a reader picked. Raises NotStated where none is picked or its words are missing."""
    found = next((one for one in purposes() if one.key == key), None)
    if found is None:
        raise NotStated("Pick what the files are for.")
    words = " ".join(words.split())[:LONGEST]
    if found.asks and not words:
        raise NotStated(f"Fill in: {found.asks.lower()}.")
    return Stated(found.key, words if found.asks else "")


def is_asked_of(principal: Principal, rule: str) -> bool:
    """The reader has to state a purpose, by the setting: signed_in, everybody or nobody."""
    return rule == EVERYBODY or (rule == SIGNED_IN and principal.role != DEMO)


def begin(principal: Principal, rule: str) -> None:
    """Say for this run whose purpose counts; what another reader stated in this session is gone."""
    st.session_state[REQUIRED] = is_asked_of(principal, rule)
    kept = st.session_state.get(STATED)
    if kept is not None and kept[0] != principal:
        st.session_state[STATED] = None


def keep(principal: Principal, purpose: Stated) -> None:
    """Remember a reader's purpose for the session."""
    st.session_state[STATED] = (principal, purpose)


def current() -> Stated | None:
    """What the reader of this session stated; None where nothing was."""
    kept = st.session_state.get(STATED)
    return kept[1] if kept else None


def is_lacking() -> bool:
    """A purpose has to be stated before a file is given; what every download asks first."""
    return bool(st.session_state.get(REQUIRED)) and current() is None
