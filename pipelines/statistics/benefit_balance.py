"""The cash balance of the programme by party and month, and the costs it stands on."""

from collections.abc import Mapping
from datetime import date

import polars as pl

# In the order in which they stand beside each other; UB has no pounds.
MONETISED = ("CRB", "NCRB", "SB")
BALANCE = (
    "party", "month", "crb_gbp", "ncrb_gbp", "sb_gbp", "cost_gbp", "net_cash_gbp",
    "net_cash_empty_because",
)  # fmt: skip
LEFT_OUT = {"benefit_id": pl.String, "party": pl.String, "from_month": pl.Date}


def balance_by_party(
    by_month: pl.DataFrame,
    costs: pl.DataFrame,
    unpriced: Mapping[str, str] | None = None,
    left_out: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row per party and month: realised by class, costs, and cash-releasing less costs.

    `by_month` of `counted_once`, `costs` of `costs_by_month` (several rows of one month are added
    up; an empty one is a cost that is not valued, and `unpriced` says why, by cost). `left_out`:
    benefit_id, party, from_month of cash-releasing lines that count and cannot be valued at all.
    crb_gbp, ncrb_gbp and sb_gbp stand beside each other and are never added; each is of the lines
    that can be told, and empty where none can. net_cash_gbp is crb_gbp less cost_gbp, only where it
    is whole: every cash-releasing line of the party and month is told and every cost valued. Else it
    is empty and net_cash_empty_because says why. A month without a cost row cost nothing.
    """
    counted = by_month.filter(pl.col("is_counted"))
    is_cash, is_told = pl.col("benefit_class") == "CRB", pl.col("realised_gbp").is_not_null()

    def of_class(name: str) -> pl.Expr:
        found = pl.col("realised_gbp").filter(pl.col("benefit_class") == name).drop_nulls()
        return pl.when(found.len() > 0).then(found.sum()).alias(f"{name.lower()}_gbp")

    gained = counted.group_by("party", "month").agg(
        *(of_class(name) for name in MONETISED),
        is_cash.sum().alias("cash_count"),
        _listed(pl.col("benefit_id").filter(is_cash & ~is_told), ", ").alias("untold"),
    )
    is_valued = pl.col("cost_gbp").is_not_null()
    why = pl.col("cost_id").filter(~is_valued).replace(dict(unpriced or {}))
    paid = costs.group_by("party", "month").agg(
        pl.when(is_valued.all()).then(pl.col("cost_gbp").sum()).alias("cost_gbp"),
        _listed(why, "; ").alias("unpriced"),
    )
    rows = gained.join(paid, on=("party", "month"), how="full", coalesce=True)
    lacking = pl.DataFrame(schema=LEFT_OUT) if left_out is None else left_out
    never = (
        rows.join(lacking, on="party")
        .filter(pl.col("month") >= pl.col("from_month"))
        .group_by("party", "month")
        .agg(_listed(pl.col("benefit_id"), ", ").alias("never"))
    )
    no_cost = pl.col("unpriced").is_null()
    because = pl.concat_str(
        _said("unpriced", "{}"),
        _said("never", "{} cannot be valued: statistics.benefit_ledger says why"),
        _said("untold", "{} has no value in the month: statistics.realised_benefits says why"),
        pl.when(pl.col("cash_count").fill_null(0) == 0)
        .then(pl.lit("no cash-releasing line has a month after a go-live of the party")),
        separator="; ",
        ignore_nulls=True,
    )  # fmt: skip
    return (
        rows.join(never, on=("party", "month"), how="left")
        .with_columns(pl.when(no_cost).then(0.0).otherwise(pl.col("cost_gbp")).alias("cost_gbp"))
        .with_columns(pl.when(because != "").then(because).alias("net_cash_empty_because"))
        .with_columns(
            pl.when(pl.col("net_cash_empty_because").is_null())
            .then(pl.col("crb_gbp") - pl.col("cost_gbp"))
            .alias("net_cash_gbp")
        )
        .select(BALANCE)
        .sort("party", "month")
    )


def _listed(names: pl.Expr, separator: str) -> pl.Expr:
    return names.unique().sort().str.join(separator)


def _said(name: str, words: str) -> pl.Expr:
    """The words with what a column lists; null where it lists nothing."""
    listed = pl.col(name)
    return pl.when(listed.fill_null("") != "").then(pl.format(words, listed))


def costs_by_month(costs: pl.DataFrame, parties: pl.Series, *, until: date) -> pl.DataFrame:
    """One row per cost, party and month up to `until`: cost_id, party, month, cost_gbp.

    `costs` has the columns of the seed programme_costs; NETWORK is shared equally by `parties`. A
    cost without a price year raises ValueError: it cannot be set against real benefits.
    """
    nameless = costs.filter(pl.col("price_base_year").is_null())["cost_id"].to_list()
    if nameless:
        raise ValueError(f"{', '.join(nameless)}: no price_base_year; ask finance which")
    owners = pl.DataFrame({"party": parties})
    months = costs.with_columns(
        pl.date_ranges(
            "from_month", pl.min_horizontal(pl.col("to_month").fill_null(until), until), "1mo"
        ).alias("month")
    ).explode("month")
    is_owner = (pl.col("party_code") == "NETWORK") | (pl.col("party_code") == pl.col("party"))
    return (
        months.drop_nulls("month")
        .join(owners, how="cross")
        .filter(is_owner)
        .select(
            "cost_id",
            "party",
            "month",
            (pl.col("gbp_per_month") / pl.len().over("cost_id", "month")).alias("cost_gbp"),
        )
        .sort("cost_id", "party", "month")
    )
