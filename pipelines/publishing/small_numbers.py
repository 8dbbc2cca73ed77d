"""Small groups of patients: what readers of a file may not see, nor work out by subtraction.

A group smaller than the audience is allowed is withheld. So is the next smallest beside it where
the total less what is shown would tell it: among the groups of one organisation, the trusts of the
network, the modalities of an organisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipelines.publishing.suppression import Limits, Margin, hidden_cells, row_lines

PLACE = ("org_level", "org_code", "modality_group", "patient_group")
# The total of the groups is no row here: it is the figure of everybody, which readers have.
MARGINS = (
    Margin(("patient_group",), pl.lit(False), is_told_elsewhere=True),
    Margin(("modality_group",), pl.col("modality_group") == "All"),
    Margin(("org_level", "org_code"), pl.col("org_level") == "network"),
)
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
    sizes = rows[spec.size].cast(pl.Float64).fill_null(0).to_numpy()
    hidden = np.zeros(rows.height, dtype=bool)
    if least > 1:
        limits = Limits(lowest=1, highest=least - 1, base=1, needs_secondary=True)
        hidden = hidden_cells(sizes, row_lines(rows, keys, MARGINS), limits)
    return _emptied(rows.with_columns(is_withheld=pl.Series(hidden, dtype=pl.Boolean)), spec)


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
