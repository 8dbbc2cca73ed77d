"""Invoices, storage and contract lines that follow from reports, sessions and exams.

Every amount is quantity times a price of the month's financial year, in pounds of that year
without VAT. Prices are rows of `reference/reporting_prices.csv` and `operating_prices.csv`.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import middle_of
from pipelines.synthetic.reference_tables import read_text_table
from pipelines.synthetic.workforce import SESSION_HOURS, whole_number

GB_PER_TB = 1000
# The archive held this many years of exams when the period began.
_YEARS_HELD = 6
_COURIER_RATE = 0.2


def financial_year(month_on: pl.Expr) -> pl.Expr:
    """Year in which the financial year of a date begins (April)."""
    return month_on.dt.year() - (month_on.dt.month() < 4).cast(pl.Int32)


def price_in_year(month_on: pl.Expr) -> pl.Expr:
    """Price of the month's financial year, from price_gbp, price_year, yearly_change_rate."""
    years = financial_year(month_on) - pl.col("price_year")
    return pl.col("price_gbp") * (1 + pl.col("yearly_change_rate")) ** years


def as_money(amount: pl.Expr) -> pl.Expr:
    """Pounds and pence as decimals, so that sums are exact."""
    return amount.round(2).cast(pl.Decimal(14, 2))


def _prices(table: str) -> pl.DataFrame:
    return read_text_table(table).with_columns(
        pl.col("price_gbp", "yearly_change_rate").cast(pl.Float64),
        pl.col("price_year").cast(pl.Int32),
    )


def invoices(report_counts: pl.DataFrame, rota: pl.DataFrame) -> pl.DataFrame:
    """One row per invoice line: what a supplier asks of the acquiring party for a month.

    Bought reports by modality group and urgency, from `activity.count_reports`; insourced hours
    from the insourced sessions of `workforce.reporting_rota`.
    """
    prices = _prices("reporting_prices")
    bought = report_counts.rename({"reporter_org": "supplier_code"}).join(
        prices.filter(pl.col("service") == "outsourced_report"),
        on=["supplier_code", "modality_group", "urgency"],
    )
    hours = (
        rota.filter(pl.col("pay_type") == "insourced")
        .group_by("party_code", "month_on")
        .agg(quantity=pl.len().cast(pl.Int64) * SESSION_HOURS)
        .join(prices.filter(pl.col("service") == "insourced_reporting"), how="cross")
    )
    names = (
        "supplier_code", "party_code", "month_on", "service", "modality_group", "urgency", "unit",
        "quantity",
    )  # fmt: skip
    price = price_in_year(pl.col("month_on")).round(2)
    month = pl.col("month_on").dt.strftime("%y%m")
    return (
        pl.concat(
            frame.select(*names, unit_price_gbp=price)
            for frame in (bought.rename({"report_count": "quantity"}), hours)
        )
        .sort("supplier_code", "party_code", "month_on", "service", "modality_group", "urgency")
        .with_columns(
            invoice_no=pl.col("supplier_code") + "-" + pl.col("party_code") + "-" + month,
            line_no=pl.int_range(1, pl.len() + 1).over("supplier_code", "party_code", "month_on"),
            amount_gbp=as_money(pl.col("quantity") * pl.col("unit_price_gbp")),
            unit_price_gbp=as_money(pl.col("unit_price_gbp")),
        )
        .select("invoice_no", "line_no", *names, "unit_price_gbp", "amount_gbp")
    )


def _priced(rows: pl.DataFrame, item: str, factor: pl.Series | float = 1.0) -> pl.DataFrame:
    price = _prices("operating_prices").filter(pl.col("item") == item)
    return rows.join(price, how="cross").with_columns(
        price=price_in_year(pl.col("month_on")) * factor
    )


def _per_party(exam_counts: pl.DataFrame, months: list[date]) -> pl.DataFrame:
    """One row per party and month, also where nothing was done: exam_count."""
    known = exam_counts.group_by("party_code", "month_on").agg(pl.col("exam_count").sum())
    grid = known.select("party_code").unique().join(pl.DataFrame({"month_on": months}), how="cross")
    return (
        grid.join(known, on=["party_code", "month_on"], how="left")
        .with_columns(pl.col("exam_count").fill_null(0))
        .sort("party_code", "month_on")
    )


def _since(rows: pl.DataFrame, live: dict[str, date], after: int = 0) -> pl.Series:
    """True from the month a go-live (moved by some months) lies in."""
    never = date(2999, 1, 1)
    party, months = rows["party_code"].to_list(), rows["month_on"].to_list()
    starts = (calendar.month_after(live.get(p, never), after) for p in party)
    return pl.Series([m >= s for m, s in zip(months, starts, strict=True)], dtype=pl.Boolean)


def _factor(effects: Adoption, name: str, rows: pl.DataFrame, live: pl.Series) -> pl.Series:
    after = effects.world.effect(name, rows["party_code"].to_list())
    return pl.Series(np.where(live.to_numpy(), after, 1.0))


def storage_lines(exam_counts: pl.DataFrame, months: list[date], effects: Adoption) -> pl.DataFrame:
    """One row per party and month: terabytes added and held, where, and what holding them costs.

    Everything moves to the shared archive in the month of the archive go-live.
    """
    sizes = read_text_table("storage_sizes").with_columns(pl.col("gb_per_exam").cast(pl.Float64))
    added = (
        exam_counts.join(sizes, on="modality_group")
        .group_by("party_code", "month_on")
        .agg(added=(pl.col("exam_count") * pl.col("gb_per_exam")).sum() / GB_PER_TB)
    )
    rows = (
        _per_party(exam_counts, months)
        .join(added, on=["party_code", "month_on"], how="left")
        .with_columns(pl.col("added").fill_null(0.0))
        .sort("party_code", "month_on")
    )
    opening = pl.col("added").head(12).mean().over("party_code") * 12 * _YEARS_HELD
    rows = rows.with_columns(held=opening + pl.col("added").cum_sum().over("party_code"))
    shared = _since(rows, effects.live_on("archive"))
    priced = _priced(
        rows,
        "archive_storage",
        _factor(effects, "storage_price_factor_after", rows, shared),
    )
    place = pl.when(shared).then(pl.lit("shared")).otherwise(pl.lit("local"))
    return priced.select(
        "party_code",
        "month_on",
        place.alias("archive"),
        pl.col("added").round(4).alias("added_tb"),
        pl.col("held").round(4).alias("held_tb"),
        as_money(pl.col("price")).alias("price_gbp_per_tb_year"),
        as_money(pl.col("held").round(4) * pl.col("price").round(2) / 12).alias("amount_gbp"),
    )


def contract_lines(
    exam_counts: pl.DataFrame,
    months: list[date],
    effects: Adoption,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per party, month and line: image system contract, discs, courier journeys.

    The local contract runs until a year after the archive go-live, the regional one from then;
    both are shared by size, which is the mean yearly number of exams.
    """
    rows = _per_party(exam_counts, months).with_columns(
        size=pl.col("exam_count").mean().over("party_code") * 12
    )
    regional = _since(rows, effects.live_on("archive"), 12)
    contract = _priced(
        rows, "pacs_contract", _factor(effects, "contract_price_factor_after", rows, regional)
    ).with_columns(
        line_type=pl.when(regional)
        .then(pl.lit("regional_contract"))
        .otherwise(pl.lit("local_pacs_support")),
        quantity=(pl.col("size") / 12).round(2),
    )
    rate = effects.level_at(
        "media_rate", rows["party_code"].to_list(), middle_of(rows["month_on"].to_list())
    )
    discs = rng.poisson(rows["exam_count"].to_numpy() * rate / 1000)
    journeys = whole_number(discs * _COURIER_RATE, rng)
    media = [
        _priced(rows, item).with_columns(
            line_type=pl.lit(item), quantity=pl.Series(number).cast(pl.Float64)
        )
        for item, number in (("disc", discs), ("courier", journeys))
    ]
    price = pl.col("price").round(4)
    return (
        pl.concat(
            frame.select(
                "party_code",
                "month_on",
                "line_type",
                "quantity",
                "unit",
                price.alias("unit_price_gbp"),
                as_money(pl.col("quantity") * price).alias("amount_gbp"),
            )
            for frame in (contract, *media)
        )
        .filter(pl.col("quantity") > 0)
        .sort("party_code", "month_on", "line_type")
    )
