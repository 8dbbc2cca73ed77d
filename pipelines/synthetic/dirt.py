"""Known faults in the feeds, each counted: what a warehouse must find, refuse or survive.

Every piece is one row of the ledger, so that a test can compare what was found with what was
put in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from pipelines.demo import DEMO_SCALE
from pipelines.synthetic.period import Period, midnight
from pipelines.synthetic.reference_tables import FOLDER

MINUTE = 60
DAY = 86_400

# Share of the rows of each extract. The first group is landed, the second must be refused.
EXTRACT_RATES = {
    "nhs_number_missing": 0.006,
    "nhs_number_invalid": 0.003,
    "unknown_exam_code": 0.002,
    "verified_before_completed": 0.0015,
    "exact_duplicate_row": 0.001,
}
EXTRACT_REJECT_RATES = {
    "unparseable_date": 0.0006,
    "missing_accession": 0.0005,
    "started_in_future": 0.0004,
    "missing_exam_code": 0.0003,
    "missing_priority": 0.0002,
    "missing_source_setting": 0.0002,
    "missing_site": 0.0002,
}
EXTRACT_REJECT_LIMIT = 0.004

# Share of the requests made in the live weeks, of each kind at least one at one party.
LIVE_RATES = {
    "nhs_number_missing": 0.006,
    "nhs_number_invalid": 0.003,
    "unknown_exam_code": 0.002,
    "verified_before_completed": 0.0015,
    "missing_exam_code": 0.002,
    "missing_priority": 0.002,
    "missing_source_setting": 0.002,
    "missing_site": 0.002,
}

# Pieces in the demo (DEMO_SCALE).
MESSAGE_COUNTS = {
    "repeated_message": 160,
    "late_message": 60,
    "test_message": 24,
    "truncated_message": 12,
    "no_msh": 8,
    "out_of_order": 24,
    "overtaken_message": 12,
}
IDENTITY_COUNTS = {
    "merge_before_exam": 40,
    "merge_after_report": 30,
    "merge_chain": 10,
    "changed_accession": 30,
}
AUDIT_COUNTS = {"repeated_message": 60, "truncated_message": 12, "unescaped_text": 8}
DICOM_COUNTS = {
    "damaged_text": 5,
    "damaged_empty": 5,
    "damaged_truncated": 5,
    "damaged_no_preamble": 5,
    "resent_copy": 40,
    "missing_station_name": 40,
    "secondary_capture": 50,
    "cumulative_dose_report": 20,
    "split_dose_report": 12,
}

UNKNOWN_EXAM_CODE = "ZZQ99"


@dataclass
class DirtLedger:
    """What was broken on purpose: one entry per piece."""

    rows: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    def add(self, feed: str, kind: str, file: str, accession: str | None) -> None:
        """Record one piece. `file` is relative to the inbox."""
        self.rows.append((feed, kind, file, accession))

    def counts(self) -> dict[str, dict[str, int]]:
        """Pieces by feed and kind."""
        found: dict[str, dict[str, int]] = {}
        for (feed, kind), number in sorted(Counter((r[0], r[1]) for r in self.rows).items()):
            found.setdefault(feed, {})[kind] = number
        return found

    def as_frame(self) -> pl.DataFrame:
        """One row per piece: feed, kind, file, accession."""
        return pl.DataFrame(
            self.rows,
            schema={
                "feed": pl.String,
                "kind": pl.String,
                "file": pl.String,
                "accession": pl.String,
            },
            orient="row",
        )


def scaled(counts: dict[str, int], scale: float) -> dict[str, int]:
    """Pieces at a scale, at least one of each kind and never more than in the demo."""
    share = min(scale / DEMO_SCALE, 1.0)
    return {kind: max(1, round(number * share)) for kind, number in counts.items()}


@dataclass
class ExamDirt:
    """Chooses the faulty exams month by month; what is due of each kind is carried.

    In all a party gets the rate times its rows, at least one of each kind of the extract, and
    never so many that its extract is refused whole.
    """

    parties: list[str]
    period: Period
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    given: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def mark(self, exams: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        """Add extract_dirt and live_dirt (kind or null).

        Only exams whose life is closed well before the extract are made faulty there, so that no
        later message repairs or repeats them. An exam with another fault (is_spoken_for) gets none.
        """
        cutoff = self.period.cutoff
        closed = (
            pl.col("is_in_extract")
            & (pl.col("verified") < cutoff - 30 * DAY)
            & (pl.col("addendum").is_null() | (pl.col("addendum") < cutoff - DAY))
            & (pl.col("corrected").is_null() | (pl.col("corrected") < cutoff - DAY))
            & ~pl.col("is_spoken_for")
        ).fill_null(False)
        reported = pl.col("verified").is_not_null() & ~pl.col("is_spoken_for")
        flags = exams.select("party_code", "is_in_extract", closed=closed, reported=reported)
        party = flags["party_code"].to_numpy().astype(str)
        in_extract = flags["is_in_extract"].to_numpy()
        usable = flags["closed"].to_numpy()
        reported = flags["reported"].to_numpy()
        extract = np.full(exams.height, "", dtype="<U26")
        live = np.full(exams.height, "", dtype="<U26")
        for number, code in enumerate(self.parties):
            mine = party == code
            fresh = np.flatnonzero(~in_extract & mine & reported)
            self.seen["extract", code] += int((in_extract & mine).sum())
            self.seen["live", code] += len(fresh)
            wanted = _extract_counts(self.seen["extract", code], number)
            self._mark(extract, np.flatnonzero(usable & mine), ("extract", code), wanted, rng)
            rows = self.seen["live", code]
            wanted = _live_counts(rows, number, len(self.parties))
            self._mark(live, fresh, ("live", code), wanted, rng)
        return exams.with_columns(
            pl.Series("extract_dirt", extract).replace("", None),
            pl.Series("live_dirt", live).replace("", None),
        )

    def _mark(
        self,
        target: np.ndarray,
        usable: np.ndarray,
        place: tuple[str, str],
        wanted: dict[str, int],
        rng: np.random.Generator,
    ) -> None:
        """Give what is due of each kind to exams that can have it; the rest stays due."""
        due = {kind: max(number - self.given[*place, kind], 0) for kind, number in wanted.items()}
        chosen = rng.permutation(usable)[: sum(due.values())]
        kinds = [kind for kind, number in due.items() for _ in range(number)]
        for row, kind in zip(chosen.tolist(), kinds, strict=False):
            target[row] = kind
            self.given[*place, kind] += 1


def recoded(exams: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Call part of a party's work by another patient source setting from a month on.

    Changes source_setting_delivered of the requests that stream_recodings.csv names; is_recoded
    says which.
    """
    told, is_recoded = pl.col("source_setting_delivered"), pl.lit(False)
    u = pl.Series(rng.random(exams.height))
    for party, from_on, setting, name, share in stream_recodings().iter_rows():
        begins = midnight(date.fromisoformat(from_on))
        mine = (
            (pl.col("party_code") == party)
            & (pl.col("requested") >= begins)
            & (pl.col("source_setting_delivered") == setting)
            & (u < float(share))
        ).fill_null(False)
        told = pl.when(mine).then(pl.lit(name)).otherwise(told)
        is_recoded |= mine
    return exams.with_columns(source_setting_delivered=told, is_recoded=is_recoded)


def stream_recodings() -> pl.DataFrame:
    """Which party calls which setting by another name, from which day on, and for what share."""
    rows = pl.read_csv(FOLDER / "stream_recodings.csv", infer_schema=False)
    return rows.select("party_code", "from_on", "source_setting", "recoded_as", "share")


def _extract_counts(rows: int, file_number: int) -> dict[str, int]:
    wanted = {kind: max(1, round(rate * rows)) for kind, rate in EXTRACT_RATES.items()}
    left = int(rows * EXTRACT_REJECT_LIMIT)
    kinds = list(EXTRACT_REJECT_RATES)
    for shift in range(len(kinds)):
        kind = kinds[(file_number + shift) % len(kinds)]
        wanted[kind] = min(left, max(1, round(EXTRACT_REJECT_RATES[kind] * rows)))
        left -= wanted[kind]
    return wanted


def _live_counts(rows: int, party_number: int, parties: int) -> dict[str, int]:
    first = {kind for n, kind in enumerate(LIVE_RATES) if n % parties == party_number and rows}
    return {kind: max(round(rate * rows), int(kind in first)) for kind, rate in LIVE_RATES.items()}


def as_delivered(exams: pl.DataFrame) -> pl.DataFrame:
    """Add what the feeds say instead of the fact.

    New columns: nhs_number_delivered (null when missing), nhs_number_state (valid, invalid,
    missing), exam_code_delivered, priority_delivered, source_setting_delivered,
    site_code_delivered, verified_delivered (UTC seconds), is_date_order_violation, is_refused (the
    row of the extract cannot be landed).
    """
    kind = pl.coalesce("extract_dirt", "live_dirt")
    wrong_digit = (pl.col("nhs_number").str.slice(9, 1).cast(pl.Int64) + 1) % 10
    early = pl.col("completed") - 7 * MINUTE
    return exams.with_columns(
        pl.when(kind == "nhs_number_missing")
        .then(None)
        .when(kind == "nhs_number_invalid")
        .then(pl.col("nhs_number").str.slice(0, 9) + wrong_digit.cast(pl.String))
        .otherwise("nhs_number")
        .alias("nhs_number_delivered"),
        pl.when(kind == "nhs_number_missing")
        .then(pl.lit("missing"))
        .when(kind == "nhs_number_invalid")
        .then(pl.lit("invalid"))
        .otherwise(pl.lit("valid"))
        .alias("nhs_number_state"),
        pl.when(kind == "unknown_exam_code")
        .then(pl.lit(UNKNOWN_EXAM_CODE))
        .when((kind == "missing_exam_code").fill_null(False))
        .then(None)
        .otherwise("exam_code")
        .alias("exam_code_delivered"),
        *(
            pl.when((kind == missing).fill_null(False))
            .then(None)
            .otherwise(column)
            .alias(f"{column}_delivered")
            for missing, column in (
                ("missing_priority", "priority"),
                ("missing_source_setting", "source_setting"),
                ("missing_site", "site_code"),
            )
        ),
        pl.when(kind == "verified_before_completed")
        .then(early)
        .otherwise("verified")
        .alias("verified_delivered"),
        (kind == "verified_before_completed").fill_null(False).alias("is_date_order_violation"),
        pl.col("extract_dirt")
        .is_in(list(EXTRACT_REJECT_RATES))
        .fill_null(False)
        .alias("is_refused"),
    )


def note_recodings(exams: pl.DataFrame, ledger: DirtLedger) -> None:
    """One piece per request that its feed calls by another setting."""
    for party, accession, is_past in (
        exams.filter("is_recoded")
        .select("party_code", "accession_number", "is_in_extract")
        .iter_rows()
    ):
        feed = "ris_extract" if is_past else "hl7"
        ledger.add(feed, "recoded_stream", files_of(feed, party), accession)


def files_of(feed: str, party: str) -> str:
    """Pattern of the files of a party, for faults that are told in several."""
    return f"hl7/*/{party}_*.hl7" if feed == "hl7" else f"{feed}/*/{feed}_{party}_*.csv"
