"""Counting rules of the gate: nothing lost, nothing counted twice."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Imbalance:
    """A source file whose records do not add up."""

    file_name: str
    received: int
    landed: int
    rejected: int


def imbalances(receipts: pl.DataFrame) -> list[Imbalance]:
    """Source files where received is not landed + rejected (contract receipts)."""
    wrong = receipts.filter(
        pl.col("rows_received") != pl.col("rows_landed") + pl.col("rows_rejected")
    )
    columns = ("file_name", "rows_received", "rows_landed", "rows_rejected")
    return [Imbalance(*row) for row in wrong.select(columns).iter_rows()]


def unbacked_rejects(receipts: pl.DataFrame, rejects: pl.DataFrame) -> list[str]:
    """Source files whose rejects are not as many as their receipt says."""
    source = ["feed_kind", "source_sha"]
    counted = rejects.group_by(source).agg(pl.len().cast(pl.Int64).alias("found"))
    joined = receipts.join(counted, on=source, how="left").with_columns(
        pl.col("found").fill_null(0)
    )
    return joined.filter(pl.col("found") != pl.col("rows_rejected"))["file_name"].to_list()
