"""Small groups of patients: what readers of a file may not see, nor work out by subtraction.

A group smaller than the audience is allowed is withheld. So is the next smallest beside it where
the total less what is shown would tell it: among the groups of one organisation, the trusts of the
network, the modalities of an organisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

PLACE = ("org_level", "org_code", "modality_group", "patient_group")
IS_NETWORK = pl.col("org_level") == "network"
IS_EVERY_MODALITY = pl.col("modality_group") == "All"
IS_LEAST_DEPRIVED = pl.col("patient_group") == "5 least deprived"


@dataclass(frozen=True)
class SmallNumbers:
    """How a table of patient groups is read: `meta.small_numbers` of its model or statistic.

    `size` counts the people or exams of a row, `within` are the columns beside PLACE that make a
    row, `figures` are emptied where a row is withheld, and `against_least_deprived` also where the
    least deprived quintile of the same organisation is. `known_rate` is emptied where the group
    that is not known is.
    """

    size: str
    within: tuple[str, ...]
    figures: tuple[str, ...]
    against_least_deprived: tuple[str, ...]

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "SmallNumbers":
        """From its description; raises KeyError when a part is missing."""
        return cls(
            size=told["size"],
            within=tuple(told["within"]),
            figures=tuple(told["figures"]),
            against_least_deprived=tuple(told["against_least_deprived"]),
        )


def withhold(frame: pl.DataFrame, spec: SmallNumbers, *, least: int) -> pl.DataFrame:
    """The same rows, in the order of their keys, with `is_withheld` set and their figures empty.

    `least` people or exams make a group that may be told. Raises ValueError on a least below 1.
    """
    if least < 1:
        raise ValueError(f"the smallest group that may be told has {least} people; give 1 or more")
    keys = (*spec.within, *PLACE)
    rows = frame.sort(keys)
    hidden = rows.select(pl.col(spec.size).is_between(1, least - 1)).to_series()
    while True:
        found = hidden.sum()
        for line, is_total in _lines(spec):
            hidden = hidden | _protecting(rows, hidden, spec.size, line, is_total, least)
        if hidden.sum() == found:
            break
    return _emptied(rows.with_columns(hidden.alias("is_withheld")), spec)


def _emptied(rows: pl.DataFrame, spec: SmallNumbers) -> pl.DataFrame:
    """The same rows without the figures that a withheld row would tell."""
    everybody = [*spec.within, *(name for name in PLACE if name != "patient_group")]
    is_withheld = pl.col("is_withheld")
    told_by = dict.fromkeys(spec.figures, is_withheld)
    told_by["known_rate"] = (is_withheld & ~pl.col("is_group_known")).any().over(everybody)
    for name in spec.against_least_deprived:
        beside = (is_withheld & IS_LEAST_DEPRIVED).any().over(everybody)
        told_by[name] = told_by.get(name, pl.lit(False)) | beside
    return rows.with_columns(
        pl.when(is_told).then(None).otherwise(pl.col(name)).alias(name)
        for name, is_told in told_by.items()
    )


def _lines(spec: SmallNumbers) -> list[tuple[list[str], pl.Expr]]:
    """What adds up: the columns that stay, and which row of a line is its total.

    The total of the groups is no row here: it is the figure of everybody, which readers have.
    """
    stays = {
        "patient_group": pl.lit(False),
        "modality_group": IS_EVERY_MODALITY,
        "org_code": IS_NETWORK,
    }
    dropped = {"org_code": {"org_code", "org_level"}}
    keys = (*spec.within, *PLACE)
    return [
        ([name for name in keys if name not in dropped.get(varies, {varies})], is_total)
        for varies, is_total in stays.items()
    ]


def _protecting(
    rows: pl.DataFrame,
    hidden: pl.Series,
    size: str,
    line: list[str],
    is_total: pl.Expr,
    least: int,
) -> pl.Series:
    """Rows to withhold too: in each line that tells what is withheld, the smallest still shown."""
    is_part = ~is_total & (pl.col(size) > 0)
    is_gone = pl.col("hidden") & is_part
    marked = rows.with_columns(hidden.alias("hidden")).with_columns(
        is_part.alias("part"),
        (pl.col("hidden") & is_total).any().over(line).alias("total_gone"),
        is_gone.sum().over(line).alias("gone_count"),
        pl.when(is_gone).then(pl.col(size)).otherwise(0).sum().over(line).alias("gone_size"),
    )
    # One row withheld alone is the total less the rest, whatever its size: and it may protect
    # another. Of several the sum is told; it must be no small number itself.
    alone = (pl.col("gone_count") == 1) | pl.col("gone_size").is_between(1, least - 1)
    tells = pl.when("total_gone").then(pl.col("gone_count") == 0).otherwise(alone)
    could = marked.select(pl.when(tells & pl.col("part") & ~pl.col("hidden")).then(pl.col(size)))
    order = could.to_series().alias("order")
    return marked.with_columns(order).select(
        (pl.col("order").rank("ordinal").over(line) == 1).fill_null(False)
    )[:, 0]
