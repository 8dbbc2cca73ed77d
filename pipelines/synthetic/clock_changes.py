"""Reports signed while the clocks change: hours that a wall clock shows twice, or never."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipelines.demo import DEMO_SCALE
from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.dirt import DirtLedger, files_of
from pipelines.synthetic.hl7_clocks import parties_with
from pipelines.synthetic.period import Period
from pipelines.synthetic.ris_extract import standing

# Reports at each change of the clocks, in the demo.
REPORTS_A_CHANGE = 6
NONEXISTENT, REPEATED = "nonexistent_hour", "repeated_hour"
# A report that is brought forward was open for so long at most.
_LONGEST_OPEN = 30 * DAY


@dataclass
class ClockChanges:
    """Moves a few reports into the hours of a clock change; what is due is carried."""

    period: Period
    scale: float
    given: Counter[int] = field(default_factory=Counter)

    def move(self, exams: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Sign some of the reports that were open when the clocks changed; add clock_fault.

        In October within the hour that occurs twice, the first time or the second. In March, in
        messages whose times have no offset, by a clock that was not put forward: the hour it
        shows does not exist. Only reports without preliminary, addendum or correction are moved;
        is_spoken_for becomes true for their exams.
        """
        plain = parties_with("")
        told = exams.select(
            pl.col("completed").fill_null(self.period.end),
            pl.col("verified").fill_null(0),
            is_plain=pl.col("party_code").is_in(plain),
            is_usable=pl.col("verified").is_not_null()
            & pl.col("preliminary").is_null()
            & pl.col("addendum").is_null()
            & pl.col("corrected").is_null()
            & ~pl.col("is_spoken_for"),
        )
        completed, verified = told["completed"].to_numpy(), told["verified"].to_numpy().copy()
        usable, is_plain = told["is_usable"].to_numpy().copy(), told["is_plain"].to_numpy()
        fault = np.full(exams.height, "", dtype="<U16")
        wanted = max(1, round(REPORTS_A_CHANGE * min(self.scale / DEMO_SCALE, 1.0)))
        for begins, ends, is_forward in _changes(self.period):
            fits = usable & (completed < begins) & (verified >= ends)
            fits &= completed > begins - _LONGEST_OPEN
            if begins >= self.period.cutoff:
                fits &= is_plain
            chosen = rng.permutation(np.flatnonzero(fits))[: wanted - self.given[begins]]
            moved = begins + rng.integers(0, ends - begins, len(chosen))
            is_live = begins >= self.period.cutoff
            verified[chosen] = moved if is_live else moved // MINUTE * MINUTE
            fault[chosen] = NONEXISTENT if is_forward else REPEATED
            usable[chosen] = False
            self.given[begins] += len(chosen)
        return exams.with_columns(
            pl.when(pl.col("verified").is_not_null()).then(pl.Series(verified)).alias("verified"),
            pl.Series("clock_fault", fault).replace("", None),
            is_spoken_for=pl.col("is_spoken_for") | pl.Series(fault != ""),
        )


def _changes(period: Period) -> list[tuple[int, int, bool]]:
    """Hours that occur twice or never, as UTC seconds: from, to, whether clocks go forward.

    The clocks of the systems that made the history were put forward in time.
    """
    first = calendar.day_number(period.first_on) * DAY
    spans = [
        (at, at + HOUR, True) if ahead > 0 else (at - HOUR, at + HOUR, False)
        for at, ahead in calendar.clock_changes(first, period.end)
        if ahead < 0 or at >= period.cutoff
    ]
    return sorted(span for span in spans if first <= span[0] and span[1] < period.end)


def note_clock_changes(exams: pl.DataFrame, period: Period, ledger: DirtLedger) -> None:
    """One piece per exam and feed with an event told in an hour that occurs twice, or never."""
    _note_repeated_hours(exams, period, ledger)
    stood = exams.filter(pl.col("clock_fault") == NONEXISTENT)
    for party, accession in stood.select("party_code", "accession_number").iter_rows():
        ledger.add("hl7", NONEXISTENT, files_of("hl7", party), accession)


def _note_repeated_hours(exams: pl.DataFrame, period: Period, ledger: DirtLedger) -> None:
    """All such exams, planted or not: extracts have no offset, nor have some parties' messages."""
    cutoff = period.cutoff
    times = exams.with_columns(
        booked_told=standing("booked", "moved_booked", "first_booked", period)
    )
    names = (
        "requested", "received", "dna", "cancelled", "started", "completed", "preliminary",
        "verified_delivered", "addendum",
    )  # fmt: skip
    is_live = pl.col("received") >= cutoff
    extract = {name: pl.col(name) < cutoff for name in (*names, "booked_told")}
    messages = (*names, "vetted", "first_booked", "moved_booked", "moved", "booked", "corrected")
    live = {name: pl.col(name) >= cutoff for name in messages}
    live["requested"] = is_live
    live["started"] = pl.col("completed") >= cutoff
    for feed, told, who in (
        ("ris_extract", extract, pl.col("is_in_extract") & ~pl.col("is_refused")),
        ("hl7", live, pl.col("party_code").is_in(parties_with(""))),
    ):
        hit = np.zeros(times.height, dtype=bool)
        for name, is_told in told.items():
            seconds = times[name].fill_null(0).to_numpy()
            shown = times.select(is_told.fill_null(False)).to_series().to_numpy()
            hit |= calendar.is_repeated_hour(seconds) & shown
        found = times.filter(pl.Series(hit) & who)
        for party, accession in found.select("party_code", "accession_number").iter_rows():
            ledger.add(feed, REPEATED, files_of(feed, party), accession)
