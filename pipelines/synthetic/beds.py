"""Admissions of inpatients who were imaged: some leave later because a report comes late."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.activity import local_month
from pipelines.synthetic.calendar import DAY, HOUR, MINUTE
from pipelines.synthetic.demand import INPATIENT
from pipelines.synthetic.reference_tables import read_text_table

_NEVER = 2**60


def inpatient_habits() -> dict[str, float]:
    """The figures of reference/inpatient_habits.csv by name."""
    rows = read_text_table("inpatient_habits").select("habit", "value").iter_rows()
    return {habit: float(value) for habit, value in rows}


def admissions(exams: pl.DataFrame, end: int, rng: np.random.Generator) -> pl.DataFrame:
    """One row per inpatient, party and month of exam: instants in UTC seconds.

    From any batch that holds whole months (party_code, site_code, patient_id, source_setting,
    requested, completed, verified). A patient imaged on both sides of a month's end is admitted
    twice. discharged is null when it lies past `end`. delay_seconds is what waiting for the
    report added; it is nobody's to know but the truth's.
    """
    habits = inpatient_habits()
    done = exams.filter((pl.col("source_setting") == INPATIENT) & pl.col("completed").is_not_null())
    rows = (
        done.with_columns(local_month(done["completed"]).alias("exam_month_on"))
        .group_by("party_code", "exam_month_on", "patient_id")
        .agg(
            pl.col("site_code").first(),
            pl.col("requested").min(),
            pl.col("completed").max(),
            pl.col("verified").max(),
            exam_count=pl.len(),
        )
        .sort("party_code", "exam_month_on", "patient_id")
    )
    count = len(rows)
    waits = rng.random(count) < habits["waits_for_report_rate"]
    usual = np.where(waits, habits["ready_hours_when_waiting"], habits["ready_hours_otherwise"])
    ready_after = usual * np.exp(0.8 * rng.standard_normal(count))
    completed = rows["completed"].to_numpy()
    ready = completed + (ready_after * HOUR).astype(np.int64)
    report = rows["verified"].fill_null(_NEVER).to_numpy()
    report = np.minimum(report, completed + int(habits["longest_wait_hours"] * HOUR))
    told = report + int(habits["minutes_from_report_to_discharge"] * MINUTE)
    without = _by_day(ready)
    leaves = np.where(waits, _by_day(np.maximum(ready, told)), without)
    before = (rng.uniform(1, 30, count) * HOUR).astype(np.int64)
    number = pl.int_range(1, pl.len() + 1).over("party_code", "exam_month_on").cast(pl.String)
    month = pl.col("exam_month_on").dt.strftime("%y%m")
    return rows.select(
        "party_code",
        (pl.lit("E") + month + number.str.zfill(6)).alias("admission_id"),
        "patient_id",
        "site_code",
        "exam_count",
        (pl.col("requested") - pl.Series(before)).alias("admitted"),
        pl.Series("ready", np.where(waits, np.maximum(ready, told), ready)),
        pl.Series("discharged", leaves),
        pl.Series("is_waiting_for_report", waits),
        pl.Series("delay_seconds", leaves - without),
    ).with_columns(
        pl.when(pl.col(name) < end).then(name).alias(name) for name in ("ready", "discharged")
    )


def _by_day(utc: np.ndarray) -> np.ndarray:
    """Nobody goes home at night: before 09:00 waits for 09:00, after 20:00 for the next day."""
    local = calendar.utc_to_local(utc)
    second = local % DAY
    morning = local - second + 9 * HOUR
    moved = np.select([second < 9 * HOUR, second > 20 * HOUR], [morning, morning + DAY], local)
    return calendar.local_to_utc(moved)
