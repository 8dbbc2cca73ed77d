"""What every page says first: synthetic data, a refused delivery, how fresh the data are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import polars as pl
import streamlit as st

from dashboards.components import wording
from dashboards.components.figure import show_table


class Refusal(Protocol):
    """What is told of one refused contract rule (data.published.GateFailure has it)."""

    @property
    def contract(self) -> str:
        """Name of the contract."""

    @property
    def rule(self) -> str:
        """Name of the rule."""

    @property
    def file_name(self) -> str:
        """The refused delivery."""

    @property
    def count(self) -> int:
        """How many records broke the rule."""

    @property
    def rejects_path(self) -> str:
        """Where they are kept; empty when nowhere."""


def synthetic() -> None:
    """The data are invented; said once, on every page."""
    st.html('<p class="strip">Synthetic data: no real patient, no real figure</p>')


def suppressed(rule: str) -> None:
    """Small counts are hidden in the file that is read; said once, on every page."""
    st.caption(
        f"Small numbers: {rule}. What is hidden is shown as {wording.HIDDEN} or as a gap, "
        "never as 0."
    )


def refused(
    build_id: str, created_at: datetime, checked_at: datetime, failures: Sequence[Refusal]
) -> None:
    """A delivery was refused by the gate; the build shown is the last good one."""
    files = sorted({failure.file_name for failure in failures if failure.file_name})
    st.warning(
        f"A delivery was refused on {wording.day(checked_at)}: "
        f"{', '.join(files) or 'no file named'}; figures are those of the build before, "
        f"of {wording.day(created_at)}.",
        icon=":material/warning:",
    )
    lines = [f"Serving build {build_id}; checked {wording.instant(checked_at)} UTC."]
    for failure in failures:
        where = f", rejects in `{failure.rejects_path}`" if failure.rejects_path else ""
        lines.append(
            f"- contract `{failure.contract}`, rule `{failure.rule}`, "
            f"count {wording.counted(failure.count, 'record')}, file `{failure.file_name}`{where}"
        )
    with st.expander("Which rule refused it, for the analyst", key="refused", type="compact"):
        st.markdown("\n".join(lines))


def freshness(feeds: pl.DataFrame, build_id: str, late_means: str) -> None:
    """One line per page: how far the data reach, which parties lag; the table below it.

    late_means is the published text of a feed that is not level with the others.
    """
    parties = feeds.filter(pl.col("party_code") != "NETWORK")
    everyone = parties["party"].unique(maintain_order=True).to_list()
    behind = parties.filter(~pl.col("is_level_with_others"))
    late = behind["party"].unique(maintain_order=True).to_list()
    level = [party for party in everyone if party not in late]
    happened = feeds.filter("tells_of_exams").sort("as_at_local", descending=True)
    newest = happened["as_at_local"][0] if happened.height else None
    text = f"Data to {wording.day(newest)}; {len(level)} of {len(everyone)} parties level with "
    text += f"each other (late: {', '.join(late)})" if late else "each other"
    icon = ":material/schedule:" if late else ":material/check_circle:"
    with st.expander(f"{text} · build {build_id}", icon=icon, key="freshness", type="compact"):
        st.caption(
            "A party is level with the others when none of its feeds is late. Late: "
            f"{late_means} That says nothing about how old the data are: the date does. "
            "Times are local."
        )
        table = feeds.select(
            "party", "feed_kind", "as_at_local", "is_level_with_others", "file_count", "feed_id"
        )
        show_table(table, alt="Newest entry per party and feed", key="freshness_table")


def nothing_published(folder: str) -> None:
    """The first page of an empty installation: what to do next."""
    st.title("Nothing has been published yet", anchor=False)
    st.markdown(
        f"No `manifest.json` was found in `{folder}`.\n\n"
        "Run `imaging run` to harvest the inbox, build the warehouse and publish it. "
        "This page shows the dashboards as soon as a build is there."
    )


def unreadable(message: str) -> None:
    """The published folder cannot be used; the message holds the next step."""
    st.title("The published data cannot be read", anchor=False)
    st.error(message)
