"""History extracts of the radiology information systems: one wide CSV per party."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from pipelines.synthetic.clocks import london
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.period import Period

FEED = "ris_extract"

COLUMNS = (
    "nhs_number", "patient_id", "birth_date", "sex", "ethnic_category", "postcode",
    "source_setting", "referrer_code", "referring_org_code", "priority", "requested_at",
    "request_received_at", "booked_at", "appointment_at", "dna_at", "cancelled_at",
    "cancel_reason", "started_at", "completed_at", "exam_code", "snomed_code", "site_code",
    "resource", "accession_number", "study_instance_uid", "radiographer_code", "preliminary_at",
    "verified_at", "reporter_code", "reporter_org_code", "addendum_at", "due_at",
)  # fmt: skip

ROWS_A_PART = 60_000

_CLOCK = "%d/%m/%Y %H:%M"


def wall_clock(seconds: pl.Expr) -> pl.Expr:
    """London wall clock of UTC seconds, as DD/MM/YYYY HH:MM text."""
    return london(seconds).dt.strftime(_CLOCK)


def standing(last: str, moved: str, first: str, period: Period) -> pl.Expr:
    """A column of the appointment that stood at the extract: none where it was cancelled."""
    return (
        pl.when(pl.col("booked") < period.cutoff)
        .then(pl.col(last))
        .when(pl.col("moved") < period.cutoff)
        .then(None)
        .when(pl.col("moved_booked") < period.cutoff)
        .then(pl.col(moved))
        .when(pl.col("first_booked") < period.cutoff)
        .then(pl.col(first))
    )


def extract_rows(exams: pl.DataFrame, period: Period) -> pl.DataFrame:
    """One row per request made before the extract, as text, with party_code and extract_dirt.

    The extract is a snapshot: what happened after it is empty, and a booking made later shows
    the one before it, unless that was cancelled by then. It has no column for an appointment that
    was cancelled, nor for vetting or a correction; a refused request reads as a cancelled one.
    """

    def known(name: str) -> pl.Expr:
        return pl.when(pl.col(name) < period.cutoff).then(pl.col(name))

    booked = standing("booked", "moved_booked", "first_booked", period)
    slot = standing("appointment", "moved_appointment", "first_appointment", period)
    is_done = pl.col("completed") < period.cutoff
    has_report = (pl.min_horizontal("verified", "preliminary") < period.cutoff).fill_null(False)
    unknown = (pl.col("exam_code_delivered") != pl.col("exam_code")).fill_null(True)
    rows = exams.filter("is_in_extract").with_columns(
        pl.col("nhs_number_delivered").alias("nhs_number"),
        pl.col("birth_on").dt.strftime("%d/%m/%Y").alias("birth_date"),
        wall_clock(pl.col("requested")).alias("requested_at"),
        wall_clock(known("received")).alias("request_received_at"),
        wall_clock(booked).alias("booked_at"),
        wall_clock(slot).alias("appointment_at"),
        wall_clock(known("dna")).alias("dna_at"),
        wall_clock(known("cancelled")).alias("cancelled_at"),
        pl.when(pl.col("cancelled") < period.cutoff).then("cancel_reason").alias("cancel_reason"),
        wall_clock(known("started")).alias("started_at"),
        wall_clock(known("completed")).alias("completed_at"),
        *(
            pl.col(f"{name}_delivered").alias(name)
            for name in ("exam_code", "priority", "source_setting", "site_code")
        ),
        pl.when(~unknown).then("snomed_code").alias("snomed_code"),
        pl.when(booked.is_not_null() | (pl.col("started") < period.cutoff))
        .then("station_name")
        .alias("resource"),
        pl.when(is_done).then("study_instance_uid").alias("study_instance_uid"),
        pl.when(is_done).then("radiographer_code").alias("radiographer_code"),
        wall_clock(known("preliminary")).alias("preliminary_at"),
        wall_clock(pl.when(pl.col("verified") < period.cutoff).then("verified_delivered")).alias(
            "verified_at"
        ),
        pl.when(has_report).then("reporter_code").alias("reporter_code"),
        pl.when(has_report).then("reporter_org").alias("reporter_org_code"),
        wall_clock(known("addendum")).alias("addendum_at"),
        pl.col("due_on").dt.strftime("%d/%m/%Y 00:00").alias("due_at"),
    )
    return rows.select("party_code", "extract_dirt", "exam_no", *COLUMNS)


def _broken(rows: pl.DataFrame, period: Period) -> pl.DataFrame:
    """The refused kinds, written into the text of their rows."""
    kind = pl.col("extract_dirt")
    started = pl.col("started_at")
    future = started.str.slice(0, 6) + str(period.live_on.year + 1) + started.str.slice(10)
    impossible = started.str.slice(0, 3) + "13" + started.str.slice(5)
    return rows.with_columns(
        pl.when(kind == "unparseable_date")
        .then(impossible)
        .when(kind == "started_in_future")
        .then(future)
        .otherwise(started)
        .alias("started_at"),
        pl.when(kind == "missing_accession")
        .then(None)
        .otherwise("accession_number")
        .alias("accession_number"),
    )


class ExtractParts:
    """Cuts the extract of each party into files of bounded size, as months are added.

    A file is `ris_extract/<day>/ris_extract_<party>.csv`, further ones `..._2.csv` and so on. A
    last part that would be small goes with the one before it.
    """

    def __init__(self, period: Period, ledger: DirtLedger, rows_a_part: int = ROWS_A_PART) -> None:
        """Start with no rows; faulty rows are noted in `ledger` once their file is known."""
        self.period, self.ledger, self.rows_a_part = period, ledger, rows_a_part
        self._held: dict[str, list[pl.DataFrame]] = {}
        self._number: dict[str, int] = {}

    def add(self, exams: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
        """Take the requests of one month; gives each file that is full, with its rows as text."""
        rows = extract_rows(exams, self.period)
        for (party,), part in rows.partition_by(
            "party_code", as_dict=True, maintain_order=True
        ).items():
            held = self._held.setdefault(str(party), [])
            held.append(part)
            while sum(map(len, self._held[str(party)])) >= 2 * self.rows_a_part:
                yield self._cut(str(party), self.rows_a_part)

    def close(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """The last file of each party."""
        for party in sorted(self._held):
            yield self._cut(party, None)

    def _cut(self, party: str, size: int | None) -> tuple[str, pl.DataFrame]:
        rows = pl.concat(self._held[party])
        part = rows if size is None else rows.head(size)
        self._held[party] = [] if size is None else [rows.slice(size)]
        number = self._number[party] = self._number.get(party, 0) + 1
        name = f"{FEED}_{party}" if number == 1 else f"{FEED}_{party}_{number}"
        file = f"{FEED}/{self.period.live_on}/{name}.csv"
        for kind, accession in (
            part.filter(pl.col("extract_dirt").is_not_null())
            .select("extract_dirt", "accession_number")
            .iter_rows()
        ):
            self.ledger.add(FEED, kind, file, accession)
        repeats = part.filter(pl.col("extract_dirt") == "exact_duplicate_row")
        return file, pl.concat([_broken(part, self.period), repeats]).select(COLUMNS)
