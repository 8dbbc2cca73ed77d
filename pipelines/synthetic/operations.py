"""Workforce, finance and operations of the network: simulated from counts, written as feeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.synthetic import activity, beds, calendar, downtime, finance, workforce
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.clocks import instant, wall
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import read_text_table
from pipelines.synthetic.workbooks import monthly_workbook
from pipelines.synthetic.writer import write_bytes, write_csv, write_parquet

if TYPE_CHECKING:
    from pipelines.network import Network
    from pipelines.synthetic.pathways import Simulation

WORKBOOK = "monthly_workbook"
_INVOICES = "outsourcing_invoices"


@dataclass(frozen=True)
class Operations:
    """Frames of the truth; times of rota and downtime are local seconds, of admissions UTC."""

    workforce: pl.DataFrame
    rota: pl.DataFrame
    survey: pl.DataFrame
    invoices: pl.DataFrame
    storage: pl.DataFrame
    contract_lines: pl.DataFrame
    admissions: pl.DataFrame
    downtime: pl.DataFrame
    time_studies: pl.DataFrame


def simulate_operations(
    exam_counts: pl.DataFrame,
    report_counts: pl.DataFrame,
    admissions: pl.DataFrame,
    scanner_downtime: pl.DataFrame,
    network: Network,
    period: Period,
    effects: Adoption,
    scale: float,
    seed: int,
) -> Operations:
    """From the counts of `activity`, the admissions of `beds` and the downtime of the scanners."""
    months = calendar.months_between(period.first_on, period.end_on)
    staff = workforce.monthly_workforce(
        exam_counts, months, effects, np.random.default_rng([seed, 40])
    )
    rota = workforce.reporting_rota(report_counts, effects, np.random.default_rng([seed, 41]))
    return Operations(
        workforce=staff,
        rota=rota,
        survey=workforce.staff_survey(staff, effects, scale, np.random.default_rng([seed, 40, 1])),
        invoices=finance.invoices(report_counts, rota),
        storage=finance.storage_lines(exam_counts, months, effects),
        contract_lines=finance.contract_lines(
            exam_counts, months, effects, np.random.default_rng([seed, 42])
        ),
        admissions=admissions,
        downtime=downtime.record_downtime(
            scanner_downtime, network, period, effects, np.random.default_rng([seed, 44])
        ),
        time_studies=workforce.time_studies(months, effects, np.random.default_rng([seed, 48])),
    )


class MonthlyActivity:
    """What the operations follow from, counted month by month of the exams."""

    def __init__(self, period: Period, seed: int) -> None:
        """Start with nothing counted."""
        self.period, self.seed = period, seed
        self._exams: list[pl.DataFrame] = []
        self._reports: list[pl.DataFrame] = []
        self._admissions: list[pl.DataFrame] = []

    def add(self, exams: pl.DataFrame) -> None:
        """Count the exams of the next month."""
        rng = np.random.default_rng([self.seed, 43, len(self._exams)])
        self._exams.append(activity.count_exams(exams))
        self._reports.append(activity.count_reports(exams))
        self._admissions.append(beds.admissions(exams, self.period.end, rng))

    def operations(self, simulation: Simulation, scale: float) -> Operations:
        """Simulate from all that was counted, and the downtime of the scanners."""
        network = simulation.network
        parties = network.programme_parties["party_code"].to_list()
        return simulate_operations(
            activity.add_up(self._exams),
            activity.add_up(self._reports),
            numbered_anew(pl.concat(self._admissions)),
            simulation.downtime,
            network,
            self.period,
            Adoption.of(simulation.world, simulation.profile.go_lives, parties),
            scale,
            self.seed,
        )


def numbered_anew(admissions: pl.DataFrame) -> pl.DataFrame:
    """The same rows with each number of a party and month given once.

    An exam of the last night of a month may be completed in the next, of which its batch and the
    following one both number admissions.
    """
    month = pl.col("admission_id").str.slice(0, 5)
    number = pl.int_range(1, pl.len() + 1).over("party_code", month).cast(pl.String)
    return admissions.with_columns((month + number.str.zfill(6)).alias("admission_id"))


@cache
def parties_that(habit: str) -> tuple[str, ...]:
    """Parties with a habit of `delivery_habits.csv`: who sends workbooks, where faults are put."""
    rows = read_text_table("delivery_habits")
    return tuple(rows.filter(pl.col("habit") == habit)["party_code"])


def parameters() -> dict[str, Any]:
    """What the truth folder tells beside the effects of the world."""
    return {
        "inpatient_habits": beds.inpatient_habits(),
        "workbook_parties": list(parties_that(WORKBOOK)),
    }


def _clock(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="s").dt.strftime("%d/%m/%Y %H:%M").alias(name)


def _admission_rows(admissions: pl.DataFrame) -> pl.DataFrame:
    """One row per discharge, on the wall clock; month_on is the month of the discharge."""
    rows = admissions.filter(pl.col("discharged").is_not_null())
    local = {
        name: pl.Series(name, calendar.utc_to_local(rows[name].to_numpy()))
        for name in ("admitted", "ready", "discharged")
    }
    return rows.select(
        "party_code",
        activity.local_month(rows["discharged"]),
        "admission_id",
        "patient_id",
        "site_code",
        *(
            pl.from_epoch(values, time_unit="s").dt.strftime("%d/%m/%Y %H:%M").alias(f"{name}_at")
            for name, values in local.items()
        ),
    )


def delivered_feeds(found: Operations) -> dict[str, pl.DataFrame]:
    """Rows by feed as sent, with party_code and month_on to divide them by."""
    return {
        "workforce": found.workforce.drop("vacancy_wte"),
        "reporting_rota": found.rota.with_columns(_clock("session_start"), _clock("session_end")),
        _INVOICES: found.invoices,
        "storage": found.storage,
        "contract_lines": found.contract_lines,
        "admissions": _admission_rows(found.admissions),
        "downtime": found.downtime.with_columns(_clock("down_from"), _clock("down_to")),
        "staff_survey": found.survey,
        "time_studies": found.time_studies,
    }


def write_operations(
    found: Operations, network: Network, period: Period, inbox: Path, ledger: DirtLedger
) -> dict[str, dict[str, int]]:
    """One history file per feed and party, then one per month; returns rows by feed and file."""
    live = period.live_on.replace(day=1)
    months = calendar.months_between(live, period.end_on)
    feeds = delivered_feeds(found)
    feeds[_INVOICES] = _with_faults(feeds[_INVOICES], months, ledger)
    parties = network.programme_parties["party_code"].to_list()
    written: dict[str, dict[str, int]] = {feed: {} for feed in (*feeds, WORKBOOK)}
    month = pl.col("month_on")
    with_workbook = parties_that(WORKBOOK)
    for party in parties:
        mine = {feed: rows.filter(pl.col("party_code") == party) for feed, rows in feeds.items()}
        for feed, rows in mine.items():
            part = rows.filter(month < live)
            file = f"{feed}/{period.live_on}/{feed}_{party}.csv"
            written[feed][file] = write_csv(inbox / file, part)
        for month_on in months:
            sheets = {feed: rows.filter(month == month_on) for feed, rows in mine.items()}
            sheets = {feed: rows for feed, rows in sheets.items() if rows.height}
            if party in with_workbook:
                file = f"{WORKBOOK}/{calendar.month_after(month_on)}/{WORKBOOK}_{party}.xlsx"
                write_bytes(inbox / file, monthly_workbook(party, month_on, sheets))
                written[WORKBOOK][file] = sum(rows.height for rows in sheets.values())
                continue
            for feed, rows in sheets.items():
                file = f"{feed}/{_delivered_on(feed, party, month_on, months)}/{feed}_{party}"
                file += "_late.csv" if _is_late(feed, party, month_on, months) else ".csv"
                written[feed][file] = write_csv(inbox / file, rows)
                if file.endswith("_late.csv"):
                    ledger.add(feed, "late_month", file, None)
    return {feed: files for feed, files in written.items() if files}


def _is_late(feed: str, party: str, month_on: date, months: list[date]) -> bool:
    is_first = feed == "workforce" and month_on == months[0]
    return is_first and party in parties_that("late_month")


def _delivered_on(feed: str, party: str, month_on: date, months: list[date]) -> date:
    """First of the next month; a late month comes a month later."""
    return calendar.month_after(month_on, 2 if _is_late(feed, party, month_on, months) else 1)


def _with_faults(invoices: pl.DataFrame, months: list[date], ledger: DirtLedger) -> pl.DataFrame:
    """Known faults in the invoices of the live months; the truth has none of them.

    The ledger names the invoice in its last column. A line charged twice and credited in the
    next month is right in the end; the others stay wrong.
    """
    first, last = months[0], months[-1]

    def line_of(fault: str, month_on: date) -> pl.Expr:
        rows = invoices.filter(
            pl.col("party_code").is_in(parties_that(fault))
            & (pl.col("month_on") == month_on)
            & (pl.col("service") == "outsourced_report")
        )
        if rows.is_empty():
            return pl.lit(False)
        top = rows.sort("quantity", "line_no", descending=[True, False]).row(0, named=True)
        return (pl.col("invoice_no") == top["invoice_no"]) & (pl.col("line_no") == top["line_no"])

    def note(kind: str, rows: pl.DataFrame, sent_for: date) -> None:
        for party, number in rows.select("party_code", "invoice_no").iter_rows():
            file = f"{_INVOICES}/{calendar.month_after(sent_for)}/{_INVOICES}_{party}.csv"
            ledger.add(_INVOICES, kind, file, number)

    twice = invoices.filter(line_of("duplicate_line", first))
    note("duplicate_line", twice, first)
    charged = invoices.filter(line_of("charged_again", first)).with_columns(
        pl.col("invoice_no") + "X"
    )
    credit = charged.with_columns(
        pl.col("invoice_no") + "C",
        pl.lit(last).alias("month_on"),
        -pl.col("quantity"),
        -pl.col("amount_gbp"),
    )
    note("charged_again", charged, first)
    note("credit_note", credit, last)
    moved, uncoded = line_of("wrong_month", first), line_of("missing_code", last)
    note("wrong_month", invoices.filter(moved), calendar.month_after(first))
    note("missing_code", invoices.filter(uncoded), last)
    after = pl.lit(calendar.month_after(first))
    return pl.concat([invoices, twice, charged, credit]).with_columns(
        month_on=pl.when(moved).then(after).otherwise("month_on"),
        modality_group=pl.when(~uncoded).then("modality_group"),
    )


def _instants(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Local seconds as `<name>_at` (UTC) and `<name>_at_local`."""
    utc = {name: pl.Series(calendar.local_to_utc(rows[name].to_numpy())) for name in names}
    return rows.with_columns(
        *(instant(pl.lit(utc[name])).alias(f"{name}_at") for name in names),
        *(wall(pl.col(name)).alias(f"{name}_at_local") for name in names),
    ).drop(names)


def write_operations_truth(found: Operations, folder: Path) -> None:
    """Write every frame as Parquet, instants in UTC beside the wall clock."""
    frames = {
        "workforce": found.workforce,
        "reporting_rota": _instants(found.rota, "session_start", "session_end"),
        "survey": found.survey,
        "invoices": found.invoices,
        "storage": found.storage,
        "contract_lines": found.contract_lines,
        "admissions": found.admissions.with_columns(
            instant(pl.col(name)).alias(f"{name}_at")
            for name in ("admitted", "ready", "discharged")
        ).drop("admitted", "ready", "discharged"),
        "downtime": _instants(found.downtime, "down_from", "down_to"),
        "time_studies": found.time_studies,
    }
    for name, frame in frames.items():
        write_parquet(folder / f"{name}.parquet", frame)
