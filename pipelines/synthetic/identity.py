"""Identities that change in the messages: patients under a second number, orders renumbered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.clocks import instant
from pipelines.synthetic.dirt import IDENTITY_COUNTS, DirtLedger, files_of, scaled
from pipelines.synthetic.period import Period

FEED = "hl7"
BEFORE_EXAM, AFTER_REPORT, CHAIN = "merge_before_exam", "merge_after_report", "merge_chain"
RENUMBERED = "changed_accession"
_AFTER = (
    "vetted", "first_booked", "moved_booked", "moved", "booked", "dna_told", "cancelled",
    "started", "completed",
)  # fmt: skip
# What messages tell of changed identities, as times of the exam.
TIMES = ("merged", "merged_again", "renumbered")


class Identities:
    """The exams of the live weeks whose patient or order number changes, and how.

    `merges`: one row per merge of two numbers: party_code, exam_no, loser, survivor, merged_at
    (UTC). `accession_changes`: one row per renumbered order: party_code, exam_no, old, new,
    changed_at.
    """

    def __init__(self, period: Period, scale: float, seed: int) -> None:
        """Nothing is chosen yet."""
        self.period, self.wanted = period, scaled(IDENTITY_COUNTS, scale)
        self._rng = np.random.default_rng([seed, 64])
        self.merges = self.accession_changes = pl.DataFrame()

    def choose(self, live: pl.DataFrame, ledger: DirtLedger) -> pl.DataFrame:
        """Add first_id, second_id (local numbers before merges), old_accession and TIMES."""
        free = (
            (pl.col("requested") >= self.period.cutoff)
            & pl.col("live_dirt").is_null()
            & ~pl.col("is_spoken_for")
            & pl.col("dna").is_null()
            & pl.col("addendum").is_null()
            & pl.col("corrected").is_null()
        )
        room = pl.col("started") - pl.col("received")
        told = pl.max_horizontal("completed", "verified", "preliminary")
        fits = {
            BEFORE_EXAM: free & (room > 30 * MINUTE),
            AFTER_REPORT: free & (pl.col("verified") < self.period.end - DAY),
            CHAIN: free
            & (room > 30 * MINUTE)
            & (pl.min_horizontal("verified", "preliminary") - pl.col("completed") > HOUR),
            RENUMBERED: free & self._has_quiet_start(),
        }
        left = live.with_columns(told=told, **{k: v.fill_null(False) for k, v in fits.items()})
        chosen: dict[str, list[int]] = {}
        for kind, number in self.wanted.items():
            usable = np.flatnonzero(left[kind].to_numpy())
            taken = sorted(self._rng.permutation(usable)[:number].tolist())
            chosen[kind] = left["exam_no"].gather(taken).to_list()
            left = left.with_columns(
                pl.when(pl.col("exam_no").is_in(chosen[kind])).then(False).otherwise(k).alias(k)
                for k in fits
            )
        live = self._with_changes(live.with_columns(told=told), chosen).drop("told")
        self._remember(live)
        for kind, numbers in chosen.items():
            name = "old_accession" if kind == RENUMBERED else "accession_number"
            rows = live.filter(pl.col("exam_no").is_in(numbers))
            for party, accession in rows.select("party_code", name).iter_rows():
                ledger.add(FEED, kind, files_of(FEED, party), accession)
        return live

    def _has_quiet_start(self) -> pl.Expr:
        """Nothing is told for a while after the order, and the day of the request is not over.

        So a request stands under one number at the end of every day.
        """
        following = pl.min_horizontal(_AFTER).fill_null(self.period.end)
        day = [_local_day(pl.col(name)) for name in ("requested", "received")]
        late = _local_day(pl.col("received") + HOUR)
        return (following - pl.col("received") > HOUR) & (day[0] == day[1]) & (day[0] == late)

    def _with_changes(self, live: pl.DataFrame, chosen: dict[str, list[int]]) -> pl.DataFrame:
        is_of = {kind: pl.col("exam_no").is_in(numbers) for kind, numbers in chosen.items()}
        u, later = (pl.Series(self._rng.random(live.height)) for _ in range(2))
        room = pl.col("started") - pl.col("received")
        early = pl.col("received") + ((0.1 + 0.8 * u) * room).cast(pl.Int64)
        after = pl.col("told") + HOUR + (later * 20 * HOUR).cast(pl.Int64)
        is_first = is_of[BEFORE_EXAM] | is_of[CHAIN]
        number = pl.col("exam_no").cast(pl.String).str.zfill(9)
        return live.with_columns(
            pl.when(is_first | is_of[AFTER_REPORT]).then("U" + number).alias("first_id"),
            pl.when(is_of[CHAIN]).then("V" + number).alias("second_id"),
            pl.when(is_first).then(early).when(is_of[AFTER_REPORT]).then(after).alias("merged"),
            pl.when(is_of[CHAIN]).then(pl.col("completed") + 30 * MINUTE).alias("merged_again"),
            pl.when(is_of[RENUMBERED])
            .then(pl.col("received") + MINUTE + (later * 50 * MINUTE).cast(pl.Int64))
            .alias("renumbered"),
            pl.when(is_of[RENUMBERED])
            .then("B" + pl.col("accession_number").str.slice(1))
            .alias("old_accession"),
        )

    def _remember(self, live: pl.DataFrame) -> None:
        first = live.filter(pl.col("merged").is_not_null()).select(
            "party_code",
            "exam_no",
            loser="first_id",
            survivor=pl.coalesce("second_id", "patient_id"),
            merged_at=instant(pl.col("merged")),
        )
        again = live.filter(pl.col("merged_again").is_not_null()).select(
            "party_code",
            "exam_no",
            loser="second_id",
            survivor="patient_id",
            merged_at=instant(pl.col("merged_again")),
        )
        self.merges = pl.concat([first, again]).sort("exam_no", "merged_at")
        self.accession_changes = live.filter(pl.col("renumbered").is_not_null()).select(
            "party_code",
            "exam_no",
            old="old_accession",
            new="accession_number",
            changed_at=instant(pl.col("renumbered")),
        )


def as_known(
    exam: dict[str, Any], since: int, until: int
) -> Iterator[tuple[dict[str, Any], int, int]]:
    """The exam with the numbers its party knew, for each part of a span of UTC seconds.

    A patient under a first or second number has no NHS number yet. Each part but the first begins
    with the message that changed the number.
    """
    parts: list[tuple[int, dict[str, Any]]] = [(since, {"merged": None, "renumbered": None})]
    unknown = {"nhs_number_delivered": None}
    if exam["first_id"] is not None:
        parts[0][1].update(unknown, patient_id=exam["first_id"])
        told = {"merging_id": exam["first_id"]}
        if exam["second_id"] is not None:
            again = {"merged": exam["merged_again"], "merged_local": exam["merged_again_local"]}
            parts.append((exam["merged"], told | unknown | {"patient_id": exam["second_id"]}))
            parts.append((exam["merged_again"], again | {"merging_id": exam["second_id"]}))
        else:
            parts.append((exam["merged"], told))
    if exam["old_accession"] is not None:
        parts[0][1]["accession_number"] = exam["old_accession"]
        parts.append((exam["renumbered"], {}))
    ends = [*(begins for begins, _ in parts[1:]), until]
    for (begins, numbers), ends_at in zip(parts, ends, strict=True):
        first, last = max(begins, since), min(ends_at, until)
        if first < last:
            yield exam | numbers, first, last


def _local_day(seconds: pl.Expr) -> pl.Expr:
    return seconds.map_batches(
        lambda utc: pl.Series(calendar.utc_to_local(utc.fill_null(0).to_numpy()) // DAY),
        return_dtype=pl.Int64,
    )
