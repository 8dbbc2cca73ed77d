"""Which files of a batch land, which records are rejected, which files are refused whole."""

import math
from dataclasses import dataclass

import polars as pl

from pipelines.contracts import Contract
from pipelines.quality.suites import batch_rules


@dataclass(frozen=True)
class Verdict:
    """`rejected`: first broken rule per record; `refused`: (source_sha, rule, count, rows) where
    one rule is broken more often than the contract tolerates."""

    rejected: pl.DataFrame
    refused: pl.DataFrame


def judge(broken: pl.DataFrame, received: dict[str, int], contract: Contract) -> Verdict:
    """Weigh the broken rules of a batch against the contract's tolerances, file by file.

    `broken` is VIOLATION_SCHEMA, `received` the records per source_sha. A file is refused when
    one rule is broken by more records than max(tolerance rows, tolerance percent of the file).
    """
    refused = [
        (sha, rule, count, received[sha])
        for sha, rule, count in broken.group_by("source_sha", "rule", maintain_order=True)
        .agg(pl.col("row_no").n_unique())
        .iter_rows()
        if count > tolerated(contract, rule, received[sha])
    ]
    return Verdict(
        rejected=broken.unique(["source_sha", "row_no"], keep="first", maintain_order=True),
        refused=pl.DataFrame(
            refused,
            schema={
                "source_sha": pl.String,
                "rule": pl.String,
                "broken_count": pl.Int64,
                "row_count": pl.Int64,
            },
            orient="row",
        ).unique("source_sha", keep="first", maintain_order=True),
    )


def allowed(rows: int, percent: float, minimum: int) -> int:
    """Records of a file that may break one rule: the larger of a share and a small number."""
    return 0 if percent == 0 and minimum == 0 else max(minimum, math.floor(rows * percent / 100))


def tolerated(contract: Contract, rule: str, rows: int) -> int:
    """Records of a file with `rows` records that may break a rule before the file is refused."""
    for known in batch_rules(contract):
        if known.name == rule:
            return allowed(rows, known.tolerance_percent, known.tolerance_rows)
    # Records that could not even be read broke no rule of the contract, but a reader's.
    percent = float(contract.settings.get("unreadableTolerancePercent", 5.0))
    return allowed(rows, percent, int(contract.settings.get("unreadableToleranceRows", 5)))
