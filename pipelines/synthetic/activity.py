"""Small counts of exams and reports, from any batch of exams; counts of batches add up."""

from __future__ import annotations

import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.calendar import DAY


def local_month(seconds: pl.Series) -> pl.Series:
    """First day of the London month of UTC seconds without nulls."""
    day = calendar.utc_to_local(seconds.to_numpy()) // DAY
    return pl.Series("month_on", day).cast(pl.Int32).cast(pl.Date).dt.month_start()


def count_exams(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per party, month of the exam's end, modality group and setting: exam_count."""
    done = exams.filter(pl.col("completed").is_not_null())
    return add_up(
        [
            done.select(
                "party_code",
                local_month(done["completed"]),
                "modality_group",
                "source_setting",
                exam_count=pl.lit(1, pl.Int64),
            )
        ]
    )


def count_reports(exams: pl.DataFrame) -> pl.DataFrame:
    """One row per acquiring party, reporting organisation, month, modality group and urgency.

    report_count is of verified reports by month of verification; urgent are priorities S and U.
    """
    done = exams.filter(pl.col("verified").is_not_null())
    urgent = pl.col("priority").is_in(["S", "U"])
    return add_up(
        [
            done.select(
                "party_code",
                "reporter_org",
                local_month(done["verified"]),
                "modality_group",
                urgency=pl.when(urgent).then(pl.lit("urgent")).otherwise(pl.lit("routine")),
                report_count=pl.lit(1, pl.Int64),
            )
        ]
    )


def add_up(counts: list[pl.DataFrame]) -> pl.DataFrame:
    """The sum of counts of several batches; the last column is the count."""
    together = pl.concat(counts)
    *keys, count = together.columns
    return together.group_by(keys).agg(pl.col(count).sum()).sort(keys)
