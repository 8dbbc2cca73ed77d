"""The monthly national return of diagnostic waits (DM01), in the columns of the published file.

Layout: NHS England, Monthly Diagnostics Waiting Times and Activity, sheet "Provider by Test" of
the provider web file; one row per trust and test. A row that would hold only zeros is no row, and
a trust whose list nobody tells has none: missing means not reported, never 0.
"""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import duckdb
import polars as pl

from pipelines.exports.dids import ExportProblem

BANDS = 14
LISTS = {
    "waiting_list_count": "Total Waiting List",
    "waiting_6_plus_count": "Number waiting 6+ Weeks",
    "waiting_13_plus_count": "Number waiting 13+ Weeks",
}
CATEGORY = "Imaging"
STREAMS = {
    "activity_planned_count": "Planned tests / procedures",
    "activity_unscheduled_count": "Unscheduled tests / procedures",
    "activity_waiting_list_count": "Waiting list tests / procedures (excluding planned)",
}
_COUNTS = f"""
    select
        waits.census_on, waits.org_code, trusts.trust_name, tests.dm01_test_id,
        tests.dm01_test_name, {", ".join(LISTS)}, {{bands}}, {", ".join(STREAMS)}
    from marts.rpt_waiting_times_monthly as waits
    inner join intermediate.int_months as months on waits.census_on = months.census_on
    inner join seeds.dm01_tests as tests on waits.dm01_test = tests.dm01_test
    left join marts.dim_trust as trusts
        on waits.org_code = trusts.trust_code
        and waits.census_on >= coalesce(trusts.valid_from, waits.census_on)
        and waits.census_on <= coalesce(trusts.valid_to, waits.census_on)
    where waits.org_level = 'trust' and months.is_complete and months.month_on = $month
    order by waits.org_code, tests.dm01_test_id
"""
_HALF_TOLD = """
    select distinct owners.trust_code
    from intermediate.int_site_owners as owners
    inner join intermediate.int_parties_without_list as silent
        on owners.party_code = silent.party_code
    inner join intermediate.int_months as months
        on months.census_on between owners.valid_from and owners.valid_to
    where months.month_on = $month and owners.site_code <> 'Unknown'
    order by owners.trust_code
"""


@dataclass(frozen=True)
class Return:
    """One file of the return.

    `table`: the published columns, integers but for the percentage (Decimal, a fraction rounded
    half up to three places). `without_list`: trusts left out because nobody tells who waits.
    `half_told`: trusts in the file of which one party tells no list, so that theirs is too short.
    `of_no_trust`: patients waiting and tests done at a site, and so a trust, that is not known.
    """

    table: pl.DataFrame
    without_list: tuple[str, ...]
    half_told: tuple[str, ...]
    of_no_trust: tuple[int, int]

    def data(self) -> bytes:
        """The file: CSV with a heading, UTF-8, LF."""
        return self.table.write_csv().encode()


def band_headings() -> list[str]:
    """Headings of the 14 bands as the published file spells them."""
    weeks = ["0 <01 weeks", *(f"{band:02d} <{band + 1:02d} weeks" for band in range(1, BANDS - 1))]
    return [*weeks, f"{BANDS - 1}+ weeks"]


def fraction(part: int, whole: int) -> Decimal:
    """Share of a list as published: three decimals, half up, 0 of an empty list."""
    share = Decimal(part) / Decimal(whole) if whole else Decimal(0)
    return share.quantize(Decimal("0.001"), rounding=ROUND_HALF_UP)


def dm01_return(warehouse: Path, month: date, region_code: str | None) -> Return:
    """The return of one month (its first day) for every trust, as the marts count it.

    Raises ExportProblem when the warehouse has not been built, or has no complete month like it.
    """
    if not warehouse.exists():
        raise ExportProblem(f"{warehouse} does not exist; run `imaging build` first")
    bands = [f"band_{band:02d}" for band in range(BANDS)]
    asked = {"month": month.replace(day=1)}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.sql(_COUNTS.format(bands=", ".join(bands)), params=asked).pl()
        half = connection.sql(_HALF_TOLD, params=asked).pl()["trust_code"].to_list()
    if found.is_empty():
        raise ExportProblem(
            f"the warehouse has no complete month {month:%Y-%m}; `imaging status` says up to when "
            "data are complete"
        )
    no_trust = found.filter(pl.col("trust_name").is_null())
    found = found.filter(pl.col("trust_name").is_not_null())
    unknown = found.filter(pl.col("waiting_list_count").is_null())["org_code"].unique().sort()
    return Return(
        _published(found.drop_nulls("waiting_list_count"), bands, region_code),
        tuple(unknown),
        tuple(trust for trust in half if trust not in unknown),
        (
            int(no_trust["waiting_list_count"].sum()),
            int(no_trust.select(pl.sum_horizontal(pl.col(*STREAMS).sum())).item()),
        ),
    )


def _published(counts: pl.DataFrame, bands: list[str], region_code: str | None) -> pl.DataFrame:
    """The rows in the published columns and order; rows of zeros only are left out."""
    told = counts.filter(pl.sum_horizontal(*bands, *STREAMS) > 0)
    shares = [
        fraction(part, whole)
        for part, whole in told.select("waiting_6_plus_count", "waiting_list_count").iter_rows()
    ]
    return told.select(
        pl.col("census_on").alias("Reporting Period"),
        pl.lit(region_code, pl.String).alias("Regional Team Code"),
        pl.col("org_code").alias("Provider Code"),
        pl.col("dm01_test_id").alias("Diagnostic ID"),
        *(pl.col(column).alias(heading) for column, heading in LISTS.items()),
        pl.Series("Percentage waiting 6+ weeks", shares, dtype=pl.Decimal(4, 3)),
        *(
            pl.col(band).alias(heading)
            for band, heading in zip(bands, band_headings(), strict=True)
        ),
        *(pl.col(column).alias(heading) for column, heading in STREAMS.items()),
        pl.col("dm01_test_name").alias("Diagnostic Test Name"),
        pl.lit(CATEGORY).alias("Diagnostic Category"),
        pl.col("trust_name").alias("Provider Name"),
    )
