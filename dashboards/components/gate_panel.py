"""The last gate result: passed, or which contract and rule refused the delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl
import streamlit as st

from dashboards.components import wording
from dashboards.components.figure import show_table


def show(*, passed: bool, checked_at: datetime, checks: int, failures: Sequence[Any]) -> None:
    """The result with its time (UTC); one row per refused rule when it failed."""
    with st.container(border=True):
        st.header("Last gate result", anchor=False)
        when = f"{wording.instant(checked_at)} UTC"
        if passed:
            st.success(f"Passed on {when}; {checks:,} checks.", icon=":material/check_circle:")
            return
        st.error(
            f"Failed on {when}. Nothing was published; the build before it is still served.",
            icon=":material/error:",
        )
        frame = pl.DataFrame([asdict(failure) for failure in failures])
        show_table(frame, alt="Refused rules of the last gate", key="gate_table")
