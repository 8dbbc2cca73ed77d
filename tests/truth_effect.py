"""Monthly shares of each party from the synthetic truth alone: polars only, nothing of pipelines or dbt.

The panels of the effect of go-lives, told a second time on purpose.
"""

from pathlib import Path

import polars as pl

SUPPLIER = pl.col("reporter_org").str.starts_with("ZZ")
# Metric: who counts, and of whom.
SHARES = {
    "R06": (SUPPLIER, pl.lit(True)),
    "R08": (pl.col("reporter_org") != pl.col("party_code"), ~SUPPLIER),
}


def shares(truth: Path, metric_id: str) -> pl.DataFrame:
    """One row per party of the exam and month of its verified report: party_code, month_on, value.

    R06 is the share that a supplier wrote; R08, of those that a network party wrote, the share of
    another party than the exam's. A month without a report that counts has no row.
    """
    counted, of = SHARES[metric_id]
    # one file, or one for each month of a network that was landed at once
    found = truth / "exams.parquet"
    exams = pl.read_parquet(found if found.exists() else truth / "exams" / "*.parquet")
    reports = exams.filter(
        ~pl.col("is_refused")
        & pl.col("completed_at").is_not_null()
        & pl.col("verified_at_local").is_not_null()
        & of
    )
    return (
        reports.group_by(
            "party_code", pl.col("verified_at_local").dt.date().dt.month_start().alias("month_on")
        )
        .agg(counted.mean().alias("value"))
        .sort("party_code", "month_on")
    )
