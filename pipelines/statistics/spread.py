"""How far apart the trusts of a network are: the ends, and the middle half."""

import polars as pl

KEYS = ("metric_id", "modality_group", "period_start_on")
# Each patient moves a share of fewer by more than three points, and the smallest trusts would be
# at both ends every month.
LEAST_SIZE = 30
# The middle half of fewer trusts is one or two of them.
LEAST_TRUSTS = 4


def between_trusts(values: pl.DataFrame) -> pl.DataFrame:
    """One row per metric, modality group and month that at least two trusts can be compared in.

    `values` has one row per trust: KEYS, trust_code, `value` (in the unit of the metric, null where
    there is none) and `size` (patients or exams it stands on). Trusts without a value or of fewer
    than LEAST_SIZE are counted in left_out_count. Quartiles are interpolated, and null for fewer
    than LEAST_TRUSTS. Columns are described in pipelines/statistics/tables.py.
    """
    is_compared = pl.col("value").is_not_null() & (pl.col("size") >= LEAST_SIZE)
    ordered = values.filter(is_compared).sort("value", "trust_code")
    left_out = values.filter(~is_compared).group_by(KEYS).agg(pl.len().alias("left_out_count"))
    value, is_enough = pl.col("value"), pl.len() >= LEAST_TRUSTS
    quartiles = {
        name: pl.when(is_enough).then(value.quantile(share, "linear"))
        for name, share in (("lower_quartile", 0.25), ("upper_quartile", 0.75))
    }
    return (
        ordered.group_by(KEYS)
        .agg(
            pl.len().cast(pl.Int64).alias("trust_count"),
            value.first().alias("lowest"),
            value.last().alias("highest"),
            (value.last() - value.first()).alias("gap"),
            *(found.alias(name) for name, found in quartiles.items()),
            pl.col("trust_code").first().alias("lowest_trust_code"),
            pl.col("size").first().alias("lowest_size"),
            pl.col("trust_code").last().alias("highest_trust_code"),
            pl.col("size").last().alias("highest_size"),
        )
        .filter(pl.col("trust_count") > 1)
        .join(left_out, on=KEYS, how="left")
        .select(
            *KEYS,
            "trust_count",
            pl.col("left_out_count").fill_null(0).cast(pl.Int64),
            "lowest",
            "lower_quartile",
            "upper_quartile",
            "highest",
            "gap",
            (pl.col("upper_quartile") - pl.col("lower_quartile")).alias("quartile_gap"),
            "lowest_trust_code",
            "lowest_size",
            "highest_trust_code",
            "highest_size",
        )
        .sort(KEYS)
    )
