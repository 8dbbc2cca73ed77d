"""For whom files are published, and what each may see: the seed audiences, judged on one day."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from pipelines.publishing.suppression import Limits

KINDS = ("demo", "network", "trust", "analyst")
ROWS = ("all", "own", "none")


@dataclass(frozen=True)
class Audience:
    """One audience: its file, whose organisation it is, and which small counts it may not see.

    `row_tables`: row-level tables are in the file whole (all), where the organisation performed or
    reported the exam (own), or not at all (none). `limits` is None where counts stand as they are;
    an organisation sees its own as they are in any case. `least_group`: people that a group of
    patients has at least to be told.
    """

    name: str
    kind: str
    ods_code: str | None
    row_tables: str
    limits: Limits | None
    least_group: int

    def rule(self) -> str:
        """What the file withholds, in words for its readers."""
        if self.limits is None:
            return (
                f"groups of fewer than {self.least_group} patients, in tables by group of patients"
            )
        limits = self.limits
        words = (
            f"counts of {limits.lowest} to {limits.highest} are hidden, other counts are rounded "
            f"to {limits.base} and ratios made of rounded counts"
        )
        if limits.needs_secondary:
            words += "; so is what would tell a hidden count by subtraction from a total"
        if self.ods_code:
            words += f"; the counts of {self.ods_code} itself are as they are"
        return words


def read_audiences(seed: pl.DataFrame, on: date) -> list[Audience]:
    """The audiences in force on a day, in the order of the seed audiences (every cell text).

    Raises ValueError, naming the row, when one is told twice, is of no known kind, or says things
    that contradict each other.
    """
    day = f"{on:%Y-%m-%d}"
    in_force = seed.filter(
        pl.col("valid_from").fill_null("") <= day, pl.col("valid_to").fill_null("9") >= day
    )
    found = [_audience(row) for row in in_force.iter_rows(named=True)]
    names = [audience.name for audience in found]
    if len(set(names)) != len(names):
        raise ValueError(f"seeds/network/audiences.csv tells an audience twice on {day}: {names}")
    return found


def _audience(row: dict[str, str | None]) -> Audience:
    name, kind, rows = row["audience"], row["kind"], row["row_tables"]
    where = f"seeds/network/audiences.csv, audience {name}"
    if kind not in KINDS or rows not in ROWS:
        raise ValueError(f"{where}: kind is one of {KINDS} and row_tables one of {ROWS}")
    if (kind == "trust") != bool(row["ods_code"]) or (rows == "own") != (kind == "trust"):
        raise ValueError(f"{where}: a trust, and nobody else, has an ods_code and its own rows")
    if (kind in ("network", "trust")) != bool(row["highest_hidden_count"]):
        raise ValueError(f"{where}: a network or trust, and nobody else, has small counts hidden")
    limits = None
    if row["highest_hidden_count"]:
        limits = Limits(
            int(row["lowest_hidden_count"] or 1),
            int(row["highest_hidden_count"]),
            int(row["rounding_base"] or 1),
            needs_secondary=row["needs_secondary"] == "true",
        )
    return Audience(
        str(name), str(kind), row["ods_code"], str(rows), limits, int(row["least_group_count"] or 0)
    )
