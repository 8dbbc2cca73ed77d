"""The organisation roll-up of the marts, for statistics that need every exam of a group."""

from collections.abc import Sequence

import polars as pl

LEVELS = {
    "network": pl.lit("NETWORK"),
    "party": pl.col("party_code"),
    "trust": pl.col("trust_code"),
}


def rolled_up(exams: pl.DataFrame, levels: Sequence[str] = tuple(LEVELS)) -> pl.DataFrame:
    """Two rows per exam and level (network, party, trust): by modality group and for All.

    `exams` has party_code, trust_code, modality_group; the result has org_level, org_code and
    modality_group in their place. A figure over a group is computed over its exams, never from
    the figures of smaller groups.
    """
    keys = ("party_code", "trust_code", "modality_group")
    others = [name for name in exams.columns if name not in keys]
    return pl.concat(
        exams.select(
            pl.lit(level).alias("org_level"),
            LEVELS[level].alias("org_code"),
            modality.alias("modality_group"),
            *others,
        )
        for level in levels
        for modality in (pl.col("modality_group"), pl.lit("All"))
    )
