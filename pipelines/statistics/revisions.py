"""Late changes to published months: what was published of them first, before, and now."""

import polars as pl

KEYS = ("metric_id", "org_level", "org_code", "modality_group", "period_start_on")
FIGURES = ("numerator", "denominator", "value")
COLUMNS = (
    *KEYS,
    *(f"first_{name}" for name in FIGURES),
    "first_build_id",
    "first_published_at",
    *(f"previous_{name}" for name in FIGURES),
    *FIGURES,
    "is_published",
    "change_since_first",
    "change_since_previous",
    "revision_count",
    "changed_in_build_id",
    "changed_at",
)


def revisions(history: pl.DataFrame) -> pl.DataFrame:
    """One row per metric, organisation, modality and month whose published figures changed.

    `history` has one row per row of a publication that was new, other or gone against the one
    before: KEYS, FIGURES (null where gone), `is_published` (False where gone), `build_id` (sorts
    by time) and `published_at`. A row that appears where its metric and month had been published
    for others is a change, too: it was published as nothing. Columns as COLUMNS, described in
    pipelines/statistics/tables.py; the newest change first.
    """
    month = ("metric_id", "period_start_on")
    ordered = history.sort("build_id", maintain_order=True)
    # When readers first saw this metric for this month, of whichever organisation.
    first = (
        ordered.filter(pl.col("is_published"))
        .group_by(month)
        .agg(
            pl.col("build_id").first().alias("first_build_id"),
            pl.col("published_at").first().alias("first_published_at"),
        )
    )
    told = ordered.join(first, on=month, maintain_order="left").with_columns(
        (pl.col("build_id") == pl.col("first_build_id")).alias("is_first"),
        *(pl.col(name).shift().over(KEYS).alias(f"earlier_{name}") for name in FIGURES),
    )
    return (
        told.group_by(KEYS)
        .agg(
            *(pl.col(n).filter(pl.col("is_first")).first().alias(f"first_{n}") for n in FIGURES),
            pl.col("first_build_id", "first_published_at").first(),
            *(pl.col(f"earlier_{n}").last().alias(f"previous_{n}") for n in FIGURES),
            pl.col(*FIGURES, "is_published").last(),
            (~pl.col("is_first")).sum().cast(pl.Int64).alias("revision_count"),
            pl.col("build_id").last().alias("changed_in_build_id"),
            pl.col("published_at").last().alias("changed_at"),
        )
        .filter(pl.col("revision_count") > 0)
        .with_columns(
            (pl.col("value") - pl.col("first_value")).alias("change_since_first"),
            (pl.col("value") - pl.col("previous_value")).alias("change_since_previous"),
        )
        .select(COLUMNS)
        .sort("changed_in_build_id", *KEYS, descending=[True] + [False] * len(KEYS))
    )
